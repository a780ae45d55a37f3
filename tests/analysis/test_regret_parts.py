"""Regret as the model's and the actor's part, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.helpers.rows import numbers
from waker.analysis.regret_parts import ACTOR, MODEL, TOTAL, mean_parts, regret_parts


def test_the_parts_add_up_run_by_run() -> None:
    rows = pd.concat(
        [
            numbers({"dr": {"a": [3.0, 4.0]}, "waker-m": {"a": [3.0, 3.0]}}, "actor_regret"),
            numbers({"dr": {"a": [4.5, 5.0]}}, "mean_regret"),  # of other episodes than the plans' mean
            numbers({"dr": {"a": [1.0, 2.0]}}, "planned_mean_regret"),
            numbers({"dr": {"a": [9.0, 9.0]}}, "worst_regret"),
        ]
    )
    parts = regret_parts(rows)
    assert set(parts["sampler"]) == {"dr"}  # the other one's model was not planned in
    assert parts[parts["part"] == ACTOR].set_index("seed")["value"].to_dict() == {0: 3.0, 1: 4.0}
    means = mean_parts(parts).set_index("part")
    assert means["mean"].to_dict() == {TOTAL: 5.0, MODEL: 1.5, ACTOR: 3.5}
    # Student with one degree of freedom: 12.7062 · 0.7071 / √2.
    assert means["high"][MODEL] - 1.5 == pytest.approx(6.3531, abs=1e-4)


def test_without_a_planned_policy_there_are_no_parts() -> None:
    parts = regret_parts(numbers({"dr": {"a": [4.0]}}, "actor_regret"))
    assert parts.empty and mean_parts(parts).empty
