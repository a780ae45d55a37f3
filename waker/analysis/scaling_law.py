"""The law by which rewards grow with compute, and its least-squares fits. Pure numpy and scipy.

ScaleRL (Khatri et al. 2025, arXiv 2510.13786): R(C) = R₀ + (A − R₀) / (1 + (C_mid/C)^B). R₀ is the reward at zero
compute, measured and not fitted; A the asymptote, B > 0 the steepness, C_mid the compute at half of the gain. For large
C it is A − D/C^B with D = (A − R₀)·C_mid^B, a power law, which is fitted beside it. Called by
:mod:`waker.analysis.scaling`.

For given B and C_mid the best A is one division, so that two unknowns are searched: all points of a coarse grid, then a
pattern around the best whose size is halved again and again. Many curves are searched at once.

Shapes: R curves, n points of a curve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from waker.analysis.metrics import Floats
from waker.errors import UserError

STEEPNESS = (0.2, 10.0)
"""Where B is looked for."""
BEYOND = 10.0
"""C_mid is looked for between the first point and this many times the last."""
LATE = 0.02
"""A measurement may be due at an amount of compute and made at so much more."""
_MIDS, _STEEPS = 25, 13
"""Points of the coarse grid."""
_PATTERN = np.stack(np.meshgrid(*2 * [np.linspace(-1.0, 1.0, 5)]), -1).reshape(-1, 2)
_HALVINGS = 10
_AT_ONCE = 4_000_000
"""Numbers in an array of the search."""


class Curve(NamedTuple):
    """One group's rewards as its compute grows.

    Attributes:
        compute: (n,), increasing.
        rewards: (S, n), a row a training seed.
        floor: R₀, the reward at zero compute.
        seeds: of the rows, (S,).
    """

    compute: Floats
    rewards: Floats
    floor: float
    seeds: tuple[int, ...]

    @property
    def mean(self) -> Floats:
        """Over seeds, (n,)."""
        return np.asarray(self.rewards.mean(0))

    @property
    def spread(self) -> Floats:
        """Standard deviation over seeds at each point, (n,); NaN of one seed."""
        if len(self.rewards) < 2:
            return np.full(len(self.compute), np.nan)
        return np.asarray(self.rewards.std(0, ddof=1))

    def until(self, compute: float) -> Curve:
        """The points up to an amount of compute, or a fiftieth beyond it: measurements come a few steps late."""
        kept = self.compute <= compute * (1.0 + LATE)
        return self._replace(compute=self.compute[kept], rewards=self.rewards[:, kept])

    def of_seeds(self, seeds: tuple[int, ...]) -> Curve:
        """The rows of some seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return self._replace(rewards=self.rewards[rows], seeds=seeds)


class Law(NamedTuple):
    """The four parameters: R₀, A, B, C_mid."""

    floor: float
    asymptote: float
    steepness: float
    mid: float

    def at(self, compute: ArrayLike) -> Floats:
        """R at some compute, of the same shape; R₀ at none."""
        c = np.asarray(compute, np.float64)
        return np.asarray(self.floor + (self.asymptote - self.floor) * gained(c, self.mid, self.steepness))

    def tail(self, compute: ArrayLike) -> Floats:
        """A − D/C^B, what R comes to at large compute."""
        scale = (self.asymptote - self.floor) * self.mid**self.steepness
        return np.asarray(self.asymptote - scale / np.asarray(compute, np.float64) ** self.steepness)


def gained(compute: ArrayLike, mid: ArrayLike, steepness: ArrayLike) -> Floats:
    """The share of the gain, 1 / (1 + (C_mid/C)^B), in [0, 1)."""
    c, half, power = (np.asarray(value, np.float64) for value in (compute, mid, steepness))
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1.0 / (1.0 + (half / c) ** power))


