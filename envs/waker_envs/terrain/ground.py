"""The ground of one episode: its profile, its height anywhere, and how far a robot must be lifted to stand clear of it.

Used by :class:`waker_envs.terrain.base.TerrainEnv`; knows nothing of MuJoCo.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waker_envs.terrain.noise import Floats, noise_height, staircase

Kind = Literal["noise", "stairs"]

POINTS = 2000
"""Points of the height field along x."""
ROWS = 5
"""Rows of the height field along y; all alike."""
SUNK = 0.5
"""How far the lowest possible ground lies below z = 0, m."""
MEAN = 0.5
"""Mean height of the noise, as a share of the elevation: the height of the plains beyond the ends."""

_BLEND = 2.0
"""Stretch at each end over which the profile goes over into the plain, m."""
_STEP = 0.4
"""Length of a stair, m."""
_AUTHORS_STEP, _AUTHORS_PLATEAU = 0.75, 2.4
"""Lengths of the published stairs and of their top and bottom plateaus, m, as measured."""
_AUTHORS_LATTICE = np.random.default_rng(0).uniform(-1, 1, 1024)
"""The one sequence of lattice values that all published grounds share; the values themselves are ours."""

_REACH = 1.6
"""No part of a robot is farther than this from its root, m (a walker's stretched leg: 1.47)."""
_FINE = 4
"""Samples for each cell of the height field when clearance is measured."""
_RIM = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 41)) * (1 - 1e-9)
"""Points across a disc of radius 1, at equal angles: dense where its edge is steep."""
SCAN_POINTS = 31
"""Heights in a scan."""
SCAN_SPACING = 200.0 / (POINTS - 1)
"""Distance between the heights of a scan, m: two cells of our field, one of the published."""


