"""What was not measured is told: θ that nobody played, and regret that is not told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from waker.analysis.coverage import coverage_notes, theta_count
from waker.analysis.data import RunData
from waker.analysis.errors_compared import compared_steps

EMPTY = pd.DataFrame()
UNSPLIT = "regret is not split into the model's and the actor's part, as no plan in the model was valued: "


def data(points: int = 3, **settings: Any) -> RunData:
    space = {"names": ["x"], "hard_ids": [], "points": [[float(i)] for i in range(points)]} if points else {}
    return RunData(Path("r"), "d", "dr", "e", 0, {"evaluation": settings}, *[EMPTY] * 5, space, {}, (), ())


def rows(thetas: list[int], policy: str = "learned", seed: int = 0, optimum: float = 9.0) -> list[dict[str, Any]]:
    about = {"domain": "d", "sampler": "dr", "explorer": "e", "seed": seed, "step": 40, "suite": "dr", "task": "a"}
    return [{**about, "policy": policy, "theta_id": i, "return": 1.0, "optimal_return": optimum} for i in thetas]


def errors(thetas: list[int]) -> pd.DataFrame:
    about = {"domain": "d", "sampler": "dr", "explorer": "e", "seed": 0, "step": 40, "metric": "tv_1", "value": 0.1}
    return pd.DataFrame([{**about, "theta_id": i} for i in thetas])


def notes(evaluation: list[dict[str, Any]], found: pd.DataFrame = EMPTY, run: RunData | None = None) -> list[str]:
    played = pd.DataFrame(evaluation)
    return coverage_notes([run or data()], played, found, compared_steps(played, found, EMPTY))


def test_all_theta_measured_needs_no_line() -> None:
    assert notes(rows([0, 1, 2]) + rows([0, 1, 2], "planned"), errors([0, 1, 2])) == []


def test_fewer_theta_are_counted_of_the_run_that_has_fewest() -> None:
    played = rows([0, 0, 1]) + rows([0, 1, 2], seed=1) + rows([0, 1, 2], "planned")
    told = "measured were policies on 2 of 3 θ, the model's error on 1 of 3 θ: the worst θ is the worst of these"
    assert notes(played, errors([2])) == [told]


def test_episodes_of_other_suites_and_of_theta_outside_the_space_measure_none_of_it() -> None:
    beyond = [{**row, "suite": "far"} for row in rows([2])]
    played = rows([0, 1]) + rows([-1]) + beyond + rows([0, 1, 2], "planned")
    assert notes(played) == ["measured were policies on 2 of 3 θ: the worst θ is the worst of these"]


def test_a_continuous_space_has_no_number_of_theta() -> None:
    assert theta_count([data(0)]) is None
    assert theta_count([data(0), data(5)]) == 5
    assert notes(rows([0]) + rows([0], "planned"), run=data(0)) == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [(0, "evaluation.planned_episodes is 0"), (6, "the family offers no tables of its rooms, or the runs valued none")],
)
def test_regret_without_plans_is_told_not_to_be_split(asked: int, why: str) -> None:
    assert notes(rows([0, 1, 2]), run=data(planned_episodes=asked)) == [UNSPLIT + why]


def test_without_an_optimum_there_is_nothing_to_split() -> None:
    assert notes(rows([0, 1, 2], optimum=float("nan"))) == []
    assert notes(rows([0, 1, 2], "planned")) == []
