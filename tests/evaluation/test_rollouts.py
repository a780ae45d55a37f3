"""Rollouts against a plain loop over single episodes, and the plan of episodes."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import waker_envs
from tests.helpers.families import family_of
from tests.helpers.line import Line
from waker.behaviour.player import RandomPlayer
from waker.collection.episode import EnvironmentFailed, Episode, Play
from waker.collection.family import Family
from waker.collection.slot_group import slot_group
from waker.collection.spec_of import spec_of
from waker.config.schema import EvalConfig
from waker.errors import UserError
from waker.evaluation.plan import plan_episodes, systematic
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.evaluation.trajectories import collect
from waker_envs.api import ParametricEnv
from waker_envs.grids.hazards import GridHazards
from waker_envs.testing import FailingEnv, HardTheta

CONFIG = EvalConfig(episodes=11, suite_episodes=3)
HARD = family_of(HardTheta)
SPEC = HARD.spec


class Scripted:
    """Pushes to its task's side, harder with every step of the episode: its state must follow the slots exactly."""

    names = ("left", "right")

    def initial(self, n: int) -> dict[str, torch.Tensor]:
        return {"count": torch.full((n,), 99.0)}

    def act(
        self,
        observation: Mapping[str, NDArray[Any]],
        is_first: NDArray[np.bool_],
        state: dict[str, torch.Tensor],
        member: NDArray[np.int64],
        deterministic: bool,
    ) -> tuple[NDArray[np.float32], dict[str, torch.Tensor]]:
        assert deterministic
        count = np.where(is_first, 0, state["count"].numpy())
        return action(observation["observation"], count, member), {"count": torch.as_tensor(count + 1)}


def action(observation: NDArray[Any], count: NDArray[Any], member: NDArray[Any]) -> NDArray[np.float32]:
    side = np.where(np.asarray(member) == 1, 1.0, -1.0)
    push = side * (0.2 + 0.03 * np.asarray(count, np.float64)) - 0.3 * observation[..., 0].astype(np.float64)
    return np.clip(push, -1, 1).astype(np.float32)[..., None]


def rows(**options: Any) -> list[dict[str, Any]]:
    return evaluate(Setup(HARD, CONFIG, 5), Scripted(), ("right", "left"), **options)


class Goer:
    """Goes right for one task and left for the other on :class:`Line`, and notes how it is asked to act."""

    names = ("left", "right")

    def __init__(self) -> None:
        self.asked: set[bool] = set()

    def initial(self, n: int) -> dict[str, torch.Tensor]:
        return {}

    def act(
        self, observation: Any, is_first: Any, state: Any, member: NDArray[np.int64], deterministic: bool
    ) -> tuple[NDArray[np.float32], dict[str, torch.Tensor]]:
        self.asked.add(deterministic)
        return np.eye(2, dtype=np.float32)[member], state


def test_policies_act_by_chance_where_asked_and_no_return_is_then_exact() -> None:
    exact = {}
    for actions in ("mode", "sampled"):
        player, asked = Goer(), EvalConfig(episodes=6, suite_episodes=2, actions=actions)
        found = evaluate(Setup(family_of(Line), asked, 5), player, ("right", "left"))
        assert player.asked == {actions == "mode"}
        exact[actions] = [not np.isnan(row["exact_value"]) for row in found]
    assert any(exact["mode"])
    assert not any(exact["sampled"])


@pytest.mark.parametrize("slots", [1, 3, 100])
def test_rows_equal_single_episodes(slots: int) -> None:
    found = rows(slots=slots)
    plan = plan_episodes(HARD, CONFIG, 5)
    assert len(found) == 2 * len(plan) == 2 * (11 + 3)
    for row, (episode, task) in zip(found, [(e, t) for e in plan for t in ("right", "left")], strict=True):
        env = HardTheta()
        observation, _ = env.reset(seed=episode.seed, options={"theta": episode.theta})
        total, steps, ended = 0.0, 0, False
        while not ended:
            push = action(observation, np.array(steps), np.array(Scripted.names.index(task)))
            observation, _, terminated, truncated, info = env.step(SPEC.action.to_env(push))
            total += float(info["task_rewards"][SPEC.tasks.index(task)])
            steps, ended = steps + 1, terminated or truncated
        assert row["return"] == pytest.approx(total, abs=1e-6)
        assert (row["task"], row["suite"], row["theta_id"]) == (task, episode.suite, episode.theta_id)
        assert (row["length"], row["episode_seed"], row["policy"]) == (20, episode.seed, "learned")
        assert row["theta_complexity"] == episode.theta[0]
        assert np.isnan(row["optimal_return"])
        assert np.isnan(row["completion"])