class Ground:
    """The profile under a robot: a height field around x = 0 and level plains beyond it.

    Args:
        peak: elevation of the field, m.
        authors: the published ground: a field of 200 m in place of 100 m, the same in every episode of a θ.

    Attributes:
        half: half the length of the field, m.
        spacing: distance between its points, m.
        profile: shape (POINTS,), heights as shares of ``peak``.
        version: counts the episodes, so that cameras know when to fetch the profile anew.
    """

    def __init__(self, peak: float, authors: bool = False) -> None:
        self.peak, self.authors = peak, authors
        self.half = 100.0 if authors else 50.0
        self.spacing = 2 * self.half / (POINTS - 1)
        self.version = 0
        self._along: Floats = np.arange(POINTS, dtype=np.float64) * np.float64(self.spacing)  # from the left end
        x = self._along - self.half
        self._weight = np.clip((self.half - abs(x)) / _BLEND, 0.0, 1.0)
        self._stride = round(SCAN_SPACING / self.spacing)
        self.profile = np.full(POINTS, MEAN)
        # Scans and windows near the ends reach into the plains; the pad saves them the test for it.
        self._pad = 256
        self._padded = np.full(POINTS + 2 * self._pad, MEAN)

    def draw(self, rng: np.random.Generator, kind: Kind, amplitude: float, length_scale: float) -> None:
        """Draw the ground of an episode.

        Noise: lattice values U(−1, 1) and where between two lattice points the robot starts. Stairs: on which part of
        the staircase it starts; amplitude and length-scale have no effect. With ``authors`` nothing is drawn.
        """
        if kind == "stairs":
            shape = self._stairs(rng)
        elif self.authors:
            # Written for 100 m, laid out over 200 m: every length-scale comes out twice as long.
            shape = noise_height(self._along / 2, amplitude, length_scale, _AUTHORS_LATTICE)
        else:
            lattice = rng.uniform(-1.0, 1.0, int(2 * self.half / length_scale) + 3)
            along = self._along + length_scale * rng.random()
            shape = noise_height(along, amplitude, length_scale, lattice)
        self.profile = MEAN + self._weight * (shape - MEAN)
        self._padded[self._pad : self._pad + POINTS] = self.profile
        self.version += 1

    def _stairs(self, rng: np.random.Generator) -> Floats:
        if self.authors:
            return staircase(self._along, _AUTHORS_STEP, _AUTHORS_PLATEAU)
        return staircase(self._along + 4 * _STEP * rng.random(), _STEP, _STEP)

    def height(self, x: NDArray[np.float64] | float) -> Floats:
        """Height of the ground at ``x``, m above z = 0; any shape."""
        return np.interp(np.asarray(x) + self.half, self._along, self.profile, MEAN, MEAN) * self.peak - SUNK

    def scan(self, x: float) -> Floats:
        """Heights around x, shape (SCAN_POINTS,), m above z = 0; the middle one at ``x``."""
        at = (x + self.half) / self.spacing
        margin = SCAN_POINTS // 2 * self._stride
        at = min(max(at, -float(margin)), POINTS + float(margin))  # farther out, all is plain
        cell = int(at + self._pad) - self._pad  # rounds down below zero, too
        first, stride = cell - margin + self._pad, self._stride
        last = first + SCAN_POINTS * stride
        left, right = self._padded[first:last:stride], self._padded[first + 1 : last + 1 : stride]
        heights: Floats = (left + (at - cell) * (right - left)) * self.peak - SUNK
        return heights

    def window(self, cell: int, cells: int) -> Floats:
        """Heights as shares of ``peak`` at the cells + 1 points from ``cell`` on, which may lie outside the field."""
        first = min(max(cell, -self._pad), POINTS + self._pad - cells - 1) + self._pad
        return self._padded[first : first + cells + 1]

    def clearance(self, root: float, ends: Floats, radii: Floats) -> float:
        """The smallest vertical gap between capsules and the ground, m; negative where one is in it.

        Args:
            root: x about which the robot stands, m.
            ends: shape (n, 2, 2): for each capsule the (x, z) of both ends of its axis, which lies in that plane.
            radii: shape (n,), m.
        """
        fine = self.spacing / _FINE
        first = int((root - _REACH + self.half) / self.spacing) * _FINE  # so that every corner is among the samples
        samples = np.arange(first, first + int(2 * _REACH / fine) + 2 * _FINE, dtype=np.float64)
        grid = samples * np.float64(fine) - np.float64(self.half)
        # Beside a slope the nearest point may be on a rim, where the capsule's edge is too steep for an even grid.
        rims = ends[:, :, :1] + radii[:, None, None] * _RIM  # (n, 2, points)
        x = np.concatenate([grid, rims.ravel()])  # (m,)
        under = _lower_edge(x, ends, radii)  # (m,)
        return float((under - self.height(x)).min())


def _lower_edge(x: Floats, ends: Floats, radii: Floats) -> Floats:
    """z of the lowest point of a set of capsules at each x (m,); infinite where there is none. See ``clearance``."""
    r = radii[:, None, None]
    gap = x - ends[:, :, :1]  # (n, 2, m)
    inside = r**2 - gap**2
    discs = np.where(inside >= 0, ends[:, :, 1:] - np.sqrt(np.maximum(inside, 0.0)), np.inf)
    # Between the discs: the axis shifted by the radius along its lower normal.
    left, right = np.where(ends[:, :1, :1] <= ends[:, 1:, :1], ends, ends[:, ::-1]).transpose(1, 0, 2)  # (n, 2) each
    along = right - left
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-12)
    normal = np.stack([along[:, 1], -along[:, 0]], 1) / length[:, None]  # (n, 2)
    start = left + radii[:, None] * normal
    run = np.maximum(along[:, 0], 1e-12)[:, None]
    share = (x - start[:, :1]) / run  # (n, m)
    strip = np.where((share >= 0) & (share <= 1), start[:, 1:] + share * along[:, 1:], np.inf)
    edge: Floats = np.minimum(discs.min((0, 1)), strip.min(0))
    return edge
