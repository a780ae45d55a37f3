"""What θ of GridHazards means: its space with its suites, its rooms' sides and numbers of layouts.

Called by :class:`waker_envs.grids.hazards.GridHazards` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.api import FiniteThetaSpace, Parameter, Suite
from waker_envs.checked import checked_count
from waker_envs.grids.layouts import fits

Layouts = int | Sequence[int] | Sequence[Sequence[int]]
"""Numbers of layouts: one for all, one for each size, or for each size one for each density."""


def hazard_space(sizes: Sequence[int], densities: Sequence[float], slips: Sequence[float]) -> FiniteThetaSpace:
    """All combinations, with what is hard, what is noisy and the suites.

    Args:
        sizes: of rooms, least first (as the others).
    """
    points = np.array(list(itertools.product(sizes, densities, slips)), float)
    top = points.max(0)
    hard = points[(points[:, 0] == top[0]) & (points[:, 1] > 0) & (points[:, 1:] == top[1:]).any(1)]
    return FiniteThetaSpace(
        [
            Parameter("size", "side of the room", "cells"),
            Parameter("hazards", "share of the cells that are hazards"),
            Parameter("slip", "probability that the chosen action is replaced by a random one"),
        ],
        points,
        hard=hard if len(hard) else None,
        hardest=top,
        sets={"noisy": points[points[:, 2] == top[2]]} if len(slips) > 1 else None,
        suites=_suites(points, densities, slips),
    )


def _suites(points: NDArray[np.float64], densities: Sequence[float], slips: Sequence[float]) -> dict[str, Suite]:
    """Harder ones, and different ones that are not harder, as far as the space leaves room for them."""
    size, densest, _ = points.max(0)
    largest = points[points[:, 0] == size]
    suites = {"fresh": Suite(points, {"n_layouts": None}), "denser": Suite(_rooms(size, 0.3, slips))}
    if positive := [density for density in densities if density > 0]:
        suites["emptier"] = Suite(_rooms(size, min(positive) / 2, slips))
    oblong = sides(size, oblong=True)
    if oblong != sides(size, oblong=False) and fits(*oblong, densest):
        suites["oblong"] = Suite(largest, {"shape": "oblong"})
    return suites


def _rooms(size: float, density: float, slips: Sequence[float]) -> NDArray[np.float64]:
    """The θ of one size and density, one for each slip."""
    return np.array([(size, density, slip) for slip in slips])


def sides(size: float, oblong: bool) -> tuple[int, int]:
    """Rows and columns of a room."""
    return int(size), max(3, int(size) - 2) if oblong else int(size)


def nearest(values: Sequence[float], value: float) -> int:
    """The place of the nearest of ``values``."""
    return int(np.argmin([abs(known - value) for known in values]))


def layout_counts(
    n_layouts: Layouts | None, sizes: Sequence[int], densities: Sequence[float]
) -> dict[int, list[int]] | None:
    """By size the number of layouts of each density, least first; None where every episode has a fresh one.

    Raises:
        ValueError: no counts of at least 1, or not one for each.
    """
    if n_layouts is None:
        return None
    rows = zip(sizes, _one_each("size", sizes, n_layouts), strict=True)
    name = "n_layouts, if not None for fresh layouts,"
    return {s: [checked_count(name, n) for n in _one_each("density", densities, here)] for s, here in rows}


def _one_each(what: str, of: Sequence[float], given: Any) -> Sequence[Any]:
    """``given`` for each, or one for each where it is a sequence."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return [given] * len(of)
    if len(given) != len(of):
        raise ValueError(f"n_layouts {list(given)} must have one entry for each {what}, {list(of)}")
    return given