def test_all_tasks_and_players_meet_the_same_episodes() -> None:
    chance = RandomPlayer(SPEC.action, np.random.default_rng(0), SPEC.tasks)
    table = pd.DataFrame(rows() + evaluate(Setup(HARD, CONFIG, 5), chance, SPEC.tasks, policy="random"))
    met = table.groupby(["policy", "task"])[["suite", "theta_id", "episode_seed"]].agg(tuple)
    assert len(met) == 4
    assert met.nunique().eq(1).all()


def test_grid_hazards_rows_carry_the_exact_optimum_and_suites_their_own_environment() -> None:
    made: list[dict[str, Any]] = []

    def make(**kwargs: Any) -> ParametricEnv:
        made.append(kwargs)
        return waker_envs.make("waker/GridHazards-v0", **kwargs)

    env: Any = waker_envs.make("waker/GridHazards-v0")
    suites = env.theta_space.suites
    owners: Any = {name: waker_envs.make("waker/GridHazards-v0", **suite.env_kwargs) for name, suite in suites.items()}
    spec, config = spec_of(env), EvalConfig(episodes=18, suite_episodes=4)
    chance = RandomPlayer(spec.action, np.random.default_rng(0), spec.tasks)
    found = evaluate(Setup(Family(make, spec, env.theta_space), config), chance, ("red", "green"))
    for row in found:
        theta = [row["theta_size"], row["theta_hazards"], row["theta_slip"]]
        owner = owners.get(row["suite"], env).unwrapped
        assert row["optimal_return"] == owner.optimal_return(theta, row["task"], row["episode_seed"])
        assert row["return"] <= row["length"]
    assert {repr(k) for k in made} == {"{}", "{'n_layouts': None}", "{'shape': 'oblong'}"}
    dr = [r["theta_id"] for r in found if r["suite"] == "dr" and r["task"] == "red"]
    assert sorted(dr) == list(range(18))


def test_a_task_from_outside_is_scored_by_its_function() -> None:
    class Outside(Scripted):
        names = ("left", "middle")

    def middle(observation: Mapping[str, NDArray[Any]], action: NDArray[Any]) -> NDArray[np.float32]:
        x = observation["observation"][..., 0]
        assert x.shape == (1, 20)
        return (1 - abs(x)).astype(np.float32)

    found = evaluate(Setup(HARD, CONFIG, 5), Outside(), ("middle",), rewards={"middle": middle})
    assert found[0]["return"] == pytest.approx(_middle_return(5), abs=1e-5)
    assert np.isnan(found[0]["optimal_return"])


def _middle_return(seed: int) -> float:
    episode = plan_episodes(HARD, CONFIG, seed)[0]
    env = HardTheta()
    observation, _ = env.reset(seed=episode.seed, options={"theta": episode.theta})
    total = 0.0
    for step in range(20):
        observation, *_ = env.step(SPEC.action.to_env(action(observation, np.array(step), np.array(1))))
        total += 1 - abs(float(observation[0]))
    return total


@pytest.mark.parametrize("failure", ["raise", "nan", "nan-reward", "shape"])
def test_a_failing_environment_is_named_in_one_line(failure: Any) -> None:
    line = _failure(lambda: FailingEnv(failure=failure, at_step=9))
    assert line.startswith("environment ")
    found = re.search(
        r"at step 9 of an episode of suite 'dr'.*reset\(seed=(\d+), options=(.*)\) and the actions (.*)$", line
    )
    assert found
    seed, options, actions = map(ast.literal_eval, found.groups())
    again = FailingEnv(failure="raise", at_step=9)
    again.reset(seed=seed, options=options)
    for taken in actions[:-1]:
        again.step(np.array(taken, np.float32))
    with pytest.raises(RuntimeError, match="told to fail at step 9"):
        again.step(np.array(actions[-1], np.float32))


