"""Regret = the model's part + the actor's part, from numbers. Called by the study's page.

The policy that is optimal in the learned model has no actor between it and the data: its regret in the true environment
is the model's part, over all episodes where they are known. What the learned policy loses beyond it in the same
episodes is the actor's. Their sum is the regret of a run; regrets of the worst θ do not add up, as the worst θ of the
two need not be the same.
"""

from __future__ import annotations

import pandas as pd

from waker.analysis.metrics import means_over_seeds
from waker.analysis.steps import GROUP, RUN

TOTAL, MODEL, ACTOR = "regret", "the model's part", "the actor's part"


def regret_parts(numbers: pd.DataFrame) -> pd.DataFrame:
    """The parts of each run's mean regret.

    Args:
        numbers: with the quantities ``planned_mean_regret`` and ``actor_regret``.

    Returns:
        Columns domain, sampler, explorer, seed, task, part, value; none where a run has not both quantities. The
        actor's part is negative where the learned policy does better than the planned one.
    """
    keys = [*RUN, "task"]
    planned, lost = (
        numbers[numbers["quantity"] == quantity][[*keys, "value"]]
        for quantity in ("planned_mean_regret", "actor_regret")
    )
    merged = planned.merge(lost, how="inner", on=keys, suffixes=("_planned", "_lost")).dropna()
    model, actor = merged["value_planned"], merged["value_lost"]
    parts = {TOTAL: model + actor, MODEL: model, ACTOR: actor}
    return pd.concat(
        [merged[keys].assign(part=part, value=values) for part, values in parts.items()], ignore_index=True
    )


def mean_parts(parts: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of each part, with Student's 95 % interval.

    Args:
        parts: from :func:`regret_parts`.

    Returns:
        Columns domain, sampler, explorer, task, part, mean, low, high, seeds.
    """
    return means_over_seeds(parts, [*GROUP, "task", "part"], "value")
