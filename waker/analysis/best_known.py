"""Regret against the best return known, for tasks whose optimum nobody knows (continuous domains).

Called by :mod:`waker.analysis.numbers`. The reference of a θ and task is the best mean return that any of the compared
runs has there. It is a number of this comparison: with more or better runs it rises, and all regrets with it. It is no
bound of the optimum, so that these regrets have names of their own and never stand for exact ones.

The largest of several noisy means flatters itself: the best run was lucky too. So it is chosen on one half of a θ's
episodes and valued on the other, both ways. A run that is best everywhere has a regret of zero in the mean, and a
negative one where it was lucky.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from waker.analysis.metrics import Floats
from waker.analysis.steps import RUN
from waker.names import DR_SUITE

BEST_KNOWN = "best_known"
"""Column of the reference; NaN where there is none."""


def with_best_known(played: pd.DataFrame, worth: Floats) -> pd.DataFrame:
    """Rows with the column ``best_known``.

    Args:
        played: episodes of one domain's runs, with the run's columns, suite, task, theta_id, episode_seed and
            optimal_return.
        worth: what each episode was worth, (n,).

    Returns:
        The reference is NaN beyond domain randomisation, where an optimum is known, where θ has no number (a continuous
        space), where one run alone has the task, and where a θ has fewer than two episodes of a run.
    """
    needed = {*RUN, "suite", "task", "theta_id", "episode_seed", "optimal_return"}
    nothing = played.assign(**{BEST_KNOWN: np.nan})
    if not needed <= set(played):
        return nothing
    open_ = (played["suite"] == DR_SUITE) & played["optimal_return"].isna() & (played["theta_id"] >= 0)
    rows = played.loc[open_, [*RUN, "task", "theta_id", "episode_seed"]].assign(worth=worth[open_.to_numpy()])
    if rows.empty:
        return nothing
    found = references(rows)
    merged = played.merge(found, how="left", on=["task", "theta_id"]).set_index(played.index)
    return merged.assign(**{BEST_KNOWN: merged[BEST_KNOWN].where(open_)})


def references(rows: pd.DataFrame) -> pd.DataFrame:
    """The best mean of any run in each θ and task: chosen on every second episode, valued on the others, both ways.

    Args:
        rows: the run's columns, task, theta_id, episode_seed and worth.

    Returns:
        Rows of task, theta_id, best_known (NaN where fewer than two runs have numbers, or one lacks a half).
    """
    place = ["task", "theta_id"]
    order = rows.groupby([*place, *RUN], sort=False)["episode_seed"].rank(method="first")
    means = rows.assign(half=order % 2).groupby([*place, *RUN, "half"])["worth"].mean().unstack("half")
    means = means.reindex(columns=[0.0, 1.0]).dropna(how="all")
    found = [(*key, _reference(part.to_numpy(float))) for key, part in means.groupby(level=place)]
    return pd.DataFrame(found, columns=[*place, BEST_KNOWN])


def _reference(halves: Floats) -> float:
    """Of the means of one θ and task, (runs, 2)."""
    if len(halves) < 2 or np.isnan(halves).any():
        return float("nan")
    chosen = halves.argmax(0)
    return float((halves[chosen[0], 1] + halves[chosen[1], 0]) / 2.0)