def _failure(make: Callable[[], HardTheta]) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(Setup(family_of(make), CONFIG), Scripted(), ("left",), slots=1)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class _Answers(HardTheta):
    """Every step returns these."""

    def __init__(self, observation: Any, rewards: Any) -> None:
        super().__init__()
        self.answer = (observation, rewards)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        mine, rewards = self.answer
        info = info if rewards is None else {**info, "task_rewards": rewards}
        return (observation if mine is None else mine), reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("observation", "rewards", "told"),
    [
        (np.zeros((2, 1), np.float32), None, "shape (2, 1) instead of (2,)"),
        (np.array(["a", "b"]), None, "dtype <U1"),
        (None, [0.0, 0.0, 0.0], "['task_rewards'] has shape (3,) instead of (2,)"),
        (None, [np.inf, 0.0], "['task_rewards'] is not finite"),
    ],
)
def test_evaluation_checks_what_training_checks(observation: Any, rewards: Any, told: str) -> None:
    line = _failure(lambda: _Answers(observation, rewards))
    assert told in line
    assert "at step 1 of an episode of suite 'dr'" in line
    episode = plan_episodes(HARD, CONFIG, 0)[0]
    slots = slot_group(family_of(lambda: _Answers(observation, rewards), longest=3), 1)
    with pytest.raises(EnvironmentFailed, match=re.escape(told)):
        collect(RandomPlayer(SPEC.action, np.random.default_rng(0)), slots, [episode])


def test_a_class_that_does_not_exist_is_refused() -> None:
    class Wrong(GridHazards):
        def step(self, action: Any) -> Any:
            observation, *rest = super().step(action)
            return ({**observation, "agent": np.full_like(observation["agent"], 99)}, *rest)

    family = family_of(Wrong, longest=3)
    episode, slots = plan_episodes(family, CONFIG, 0)[0], slot_group(family, 1)
    with pytest.raises(EnvironmentFailed, match=r"observation 'agent'\[0\] is 99, of \d+ classes"):
        collect(RandomPlayer(family.spec.action, np.random.default_rng(0)), slots, [episode])


def test_a_failure_tells_all_digits_and_the_suite_s_arguments() -> None:
    play = Play(SPEC)
    play.begin(Episode(np.array([0.1234567890123, 2.0]), -1, 7, "dr", {"slip": True}))
    line = str(play.raised(RuntimeError("no\nlight")))
    assert "made with {'slip': True} failed at reset of an episode of suite 'dr': RuntimeError: no light;" in line
    assert "reset(seed=7, options={'theta': [0.1234567890123, 2.0]}) and no action" in line


def test_unknown_tasks_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'right'"):
        evaluate(Setup(HARD, CONFIG), Scripted(), ("rihgt",))


def test_torch_generator_is_left_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    rows()
    assert torch.equal(before, torch.get_rng_state())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda w: sum(w) > 0.01),
    st.integers(0, 200),
    st.floats(0, 1, exclude_max=True),
)
def test_systematic_sampling_gives_each_index_its_share(weights: list[float], n: int, offset: float) -> None:
    w = np.array(weights) / sum(weights)
    counts = np.bincount(systematic(w, n, offset), minlength=len(w))
    assert counts.sum() == n
    assert (abs(counts - n * w) < 1 + 1e-6).all()
    assert (counts[w == 0] == 0).all()


def test_a_suite_added_later_changes_no_other_episode() -> None:
    family = family_of(HardTheta)
    before, space = plan_episodes(family, CONFIG, 1), family.space
    space.suites = {"another": next(iter(space.suites.values())), **space.suites}
    after = {e.suite: e.seed for e in plan_episodes(family, CONFIG, 1)}
    assert {e.suite: e.seed for e in before}.items() <= after.items()
