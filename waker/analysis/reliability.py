"""How well a measurement orders θ, and so how high any estimate's rank correlation with it can be.

Called by :mod:`waker.analysis.ranking`. The "true" error of a θ is a mean over a few held-out episodes: measured
again, it orders the θ a little otherwise. A perfect estimate cannot agree with it better than it agrees with itself.

The agreement of two halves of the episodes, r, tells that of two whole measurements, the reliability: with m times as
many episodes it is m·r / (1 + (m − 1)·r) (Spearman 1910; Brown 1910). The correlation of anything with a measurement of
reliability R is in expectation at most √R (Spearman 1904, attenuation); over few θ one may lie above it by chance. Both
are exact for Pearson's correlation of values with independent noise, and for ranks a good approximation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.metrics import spearman

Floats = NDArray[np.float64]
SPLITS = 20
"""Random halvings, whose correlations are averaged."""


def spearman_brown(r: float, m: float) -> float:
    """The reliability with ``m`` times as many episodes as gave ``r``; 0 where halves do not agree at all."""
    return m * r / (1.0 + (m - 1.0) * r) if r > 0 else 0.0 if r <= 0 else float("nan")


def reliability(values: Sequence[Floats], seed: int = 0) -> float:
    """Spearman's correlation to be expected between this measurement of θ and another of as many episodes.

    Args:
        values: of each source, one row a θ, one column an episode, (M, episodes); NaN where an episode has no value. A
            θ is measured by the mean over sources of the mean over episodes, and each source is halved by itself. θ
            with fewer than two episodes of some source are left out.
        seed: of the halvings.

    Returns:
        NaN where no θ is left, or nothing varies.
    """
    if not values or min(v.shape[1] for v in values) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    halved = np.min([(~np.isnan(v)).sum(1) for v in values], axis=0) >= 2
    values = [v[halved] for v in values]
    counts = [(~np.isnan(v)).sum(1) for v in values]
    found = [spearman(*_halved(values, counts, rng)) for _ in range(SPLITS)] if halved.any() else []
    known = [r for r in found if not np.isnan(r)]
    if not known:
        return float("nan")
    # With odd numbers of episodes two halves are not the whole.
    m = sum(int(c.sum()) for c in counts) / sum(int((c // 2).sum()) for c in counts)
    return spearman_brown(float(np.mean(known)), m)


def ceiling(values: Sequence[Floats], seed: int = 0) -> float:
    """The highest rank correlation that an estimate can be expected to have with a measurement; see the module.

    Args:
        values, seed: see :func:`reliability`.
    """
    return float(np.sqrt(reliability(values, seed)))


def _halved(
    values: Sequence[Floats], counts: Sequence[NDArray[np.int64]], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Each θ's mean by either half of its episodes, (M,) twice; each source has at least two."""
    firsts: list[Floats] = []
    seconds: list[Floats] = []
    for of_source, count in zip(values, counts, strict=True):
        # In random order, those without a value last.
        order = np.where(np.isnan(of_source), np.inf, rng.random(of_source.shape)).argsort(1)
        drawn, half = np.take_along_axis(of_source, order, 1), (count // 2)[:, None]
        at = np.arange(of_source.shape[1])
        for part, inside in ((firsts, at < half), (seconds, (at >= half) & (at < 2 * half))):
            part.append(np.where(inside, drawn, 0.0).sum(1) / half[:, 0])
    return np.mean(firsts, axis=0), np.mean(seconds, axis=0)


def by_episode(rows: pd.DataFrame, theta_ids: Sequence[int]) -> list[Floats]:
    """Rows of one measurement and metric as :func:`reliability` takes them; [] where rows are not of episodes.

    Args:
        rows: theta_id, source, episode_seed, value.
        theta_ids: the θ wanted, one row each.
    """
    if "episode_seed" not in rows or rows["episode_seed"].isna().any():
        return []
    found = []
    for _, of_source in rows.groupby("source"):
        number = of_source.groupby("theta_id").cumcount().rename("number")
        wide = of_source.assign(number=number).pivot_table(index="theta_id", columns="number", values="value")
        found.append(wide.reindex(list(theta_ids)).to_numpy(np.float64))
    return found
