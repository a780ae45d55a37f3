"""Intervals in panels whose axis is chosen by the points: of few numbers they are so long that nothing else were seen.

Called by the figures of returns and of studies. What of an interval goes on beyond the axis is cut, with an arrow; an
interval of fewer than :data:`~waker.analysis.summary.FEW` numbers is dashed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from waker.analysis.summary import FEW

LEGEND = {f"interval of fewer than {FEW} numbers": {"ls": (0, (3, 1.5)), "lw": 1.6}}
_BEYOND = 0.5
"""How far an axis goes on beyond the points for an interval, in spans of the points."""
_MARGIN = 0.05


def limits(points: Iterable[ArrayLike], low: ArrayLike, high: ArrayLike) -> tuple[float, float]:
    """Where an axis begins and ends: around all points, and around intervals as far as the points stay readable.

    Args:
        points: arrays of what must be seen: means, values of seeds, and where the axis has a meaning, 0.
        low, high: ends of the intervals; NaN = none.
    """
    seen = np.concatenate([np.ravel(np.asarray(part, float)) for part in points])
    seen = seen[np.isfinite(seen)]
    if not len(seen):
        return 0.0, 1.0
    first, last = float(seen.min()), float(seen.max())
    span = (last - first) or abs(last) or 1.0
    ends = np.concatenate([np.ravel(np.asarray(part, float)) for part in (low, high)])
    ends = ends[np.isfinite(ends)]
    left = max(min([first, *ends]), first - _BEYOND * span)
    right = min(max([last, *ends]), last + _BEYOND * span)
    margin = _MARGIN * (right - left or span)
    return left - margin, right + margin


def few(count: ArrayLike) -> NDArray[np.bool_]:
    """Which intervals are of so few numbers that they are dashed; one number has none."""
    numbers = np.asarray(count, float)
    return (numbers > 1) & (numbers < FEW)


def draw(
    panel: Axes,
    at: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    count: ArrayLike,
    colour: str,
    width: float,
    alpha: float = 1.0,
) -> None:
    """Horizontal intervals inside the panel's limits, which must be set: NaN is none.

    Args:
        at: their heights, (n,).
        low, high: their ends, (n,).
        count: how many numbers each is of, (n,).
        colour, width, alpha: of the lines.
    """
    heights, lows, highs = (np.atleast_1d(np.asarray(part, float)) for part in (at, low, high))
    numbers = np.broadcast_to(np.asarray(count, float), heights.shape)
    left, right = panel.get_xlim()
    inside = np.clip(lows, left, right), np.clip(highs, left, right)
    for dashed, look in ((False, "-"), (True, (0, (3, 1.5)))):
        chosen = (few(numbers) == dashed) & np.isfinite(lows)
        if chosen.any():
            panel.hlines(
                heights[chosen], inside[0][chosen], inside[1][chosen], color=colour, lw=width, alpha=alpha, ls=look
            )
    for beyond, edge, marker in ((lows < left, left, "<"), (highs > right, right, ">")):
        if beyond.any():
            x = np.full(int(beyond.sum()), edge)
            panel.scatter(x, heights[beyond], s=16, marker=marker, color=colour, linewidths=0, clip_on=False, zorder=3)
