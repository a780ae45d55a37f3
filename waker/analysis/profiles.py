"""Whole distributions of scores over runs and tasks: interquartile means and performance profiles, from numbers.

Called by ``waker compare`` and the study's page. Definitions are those of Agarwal et al. 2021 (arXiv 2108.13264): the
interquartile mean is of all runs × tasks together, the profile at τ is the share of runs × tasks with a score above τ.
Both need scores of one scale for all tasks, so they are of shares of an optimum, or of completion. Intervals differ
from the paper's bootstraps: the unit is a whole run, whose tasks share one model, and few runs get Student's quantile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from waker.analysis.metrics import Floats, iqm, run_interval, student_interval
from waker.analysis.quantities import named
from waker.analysis.steps import GROUP
from waker.names import ALL

THRESHOLDS = np.linspace(0.0, 1.0, 51)


class Profile(NamedTuple):
    """Share of scores above each threshold, with its pointwise 95 % interval, (T,) each."""

    share: Floats
    low: Floats
    high: Floats


def performance_profile(scores: ArrayLike, thresholds: ArrayLike = THRESHOLDS) -> Profile:
    """The share of runs × tasks whose score is above each threshold.

    Args:
        scores: (R, K): one row a run, one column a task.
        thresholds: (T,).

    Returns:
        Intervals are Student's over the runs' own shares, cut to [0, 1]; NaN of one run. Where the tasks of every run
        are all above (or all below) they have no width: that says how the runs were, not that others could not differ.
    """
    above = np.asarray(scores, np.float64)[:, :, None] > np.asarray(thresholds, np.float64)  # (R, K, T)
    found = [student_interval(of_runs) for of_runs in above.mean(1).T]
    low, high = (np.clip([getattr(one, end) for one in found], 0.0, 1.0) for end in ("low", "high"))
    return Profile(above.mean((0, 1)), low, high)


def profiles(numbers: pd.DataFrame) -> pd.DataFrame:
    """Performance profiles of each sampler and normalised quantity.

    Args:
        numbers: from :func:`waker.analysis.numbers.compare_runs`.

    Returns:
        Columns domain, sampler, explorer, quantity, threshold, share, low, high, seeds, tasks.
    """
    parts = [
        pd.DataFrame({**about, "threshold": THRESHOLDS, **performance_profile(scores)._asdict(), **size})
        for about, scores, size in _scores(numbers)
    ]
    columns = [*GROUP, "quantity", "threshold", "share", "low", "high", "seeds", "tasks"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def interquartile_means(numbers: pd.DataFrame) -> pd.DataFrame:
    """Interquartile mean over runs × tasks of each sampler and normalised quantity.

    Args:
        numbers: from :func:`waker.analysis.numbers.compare_runs`.

    Returns:
        Columns domain, sampler, explorer, quantity, iqm, low, high (studentised, over whole runs), seeds, tasks.
    """
    rows = []
    for about, scores, size in _scores(numbers):
        point, low, high = run_interval(scores, iqm)
        rows.append({**about, "iqm": point, "low": low, "high": high, **size})
    return pd.DataFrame(rows, columns=[*GROUP, "quantity", "iqm", "low", "high", "seeds", "tasks"])


def _scores(numbers: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Floats, dict[str, int]]]:
    """What the scores are of, the scores (R, K) on the tasks that all runs of the domain have, and R and K."""
    single = numbers[(numbers["task"] != ALL) & numbers["quantity"].isin(named("normalised"))]
    for (domain, quantity), group in single.groupby(["domain", "quantity"], sort=False):
        wide = group.pivot_table(
            index=["sampler", "explorer", "seed"], columns="task", values="value", sort=False, dropna=False
        )
        wide = wide.dropna(axis=0, how="all").dropna(axis=1)
        if not wide.shape[1]:
            continue
        for (sampler, explorer), of_group in wide.groupby(level=["sampler", "explorer"], sort=False):
            about = {"domain": domain, "sampler": sampler, "explorer": explorer, "quantity": quantity}
            yield about, of_group.to_numpy(float), {"seeds": len(of_group), "tasks": of_group.shape[1]}
