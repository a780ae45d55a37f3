"""Regret = the model's part + the actor's part, from numbers. Called by the study's page.

The policy that is optimal in the learned model has no actor between it and the data: its regret in the true environment
is the model's part. What the learned policy loses beyond that is the actor's. Both are means over the same θ, so they
add up run by run; regrets of the worst θ do not, as the worst θ of the two need not be the same.
"""

from __future__ import annotations

import pandas as pd

from waker.analysis.metrics import means_over_seeds
from waker.analysis.steps import GROUP, RUN

TOTAL, MODEL, ACTOR = "regret", "the model's part", "the actor's part"


def regret_parts(numbers: pd.DataFrame) -> pd.DataFrame:
    """The parts of each run's mean regret.

    Args:
        numbers: with the quantities ``mean_regret`` and ``planned_mean_regret``.

    Returns:
        Columns domain, sampler, explorer, seed, task, part, value; none where a run has not both quantities. The
        actor's part is negative where the learned policy does better than the planned one.
    """
    keys = [*RUN, "task"]
    regret, planned = (
        numbers[numbers["quantity"] == quantity][[*keys, "value"]]
        for quantity in ("mean_regret", "planned_mean_regret")
    )
    merged = regret.merge(planned, how="inner", on=keys, suffixes=("", "_planned")).dropna()
    parts = {
        TOTAL: merged["value"],
        MODEL: merged["value_planned"],
        ACTOR: merged["value"] - merged["value_planned"],
    }
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
