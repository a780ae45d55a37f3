"""Regret apart by who made it: the world model, of which a plan knows how to make the best, and the actor.

Called by :mod:`waker.analysis.numbers`. A learned policy's regret is that of the plan, the model's part, and what the
plan is worth more than the policy, the actor's part. The latter is negative where the actor makes up for errors of the
model, as its filter has seen more of an episode than one that begins in a state.
"""

from __future__ import annotations

import pandas as pd

from waker.analysis.quantities import SUITE_REGRET, Number, computed
from waker.analysis.regret import EXACT, mean_regret
from waker.analysis.steps import RUN
from waker.names import DR_SUITE

_VALUES = ["return", EXACT, "optimal_return"]


def over_all_episodes(planned: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Rows of plans with the expectations of their θ in the place of the values of their episode, where known.

    What is left of a sample of episodes is then how often it has each θ: means and worst cases over θ are exact.

    Args:
        planned: of several runs.
        expected: rows of θ (:data:`waker.names.EXPECTED`) of the same runs; may be empty.
    """
    if expected.empty:
        return planned
    coordinates = [c for c in planned if str(c).startswith("theta_")]
    keys = [*RUN, "suite", "task", *coordinates]
    # Of a coordinate that another family has, missing equals missing in a merge.
    known = planned[keys].merge(expected[[*keys, *_VALUES]], how="left", on=keys)
    known.index = planned.index
    return planned.assign(**{column: known[column].fillna(planned[column]) for column in _VALUES})


def plan_numbers(planned: pd.DataFrame, sampled: pd.DataFrame, learned: pd.DataFrame) -> list[Number]:
    """One run's numbers of its plans, task by task.

    Args:
        planned: rows of plans, with ``worth``, over all episodes where that is known.
        sampled: the same with the worth in each episode.
        learned: of the run's policies, with ``worth``; may be empty.
    """
    numbers: list[Number] = []
    for (task, suite), rows in planned[planned["suite"] != DR_SUITE].groupby(["task", "suite"], sort=False):
        numbers.append((task, f"{SUITE_REGRET}{suite}", mean_regret(rows)))
    for task, rows in planned[planned["suite"] == DR_SUITE].groupby("task", sort=False):
        numbers += computed("plans", str(task), rows)
        if not learned.empty:
            own = learned[(learned["suite"] == DR_SUITE) & (learned["task"] == task)]
            parts = actor_parts(sampled.loc[rows.index], own)
            numbers += [(task, "actor_regret", regret) for regret, _ in parts]
            numbers += [(task, "actor_share", share) for _, share in parts]
    return numbers


def actor_parts(planned: pd.DataFrame, learned: pd.DataFrame) -> list[tuple[float, float]]:
    """Mean of worth of plans − worth of policies, and its share of the mean optimum, over the episodes that both have.

    Where they share none, over the θ that both have, of each the mean of its own episodes. Of one task, one suite.

    Returns:
        One pair, or none where they share neither, or the optima sum to 0.
    """
    coordinates = [c for c in planned if str(c).startswith("theta_") and c in learned]
    for keys in ([*coordinates, "episode_seed"], coordinates):
        plans = planned.groupby(keys, dropna=False)[["worth", "optimal_return"]].mean()
        policies = learned.groupby(keys, dropna=False)["worth"].mean().rename("learned")
        both = plans.join(policies, how="inner").dropna()
        total = float(both["optimal_return"].sum())
        if total != 0:
            lost = both["worth"] - both["learned"]
            return [(float(lost.mean()), float(lost.sum()) / total)]
    return []
