"""The numbers of a θ space: checked when the space is made, and matched with a θ that arrives in another precision.

Called by :mod:`waker_envs.theta` and the two kinds of space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs import checked
from waker_envs.checked import as_numbers, raw_numbers, shown

Theta = NDArray[np.float64]
"""One point of a parameter space, shape (D,)."""

ROUNDING = 2 * float(np.finfo(np.float32).eps)
"""Two numbers are taken for the same if they differ by less than this share: a rounding to float32 moves a number by a
quarter of it at most, the float32 arithmetic that made it by some more."""
_DOUBLE = 8 * float(np.finfo(np.float64).eps)
"""Of the largest number in a column, what is left of 0 in float64: 0.1 + 0.2 − 0.3."""


class ThetaError(ValueError):
    """θ has the wrong shape or lies outside its space; the message names the nearest valid choice."""


def checked_points(value: ArrayLike | None, dim: int, what: str) -> NDArray[np.float64]:
    """``value`` as an (n, dim) array of its own; empty when it is None.

    Raises:
        ThetaError: no numbers, another shape, or a number that is not finite.
    """
    array = np.zeros((0, dim)) if value is None else as_numbers(value)
    if array is None:
        raise ThetaError(f"{what} must be numbers of shape (n, {dim}), got {shown(value)}")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ThetaError(f"{what} must have shape (n, {dim}), got {array.shape}")
    return _finite(array, what)


def checked_point(value: ArrayLike, dim: int, what: str) -> Theta:
    """``value`` as a (dim,) array of its own.

    Raises:
        ThetaError: see :func:`checked_points`.
    """
    array = as_numbers(value)
    if array is None:
        raise ThetaError(f"{what} must be {dim} numbers, got {shown(value)}")
    if array.shape != (dim,):
        raise ThetaError(f"{what} must have shape ({dim},), got {array.shape}")
    return _finite(array, what)


def _finite(array: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    bad = array[~np.isfinite(array)]
    if len(bad):
        raise ThetaError(f"{what} must be finite numbers, got {bad[0]}")
    return array.copy()


def checked_weights(value: ArrayLike | None, points: int) -> NDArray[np.float64]:
    """Probabilities (points,) in proportion to ``value``; None = all alike.

    Raises:
        ThetaError: another number of weights than points, or weights that are negative, not finite or all zero.
    """
    weights = np.ones(points) if value is None else as_numbers(value)
    if weights is None or weights.shape != (points,):
        given = shown(value) if weights is None else f"shape {weights.shape}"
        raise ThetaError(f"a finite space needs one weight for each of its {points} points, got {given}")
    if not (np.isfinite(weights) & (weights >= 0)).all() or weights.max() <= 0:
        raise ThetaError(f"weights must be finite numbers ≥ 0, not all zero, got {shown(weights.tolist())}")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):  # each is, their sum is not
        weights = weights / weights.max()
        total = weights.sum()
    return weights / total


def check_parameter_names(parameters: Sequence[Any]) -> None:
    """Refuse parameters that are none, or that share a name.

    Raises:
        ThetaError: they are.
    """
    if not parameters:
        raise ThetaError("a θ space needs at least one Parameter")
    names: list[str] = []
    for parameter in parameters:
        name = getattr(parameter, "name", None)
        if not isinstance(name, str) or not name:
            raise ThetaError(f"parameters must be Parameter(name, description), got {shown(parameter)}")
        if name in names:
            raise ThetaError(f"parameters must have different names, but two are called {name!r}")
        names.append(name)
    checked.check_names("parameter", names, ThetaError)


def check_different(points: NDArray[np.float64]) -> None:
    """Refuse points of which two are the same to twelve digits: they are one θ, written in two ways.

    Raises:
        ThetaError: two are.
    """
    with np.errstate(divide="ignore"):
        places = np.where(points == 0, 0.0, np.floor(np.log10(abs(points))))
    # In units of the last digit kept; in long double, as a power of ten may leave the range of a double.
    kept = np.round(points.astype(np.longdouble) / np.power(np.longdouble(10), places - 11))
    rows = np.column_stack([places, kept.astype(np.float64) + 0.0])  # + 0: no negative zeros
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = points[first[counts > 1][0]]
        raise ThetaError(f"points of a finite space must all be different, but {twice.tolist()} is there twice")


def alike(points: NDArray[np.float64], theta: ArrayLike) -> NDArray[np.intp]:
    """Which of ``points`` (M, D) are θ: equal in its own precision or, if none is, equal but for rounding.

    θ in float32, as torch, JAX and ``gymnasium.spaces.Box`` give it, means the point that is rounded to it.

    Returns:
        Their indices; several where θ cannot tell them apart.
    """
    given = raw_numbers(theta)
    if given is None or given.shape != points.shape[1:]:
        return np.zeros(0, np.intp)
    narrow = given.dtype.kind == "f" and given.dtype.itemsize < points.dtype.itemsize
    with np.errstate(over="ignore"):
        own = points.astype(given.dtype) if narrow else points
    same = np.flatnonzero((own == given).all(1))
    if len(same):
        return same
    slack = ROUNDING * abs(points) + _DOUBLE * abs(points).max(0, initial=0.0)
    return np.flatnonzero((abs(points - given.astype(np.float64)) <= slack).all(1))


def within(low: Theta, high: Theta, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """θ, its last axis D, with what rounding put beyond a bound put back on it; what lies outside stays there."""
    clipped = np.clip(theta, low, high)
    bound = np.where(clipped == low, abs(low), abs(high))
    return np.where(abs(clipped - theta) <= ROUNDING * bound, clipped, theta)


def digits(names: Sequence[str], theta: ArrayLike) -> str:
    """θ with all its digits, for where six would show two θ alike."""
    return ", ".join(f"{n}={float(v)!r}" for n, v in zip(names, np.asarray(theta, np.float64), strict=True))
