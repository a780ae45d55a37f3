"""One evaluation of one agent: its rows and its film strip."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.families import family_of
from waker.agent.agent import Agent
from waker.analysis.numbers import compare_runs
from waker.config.presets import tiny
from waker.config.schema import EvalConfig
from waker.evaluation import learned_table, pieces, planned
from waker.evaluation.pieces import Pieces
from waker.evaluation.plan import plan_episodes, planned_episodes
from waker.evaluation.records import Measurement, describe_space, measure
from waker.evaluation.setup import Setup
from waker.names import EXPECTED
from waker.terminal.signals import Paused
from waker_envs.api import BoxThetaSpace, Parameter
from waker_envs.foreign import Failed
from waker_envs.grids.hazards import GridHazards
from waker_envs.testing import HardTheta, NoisyTheta


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    family, config = family_of(HardTheta), tiny()
    torch.manual_seed(0)
    agent = Agent(family.spec, config)
    return measure(Setup(family, config.evaluation), agent.model, agent.task_player())


def test_learned_and_random_policies_and_all_theta_are_measured(measurement: Measurement) -> None:
    config = tiny().evaluation
    assert len(measurement.evaluation) == 2 * 2 * (config.episodes + config.suite_episodes)
    assert {(r["policy"], r["task"]) for r in measurement.evaluation} == {
        (p, t) for p in ("learned", "random") for t in ("right", "left")
    }
    assert {r["theta_id"] for r in measurement.model_error} == set(range(5))


def test_without_policies_only_the_model_is_measured() -> None:
    family, config = family_of(HardTheta), tiny()
    agent = Agent(family.spec, config)
    found = measure(Setup(family, config.evaluation), agent.model, None)
    assert found.evaluation == []
    assert found.model_error


def test_sets_are_described_by_ids() -> None:
    assert describe_space(NoisyTheta().theta_space, ("t",))["sets"] == {"noisy": [2]}


def test_a_continuous_space_has_neither_points_nor_hard_ids() -> None:
    space = BoxThetaSpace([Parameter("x", "a thing", "m")], [0.0], [1.0], hard=[[0.9]])
    described = describe_space(space, ("t",))
    assert described["hard_ids"] == []
    assert "points" not in described
    assert described["units"] == ["m"]


def measured_rooms(config: EvalConfig, player: bool = True, make: Any = GridHazards, **more: Any) -> Measurement:
    family = family_of(make)
    torch.manual_seed(0)
    agent = Agent(family.spec, tiny())
    acting = agent.task_player() if player else None
    return measure(Setup(family, config), agent.model, acting, **more)


SOME = dataclasses.replace(tiny().evaluation, episodes=36, suite_episodes=3, planned_episodes=18)


def test_plans_stand_beside_learned_and_random_policies_on_the_same_episodes() -> None:
    rows = pd.DataFrame(measured_rooms(SOME).evaluation)
    assert set(rows["policy"]) == {"learned", "random", "planned", EXPECTED}
    planned, learned = (rows[(rows["policy"] == policy) & (rows["task"] == "red")] for policy in ("planned", "learned"))
    suites = GridHazards().theta_space.suites
    assert set(planned["suite"]) == {"dr", *suites}
    assert planned.notna().sum().gt(0).sum() == len(rows.columns) - 1  # but for the completion, which is none
    assert (planned[planned["suite"] == "dr"]["theta_id"].value_counts() == 2).all()
    both = planned.merge(learned, on=["suite", "theta_id", "episode_seed"])
    assert len(both) == len(planned) == 36 + 3 * len(suites)
    np.testing.assert_allclose(both["optimal_return_x"], both["optimal_return_y"], atol=1e-9)


def test_a_value_is_exact_where_neither_policy_nor_episode_has_any_chance() -> None:
    rows = pd.DataFrame(measured_rooms(SOME).evaluation)
    exact = rows["exact_value"].notna()
    assert exact[rows["policy"] == "planned"].all()
    assert not exact[rows["policy"] == "random"].any()
    learned = rows[rows["policy"] == "learned"]
    assert (exact[learned.index] == (learned["theta_slip"] == 0)).all()
    certain = learned[learned["exact_value"].notna()]
    assert (certain["exact_value"] == certain["return"]).all()
    rows = rows.assign(run="r", step=160, updates=10, domain="d", sampler="dr", explorer="e", seed=0)
    numbers = compare_runs(rows, pd.DataFrame(), pd.DataFrame()).numbers.set_index(["task", "quantity"])["value"]
    assert numbers["red", "exact_share"] == 0.5
    assert numbers["red", "planned_mean_regret"] >= 0


def test_plans_are_measured_without_policies_for_the_tasks_asked_for_or_not_at_all() -> None:
    found = measured_rooms(SOME, player=False, tasks=["green"])
    assert {(row["policy"], row["task"]) for row in found.evaluation} == {
        (policy, "green") for policy in ("planned", EXPECTED)
    }
    assert measured_rooms(dataclasses.replace(SOME, planned_episodes=0), player=False).evaluation == []


def test_a_family_whose_tables_fail_is_told_and_measured_without_them() -> None:
    with pytest.warns(Failed, match="deterministic failed at"), pytest.warns(Failed, match="no table today"):
        found = measured_rooms(SOME, make=NoTableToday)
    assert {row["policy"] for row in found.evaluation} == {"learned", "random"}
    assert all(np.isnan(row["exact_value"]) for row in found.evaluation)


class NoTableToday(GridHazards):
    def tabular(self, theta: Any, seed: int) -> Any:
        raise RuntimeError("no table today")

    def deterministic(self, theta: Any) -> Any:
        return "perhaps"


def test_an_evaluation_that_was_stopped_while_planning_ends_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_table, "DRAWS", 2000)
    monkeypatch.setattr(planned, "DRAWS", 2000)
    whole = measured_rooms(SOME)
    ticks, stop = iter(range(10**6)), 3

    def stopped() -> bool:
        inside = sys._getframe(2).f_code.co_name == "planned_rows"
        return inside and next(ticks) >= stop

    with monkeypatch.context() as patch:
        patch.setattr(pieces, "stop_requested", stopped)
        with pytest.raises(Paused):
            measured_rooms(SOME, pieces=Pieces(tmp_path / "evaluating", "s"))
    told: list[str] = []
    again = measured_rooms(SOME, pieces=Pieces(tmp_path / "evaluating", "s", told.append))
    assert "goes on with plans in the model" in told[0]
    assert repr(again.evaluation) == repr(whole.evaluation)


def test_plans_are_valued_in_the_first_episodes_of_each_theta() -> None:
    family = family_of(GridHazards)
    for asked, each in ((90, 5), (36, 2), (1, 2)):
        config = dataclasses.replace(SOME, episodes=90, suite_episodes=5, planned_episodes=asked)
        plan, played = planned_episodes(family, config, 0), plan_episodes(family, config, 0)
        dr = [episode for episode in plan if episode.suite == "dr"]
        assert np.bincount([episode.theta_id for episode in dr]).tolist() == [each] * 18
        assert sum(episode.suite == "fresh" for episode in plan) == min(asked, 5)
        known = {(episode.suite, episode.theta_id, episode.seed) for episode in played}
        new = [episode for episode in plan if (episode.suite, episode.theta_id, episode.seed) not in known]
        assert not new
    for asked, each in ((90, 5), (18, 2)):
        more = planned_episodes(family, dataclasses.replace(SOME, episodes=18, planned_episodes=asked), 0)
        assert np.bincount([episode.theta_id for episode in more if episode.suite == "dr"]).tolist() == [each] * 18
        assert len({episode.seed for episode in more}) == len(more)
    assert planned_episodes(family, dataclasses.replace(SOME, planned_episodes=0), 0) == []
