"""Which sampler is shown to be the best in a row of a table. Called by :mod:`waker.analysis.summary`.

The best mean alone says nothing: with equal samplers one of them has it all the same. A sampler leads where each other
one is told apart from it at 95 %, by their intervals or by the differences of paired seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from waker.analysis.metrics import student_interval
from waker.analysis.quantities import quantity_of
from waker.analysis.steps import GROUP, step_told

_ROW = ["domain", "task", "quantity"]


def leaders(summary: pd.DataFrame, numbers: pd.DataFrame) -> pd.Series:
    """Whether each row of a summary is of the sampler that leads its quantity, at most one of each.

    It has the best mean, and each other's interval over seeds lies apart from its own, or Student's interval of the
    differences from it, of runs that share explorer and seed, excludes 0. No row is corrected for the number of rows.
    One seed has no interval and leads nothing; so do runs that are compared at other steps.

    Args:
        summary: domain, sampler, explorer, task, quantity, mean, low, high, seeds, interval.
        numbers: the runs' own: domain, sampler, explorer, seed, task, quantity, value.

    Returns:
        bool, with the summary's index.
    """
    leads = pd.Series(False, index=summary.index)
    found = numbers.set_index("seed").groupby([*GROUP, *_ROW[1:]], sort=False)["value"] if len(numbers) else ()
    values = dict(iter(found))
    for key, rows in summary.groupby(_ROW, sort=False):
        better = quantity_of(str(key[2])).better
        rows = rows.dropna(subset=["mean"])
        if better not in ("more", "less") or len(rows) < 2 or (rows["seeds"] < 2).any():
            continue
        if rows["sampler"].map(step_told).nunique(dropna=False) > 1:  # other steps: nothing to choose between
            continue
        sign = 1.0 if better == "more" else -1.0
        first = (sign * rows["mean"]).idxmax()
        ours, others = rows.loc[first], rows.drop(first)
        if all(_apart(ours, other, sign) or _paired(ours, other, values, sign) for _, other in others.iterrows()):
            leads[first] = True
    return leads


def _apart(ours: pd.Series, other: pd.Series, sign: float) -> bool:
    """Whether the two intervals over seeds have nothing in common; two without any width are no intervals."""
    if ours["interval"] != "seeds" or other["interval"] != "seeds":
        return False
    if ours["low"] == ours["high"] and other["low"] == other["high"]:
        return False
    return bool(ours["low"] > other["high"] if sign > 0 else ours["high"] < other["low"])


def _paired(ours: pd.Series, other: pd.Series, values: Mapping[Any, pd.Series], sign: float) -> bool:
    """Whether the interval of the paired differences excludes 0 on the better side; ones that do not vary have none.

    Args:
        ours: a row of the summary.
        other: another one of the same quantity and task.
        values: the runs' own by seed, of each group, task and quantity.
        sign: 1 where more is better, else −1.
    """
    if ours["explorer"] != other["explorer"] and ours["sampler"] != other["sampler"]:
        return False
    ours_of, theirs_of = (values.get(tuple(one[[*GROUP, *_ROW[1:]]])) for one in (ours, other))
    if ours_of is None or theirs_of is None:
        return False
    differences = sign * (ours_of - theirs_of).dropna().to_numpy(float)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return False
    return student_interval(differences).low > 0.0
