"""Profiles of ground as functions of distance: value noise and staircases. Used by :mod:`waker_envs.terrain.ground`.

All heights here are shares of a height field's elevation: 0 its lowest, 1 its highest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def value_noise(x: Floats, length_scale: float, lattice: Floats) -> Floats:
    """One octave of value noise with cosine interpolation.

    Lattice point i lies at ``x = i * length_scale`` and has the value ``lattice[i]``; between two of them the value
    follows half a cosine, so that the slope is zero at both.

    Args:
        x: shape (n,), distances ≥ 0, m.
        length_scale: distance between lattice points, m.
        lattice: shape (m,), with m > max(x) / length_scale + 1.

    Returns:
        Shape (n,), within the span of ``lattice``.
    """
    t = x / length_scale
    i = t.astype(np.int64)
    share = 0.5 - 0.5 * np.cos(np.pi * (t - i))
    left = lattice[i]
    return left + share * (lattice[i + 1] - left)


def noise_height(x: Floats, amplitude: float, length_scale: float, lattice: Floats) -> Floats:
    """Height 0.5 + 0.5 · amplitude · noise, shape of ``x``; see :func:`value_noise`."""
    return 0.5 + 0.5 * amplitude * value_noise(x, length_scale, lattice)


def staircase(x: Floats, tread: float, plateau: float) -> Floats:
    """Steps of half the elevation, up and down without end: 0, 0.5, 1, 0.5, 0, …

    Args:
        x: shape (n,), m; a bottom plateau begins at 0.
        tread: length of the steps of height 0.5, m.
        plateau: length of the steps of height 0 and 1, m.

    Returns:
        Shape (n,), each 0, 0.5 or 1.
    """
    edges = np.cumsum([plateau, tread, plateau, tread])
    levels = np.array([0.0, 0.5, 1.0, 0.5, 0.0])  # the last for a remainder that rounds to the period itself
    return levels[np.searchsorted(edges, x % edges[-1], side="right")]
