"""What the numbers of a domain do not cover: θ that were not measured, and regret that has no parts.

Called by the study and the report, which tell it beside their tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from waker.analysis.data import RunData, settings_of
from waker.analysis.steps import RUN, Steps, of_policy
from waker.names import DR_SUITE, PLANNED

_PLANS = "evaluation.planned_episodes"


def coverage_notes(runs: Sequence[RunData], evaluation: pd.DataFrame, errors: pd.DataFrame, steps: Steps) -> list[str]:
    """What to tell of one domain's runs, in lines.

    Args:
        runs: of the domain.
        evaluation, errors: their rows of episodes, and those of model errors that are compared.
        steps: at which they are compared.
    """
    learned = steps.cut(of_policy(evaluation, "learned"), "evaluation")
    planned = steps.cut(of_policy(evaluation, PLANNED), "evaluation", "model_error")
    parts = {"policies": learned, "plans": planned, "the model's error": steps.cut(errors, "model_error")}
    asked = {settings_of(run).get(_PLANS) for run in runs}
    return [*_few_thetas(parts, theta_count(runs)), *_no_parts(learned, planned, asked == {0})]


def theta_count(runs: Sequence[RunData]) -> int | None:
    """How many θ the domain has; None where the space is continuous, or was not saved."""
    return next((len(run.space["points"]) for run in runs if run.space.get("points")), None)


def _few_thetas(parts: dict[str, pd.DataFrame], every: int | None) -> list[str]:
    """A line where a run was measured on fewer θ than there are: of these alone the worst is told."""
    told = []
    for name, rows in parts.items():
        of_space = rows[rows["theta_id"] >= 0] if "theta_id" in rows else rows.iloc[:0]
        if "suite" in of_space:
            of_space = of_space[of_space["suite"] == DR_SUITE]
        if every is None or of_space.empty:
            continue
        fewest = int(of_space.groupby(RUN)["theta_id"].nunique().min())
        if fewest < every:
            told.append(f"{name} on {fewest} of {every} θ")
    return [f"measured were {', '.join(told)}: the worst θ is the worst of these"] if told else []


def _no_parts(learned: pd.DataFrame, planned: pd.DataFrame, switched_off: bool) -> list[str]:
    """A line where policies have a regret and no plan has one, so that it is not told whose it is."""
    known = "optimal_return" in learned and learned["optimal_return"].notna().any()
    if not known or len(planned):
        return []
    why = f"{_PLANS} is 0" if switched_off else "the family offers no tables of its rooms, or the runs valued none"
    return [f"regret is not split into the model's and the actor's part, as no plan in the model was valued: {why}"]