def linearised(reward: ArrayLike, floor: float, asymptote: float, mid: float, steepness: float) -> Floats:
    """F(R) = C_mid^B / ((A − R₀)/(R − R₀) − 1), which by the law is C^B: its slope in logarithms is B.

    NaN where R does not lie between R₀ and A.
    """
    r = np.asarray(reward, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = mid**steepness / ((asymptote - floor) / (r - floor) - 1.0)
    return np.where((r > floor) & (r < asymptote), found, np.nan)


class Fits(NamedTuple):
    """Fits of R curves: each (R,); ``error`` is the sum of squared residuals."""

    asymptote: Floats
    steepness: Floats
    mid: Floats
    error: Floats


class Fixed(NamedTuple):
    """Parameters that are given and not looked for, each (R,), a number, or None."""

    asymptote: ArrayLike | None = None
    steepness: ArrayLike | None = None
    mid: ArrayLike | None = None


def checked(compute: ArrayLike, rewards: ArrayLike, floor: float) -> tuple[Floats, Floats]:
    """Compute (n,) and rewards (R, n) that a law can be fitted to.

    Raises:
        UserError: one line.
    """
    c, y = np.asarray(compute, np.float64).reshape(-1), np.atleast_2d(np.asarray(rewards, np.float64))
    if len(c) != y.shape[1]:
        raise UserError(f"a curve has {len(c)} amounts of compute and {y.shape[1]} rewards")
    if not len(c) or not np.isfinite(c).all() or (c <= 0).any() or (np.diff(c) <= 0).any():
        raise UserError("the compute of a curve's points must be positive, finite and increasing")
    if not np.isfinite(y).all():
        raise UserError("a curve's rewards must be finite numbers")
    if not np.isfinite(floor) or floor >= 1.0:
        raise UserError(f"the reward at zero compute must be a number below 1, not {floor}")
    return c, y


def fit_many(compute: ArrayLike, rewards: ArrayLike, floor: float, fixed: Fixed | None = None) -> Fits:
    """The law of least squares for each of R curves of the same compute.

    A lies in [R₀, 1], B in :data:`STEEPNESS`, C_mid between the first point and :data:`BEYOND` times the last.

    Args:
        compute: (n,).
        rewards: (R, n).
        floor: R₀.
        fixed: what is given.

    Raises:
        UserError: as :func:`checked`.
    """
    c, y = checked(compute, rewards, floor)
    box = _Box.of(c, len(y), floor, fixed or Fixed())
    each = max(1, _AT_ONCE // (_MIDS * _STEEPS * len(c)))
    parts = [_search(np.log(c), y[i : i + each], floor, box.rows(i, i + each)) for i in range(0, len(y), each)]
    return Fits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def fit_one(compute: ArrayLike, reward: ArrayLike, floor: float, fixed: Fixed | None = None) -> tuple[Law, float]:
    """The law of one curve (n,), to the last digits, and its sum of squared residuals."""
    c, y = checked(compute, reward, floor)
    given = fixed or Fixed()
    found = fit_many(c, y, floor, given)
    start = np.array([found.asymptote[0], np.log(found.mid[0]), np.log(found.steepness[0])])
    box = _Box.of(c, 1, floor, given)
    low, high = (np.array([side[0, end] for side in box]) for end in (0, 1))
    free = high - low > 1e-12

    def residuals(at: Floats) -> Floats:
        whole = start.copy()
        whole[free] = at
        return Law(floor, whole[0], np.exp(whole[2]), np.exp(whole[1])).at(c) - y[0]

    best, error = start, float(found.error[0])
    if free.any():
        inside = np.clip(start[free], low[free] + 1e-12, high[free] - 1e-12)
        polished = least_squares(residuals, inside, bounds=(low[free], high[free]), xtol=1e-15, ftol=1e-15, gtol=1e-15)
        if 2.0 * polished.cost <= error:
            best, error = start.copy(), 2.0 * float(polished.cost)
            best[free] = polished.x
    return Law(floor, float(best[0]), float(np.exp(best[2])), float(np.exp(best[1]))), error


class _Box(NamedTuple):
    """Lower and upper limits of each curve's parameters, (R, 2) each: A, log C_mid, log B."""

    asymptote: Floats
    mid: Floats
    steepness: Floats

    @classmethod
    def of(cls, c: Floats, rows: int, floor: float, fixed: Fixed) -> _Box:
        mids, steeps = np.log([c[0], BEYOND * c[-1]]), np.log(STEEPNESS)
        sides = [(fixed.asymptote, np.array([floor, 1.0])), (_log(fixed.mid), mids), (_log(fixed.steepness), steeps)]
        found = []
        for given, limits in sides:
            side = np.tile(limits, (rows, 1))
            if given is not None:
                side[:] = np.broadcast_to(np.asarray(given, np.float64), (rows,))[:, None]
            found.append(side)
        return cls(*found)

    def rows(self, start: int, stop: int) -> _Box:
        return _Box(*(side[start:stop] for side in self))


def _log(given: ArrayLike | None) -> Floats | None:
    return None if given is None else np.log(np.asarray(given, np.float64))


def _search(x: Floats, y: Floats, floor: float, box: _Box) -> Fits:
    """The best of each curve: x = log C (n,), y (R, n)."""
    low, high = (np.stack([box.mid[:, end], box.steepness[:, end]], -1) for end in (0, 1))  # (R, 2)
    unit = np.stack(np.meshgrid(np.linspace(0, 1, _MIDS), np.linspace(0, 1, _STEEPS)), -1).reshape(-1, 2)
    best, error, asymptote = _best(x, y, floor, box.asymptote, low[:, None] + unit * (high - low)[:, None])
    size = (high - low) / np.array([_MIDS - 1, _STEEPS - 1])
    for _ in range(_HALVINGS):
        for _ in range(2):  # the pattern may walk before it shrinks
            near = np.clip(best[:, None] + _PATTERN * size[:, None], low[:, None], high[:, None])
            place, lower, level = _best(x, y, floor, box.asymptote, near)
            better = lower < error
            best = np.where(better[:, None], place, best)
            error, asymptote = np.where(better, lower, error), np.where(better, level, asymptote)
        size = 0.5 * size
    return Fits(asymptote, np.exp(best[:, 1]), np.exp(best[:, 0]), error)


def _best(x: Floats, y: Floats, floor: float, limits: Floats, places: Floats) -> tuple[Floats, Floats, Floats]:
    """Of each curve the best of places (R, P, 2), its error (R,) and its A (R,)."""
    shape = 1.0 / (1.0 + np.exp(np.clip(np.exp(places[..., 1:]) * (places[..., :1] - x), -700, 700)))  # (R, P, n)
    gain = y[:, None] - floor
    with np.errstate(divide="ignore", invalid="ignore"):
        level = floor + np.nan_to_num((gain * shape).sum(-1) / (shape * shape).sum(-1))
    level = np.clip(level, limits[:, :1], limits[:, 1:])
    error = ((gain - (level - floor)[..., None] * shape) ** 2).sum(-1)  # (R, P)
    at = error.argmin(-1)[:, None]
    return (
        np.take_along_axis(places, at[..., None], 1)[:, 0],
        np.take_along_axis(error, at, 1)[:, 0],
        np.take_along_axis(level, at, 1)[:, 0],
    )


class PowerLaw(NamedTuple):
    """R = A − D/C^B, with A ≤ 1 and D ≥ 0."""

    asymptote: float
    scale: float
    steepness: float

    def at(self, compute: ArrayLike) -> Floats:
        """R at some compute."""
        return np.asarray(self.asymptote - self.scale * np.asarray(compute, np.float64) ** -self.steepness)


def fit_power(compute: ArrayLike, reward: ArrayLike) -> tuple[PowerLaw, float]:
    """The power law of least squares of one curve (n,), n ≥ 2, and its sum of squared residuals.

    For given B it is a straight line in C^−B; B is looked for in ever finer grids.

    Raises:
        UserError: as :func:`checked`.
    """
    c, (y,) = checked(compute, reward, 0.0)
    unit = c[0]
    low, high = np.log([0.02, STEEPNESS[1]])
    best, error = PowerLaw(float(y.mean()), 0.0, 1.0), float(((y - y.mean()) ** 2).sum())
    for _ in range(8):
        grid = np.linspace(low, high, 81)
        for b in np.exp(grid):
            found, off = _line((c / unit) ** -b, y)
            if off < error:
                best, error = PowerLaw(found[0], found[1] * unit**b, float(b)), off
        step = grid[1] - grid[0]
        low, high = np.log(best.steepness) - step, np.log(best.steepness) + step
    return best, error


def _line(x: Floats, y: Floats) -> tuple[tuple[float, float], float]:
    """A and D ≥ 0 of y ≈ A − D x with A ≤ 1, and the squared residuals."""
    spread = float(((x - x.mean()) ** 2).sum())
    slope = max(0.0, -float(((x - x.mean()) * (y - y.mean())).sum()) / spread) if spread > 0 else 0.0
    level = float(y.mean()) + slope * float(x.mean())
    if level > 1.0:
        level, slope = 1.0, max(0.0, float((x * (1.0 - y)).sum() / (x * x).sum()))
    return (level, slope), float(((level - slope * x - y) ** 2).sum())
