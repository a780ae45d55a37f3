"""Kernel regression: what is known of some θ, generalised to their neighbours in a continuous space.

Used by :mod:`waker.curriculum.boxes.kernel_scores` (estimates of θ never visited) and
:mod:`waker.curriculum.boxes.level_buffer` (scores of a buffer's levels).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from waker.curriculum.api import Floats


class Estimate(NamedTuple):
    """Of n points.

    Attributes:
        mean: (n,), NaN where nothing is known at all.
        variance: of the mean, (n,): the weighted spread of the known values about it, over their effective number;
            0 where a single one decides.
    """

    mean: Floats
    variance: Floats


def regress(points: Floats, known: Floats, values: Floats, bandwidth: float, scale: Floats) -> Estimate:
    """The Nadaraya–Watson estimate with a Gaussian kernel, Σ_i k_i·y_i / Σ_i k_i with k_i = exp(−½·d_i²/h²).

    Weights are relative to the nearest point's, so that a point far from all data takes the nearest value, and m tends
    to the table of mean values as h → 0.

    Args:
        points: (n, D), where to estimate.
        known: (m, D).
        values: (m,); NaN are left out.
        bandwidth: h > 0, in units of ``scale``.
        scale: of each coordinate, (D,), above 0: its range.
    """
    there = np.isfinite(values)
    known, values = known[there], values[there]
    if not len(values):
        return Estimate(np.full(len(points), np.nan), np.full(len(points), np.nan))
    a, b = points / scale, known / scale
    squared = ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)  # (n, m)
    squared -= squared.min(1, keepdims=True)
    with np.errstate(over="ignore"):
        weights = np.exp(-0.5 * squared / bandwidth**2)
    weights /= weights.sum(1, keepdims=True)
    mean = weights @ values
    share = (weights**2).sum(1)  # 1 / effective number
    spread = (weights * (values[None, :] - mean[:, None]) ** 2).sum(1)
    return Estimate(mean, spread * share)
