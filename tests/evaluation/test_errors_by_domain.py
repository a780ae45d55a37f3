"""A family of several domains is evaluated domain by domain: each task in its own, both measured alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.helpers.families import family_of, family_over
from tests.helpers.spaces import joint_space
from tests.helpers.two_domains import Pair, Plane
from waker.behaviour.player import RandomPlayer
from waker.collection.spec_of import spec_of
from waker.config.presets import tiny
from waker.config.schema import EvalConfig
from waker.evaluation.filmstrip import film
from waker.evaluation.model_error import held_out_episodes
from waker.evaluation.plan import evenly_spaced_ids, plan_episodes
from waker.evaluation.records import describe_space
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.model.world_model import WorldModel
from waker.specs import completion_of
from waker_envs.testing import HardTheta

ENV = Pair()
PAIR = family_of(Pair)
SPEC = PAIR.spec
CONFIG = EvalConfig(episodes=10, suite_episodes=4)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    def nothing(observation: object, action: object) -> np.ndarray:
        return np.zeros(np.shape(observation["observation"])[:2], np.float32)  # type: ignore[index]

    tasks = (*SPEC.tasks, "outside")
    player = RandomPlayer(SPEC.action, np.random.default_rng(0), tasks)
    return pd.DataFrame(evaluate(Setup(PAIR, CONFIG, 3), player, tasks, rewards={"outside": nothing}, slots=7))


def test_the_spec_knows_which_task_belongs_where() -> None:
    assert SPEC.task_groups == (0, 1, 1)
    assert [SPEC.domain_of(task) for task in ("right", "still", "far", "outside")] == [0, 1, 1, None]
    assert spec_of(HardTheta()).domain_of("right") is None


def test_each_task_is_played_in_its_own_domain_with_all_its_episodes(rows: pd.DataFrame) -> None:
    found = Counter(rows.groupby(["task", "suite", "theta_domain"]).size().to_dict())
    assert found == {
        ("right", "dr", 0.0): 10,
        ("right", "line:harder", 0.0): 4,
        ("still", "dr", 1.0): 10,
        ("still", "plane:stormy", 1.0): 4,
        ("far", "dr", 1.0): 10,
        ("far", "plane:stormy", 1.0): 4,
        # A task defined from outside exists everywhere.
        ("outside", "dr", 0.0): 5,
        ("outside", "dr", 1.0): 5,
        ("outside", "line:harder", 0.0): 4,
        ("outside", "plane:stormy", 1.0): 4,
    }


def test_dr_is_the_domain_s_own_and_tasks_of_one_domain_meet_the_same_episodes(rows: pd.DataFrame) -> None:
    dr = rows[rows["suite"] == "dr"]
    assert dr[dr["task"] == "right"].groupby("theta_id").size().to_dict() == dict.fromkeys(range(5), 2)
    for task in ("still", "far"):
        assert dr[dr["task"] == task].groupby("theta_id").size().to_dict() == {5: 6, 6: 2, 7: 2}  # weights .6 .2 .2
    met = rows[rows["task"].isin(["still", "far"])].groupby("task")[["suite", "theta_id", "episode_seed"]].agg(tuple)
    assert met.nunique().eq(1).all()


def test_returns_and_completion_are_the_member_s(rows: pd.DataFrame) -> None:
    still = rows[rows["task"] == "still"]
    np.testing.assert_allclose(still["return"], 12 * 0.25)
    np.testing.assert_allclose(still["completion"], 0.5)
    assert rows.loc[rows["task"] == "right", "completion"].isna().all()
    far = rows[(rows["task"] == "far") & (rows["suite"] == "plane:stormy")]
    assert (far["return"] > 12 * 8).all()  # blown three metres a step


def test_a_plan_of_one_domain_leaves_others_out() -> None:
    plane = plan_episodes(PAIR, CONFIG, 3, 1)
    assert {e.theta[0] for e in plane} == {1.0}
    assert {e.suite: dict(e.env_kwargs) for e in plane} == {
        "dr": {},
        "plane:stormy": {"member_kwargs": {"plane": {"gust": 0.25}}},
    }


def test_held_out_episodes_and_films_are_shared_alike() -> None:
    space = joint_space()
    assert space.groups is not None
    chosen = evenly_spaced_ids(space, 200)
    assert np.bincount(space.groups[chosen]).tolist() == [100, 35]
    assert {0, 776, 777, 811} <= set(chosen.tolist())
    held = held_out_episodes(Setup(family_over(space), EvalConfig(model_episodes=2)))
    assert Counter(e.theta[0] for e in held) == {0.0: 200, 1.0: 70}
    model = WorldModel(SPEC, tiny().model)
    shown = film(Setup(PAIR, CONFIG), model, samples=4)["theta"]
    assert shown[:, 0].tolist() == [0, 0, 1, 1]


def test_a_report_is_told_the_domains() -> None:
    described = describe_space(ENV.theta_space, ENV.tasks)
    assert described["groups"] == [0] * 5 + [1] * 3
    assert described["group_names"] == ["line", "plane"]
    assert dict(zip(described["suites"], described["suite_groups"], strict=True)) == {
        "line:harder": 0,
        "plane:stormy": 1,
    }
    assert "groups" not in describe_space(Plane.theta_space, Plane.tasks)


def test_completion_may_be_given_by_name() -> None:
    found = completion_of({"completion": {"far": 0.25}}, SPEC.tasks)
    np.testing.assert_array_equal(found, [np.nan, np.nan, 0.25])
