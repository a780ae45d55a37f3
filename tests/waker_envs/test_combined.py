"""Combined families: each episode is a member's own, θ and DR join, tasks stay apart; and the walker with CleanUp."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

import waker_envs
from tests.helpers.two_domains import Pair, Plane
from waker.specs import completion_of
from waker_envs.api import FiniteThetaSpace, ParametricEnv
from waker_envs.checker import EnvCheckError, check_parametric_env
from waker_envs.combining import CombinedEnv, Member
from waker_envs.testing import HardTheta

NAMES = ("domain", "complexity", "drag", "wind")


def episode(env: ParametricEnv, theta: Any, seed: int, actions: np.ndarray) -> list[tuple[Any, ...]]:
    """(observation, rewards, end, completion) of each step after the reset's observation."""
    observation, _ = env.reset(seed=seed, options={"theta": theta})
    found: list[tuple[Any, ...]] = [(observation,)]
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        found.append((observation, info["task_rewards"], terminated or truncated, info.get("completion")))
        if terminated or truncated:
            break
    return found


def test_theta_is_the_domain_and_everybody_s_parameters() -> None:
    space = Pair().theta_space
    assert isinstance(space, FiniteThetaSpace)
    assert space.names == NAMES
    assert space.points[:5].tolist() == [[0, c, 0, 0] for c in range(5)]
    assert space.points[5:].tolist() == [[1, 0, 0.1, 0.2], [1, 0, 0.5, 0.0], [1, 0, 0.5, 0.2]]
    assert [p.unit for p in space.parameters] == ["", "", "", "m"]
    assert space.parameters[0].description == "0 line, 1 plane"
    assert space.parameters[3].description == "plane: adds to x"


def test_each_domain_has_half_of_dr_shared_as_in_its_own() -> None:
    space = Pair().theta_space
    assert isinstance(space, FiniteThetaSpace)
    np.testing.assert_allclose(space.weights, [*[0.1] * 5, 0.3, 0.1, 0.1], rtol=1e-12)
    assert space.groups is not None
    assert space.groups.tolist() == [0] * 5 + [1] * 3
    assert space.group_names == ("line", "plane")
    assert "domain plane: 3 θ, 50 % of domain randomisation" in space.describe()


def test_experts_sets_and_suites_are_joined() -> None:
    space = Pair().theta_space
    assert space.hard.tolist() == [[0, 3, 0, 0], [0, 4, 0, 0], [1, 0, 0.5, 0.2]]
    assert space.hardest is None
    assert {name: thetas.tolist() for name, thetas in space.sets.items()} == {
        "windy": [[1, 0, 0.1, 0.2], [1, 0, 0.5, 0.2]]
    }
    assert list(space.suites) == ["line:harder", "plane:stormy"]
    harder, stormy = space.suites.values()
    assert harder.thetas.tolist() == [[0, 5, 0, 0]]
    assert (harder.env_kwargs, harder.group, stormy.group) == ({}, 0, 1)
    assert stormy.thetas.tolist() == [[1, 0, 0.5, 3.0], [1, 0, 0.1, 3.0]]
    assert stormy.env_kwargs == {"member_kwargs": {"plane": {"gust": 0.25}}}


def test_neighbours_stay_in_the_domain() -> None:
    space = Pair().theta_space
    assert space.neighbours([0, 2, 0, 0]).tolist() == [[0, 1, 0, 0], [0, 3, 0, 0]]
    assert space.neighbours([1, 0, 0.5, 0.2]).tolist() == [[1, 0, 0.1, 0.2], [1, 0, 0.5, 0.0]]


ACTIONS = np.random.default_rng(3).uniform(-1, 1, (30, 2)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 7])
def test_an_episode_is_the_member_s_own(seed: int) -> None:
    pair = Pair()
    # In turn, so that nothing of one domain's episode survives into the next.
    for joint, own, make, size in (
        ([0, 3, 0, 0], [3], HardTheta, 1),
        ([1, 0, 0.5, 0.2], [0.5, 0.2], Plane, 2),
        ([0, 4, 0, 0], [4], HardTheta, 1),
    ):
        member = make()
        expected = episode(member, own, seed, ACTIONS[:, :size])
        found = episode(pair, joint, seed, ACTIONS)
        assert len(found) == len(expected)
        pad = 3 - member.observation_space.shape[0]
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine[0], np.pad(theirs[0], (0, pad)))
            assert mine[0].dtype == np.float32
        for mine, theirs in zip(found[1:], expected[1:], strict=True):
            of_member = dict(zip(member.tasks, theirs[1], strict=True))
            wanted = [of_member["right"], 0, 0] if size == 1 else [0, of_member["still"], of_member["far"]]
            np.testing.assert_array_equal(mine[1], np.array(wanted, np.float32))
            assert mine[2] == theirs[2]


def test_completion_is_of_the_member_s_tasks_alone() -> None:
    pair = Pair()
    _, *steps = episode(pair, [1, 0, 0.5, 0.2], 0, ACTIONS)
    for _, rewards, _, completion in steps:
        assert completion == {"still": 0.5, "far": float(rewards[2] > 2)}  # far is paid with the distance itself
        given = completion_of({"completion": completion}, pair.tasks)
        np.testing.assert_array_equal(given, [np.nan, 0.5, completion["far"]])
    _, *steps = episode(pair, [0, 0, 0, 0], 0, ACTIONS)
    assert all(step[3] is None for step in steps)


def test_tasks_know_their_domain_and_pay_there() -> None:
    far = Pair(task="far")
    assert far.tasks == ("right", "still", "far")
    assert far.task_groups == (0, 1, 1)
    far.reset(seed=0, options={"theta": [1, 0, 0.1, 0.2]})
    _, reward, *_, info = far.step(ACTIONS[0])
    assert reward == info["task_rewards"][2] > 0
    far.reset(seed=0, options={"theta": [0, 4, 0, 0]})
    _, reward, *_, info = far.step(ACTIONS[0])
    assert reward == 0 == info["task_rewards"][2]
    with pytest.raises(waker_envs.UnknownTaskError, match="'near'; this family has right, still, far"):
        Pair(task="near")


def test_without_theta_both_domains_are_drawn() -> None:
    drawn = [Pair().reset(seed=seed)[1]["theta"][0] for seed in range(40)]
    assert 8 < sum(drawn) < 32


def test_a_suite_hands_its_arguments_to_the_member() -> None:
    stormy = Pair().theta_space.suites["plane:stormy"]
    found = episode(Pair(**stormy.env_kwargs), stormy.thetas[0], 5, ACTIONS)
    expected = episode(Plane(gust=0.25), [0.5, 3.0], 5, ACTIONS)
    calm = episode(Plane(), [0.5, 3.0], 5, ACTIONS)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
    assert not np.array_equal(found[-1][0], calm[-1][0])


def test_a_member_is_made_when_its_domain_is_visited() -> None:
    Pair()  # what it must know of its members is read once a process
    before = Plane.made
    pair = Pair()
    for seed in range(3):
        pair.reset(seed=seed, options={"theta": [0, seed, 0, 0]})
    assert Plane.made == before
    for _ in range(2):
        pair.reset(seed=0, options={"theta": [1, 0, 0.5, 0.2]})
    assert Plane.made == before + 1


def test_render_shows_the_present_domain() -> None:
    pair = Pair(render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded):
        pair.render()
    pair.reset(seed=0, options={"theta": [1, 0, 0.5, 0.2]})
    assert (pair.render() == (0, 0, 255)).all()
    pair.reset(seed=0, options={"theta": [0, 2, 0, 0]})
    assert pair.render().shape == (16, 64, 3)
    assert Pair().render() is None
    pair.close()


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (np.zeros(1), r"must have shape \(2,\), got \(1,\)"),
        (np.array([0.0, np.nan]), "the action is not finite"),  # also where the line would not look
    ],
)
@pytest.mark.parametrize("theta", [[0, 2, 0, 0], [1, 0, 0.5, 0.2]])
def test_bad_actions_are_one_clear_error(theta: Any, action: np.ndarray, told: str) -> None:
    pair = Pair()
    pair.reset(seed=0, options={"theta": theta})
    with pytest.raises(ValueError, match=told):
        pair.step(action)


def test_bad_theta_is_told_the_nearest() -> None:
    with pytest.raises(waker_envs.ThetaError, match=r"the nearest is \(domain=1, complexity=0, drag=0.5, wind=0.2\)"):
        Pair().reset(options={"theta": [1, 0, 0.5, 0.25]})


def test_our_checker_and_gymnasium_s_are_content() -> None:
    check_parametric_env(Pair)
    check_env(Pair(), skip_render_check=True)


class SameTask(Pair):
    members = (Member("line", "waker/test-Hard-v0", ("left",)), Member("noisy", "waker/test-Noisy-v0", ("left",)))


class NoSuchTask(Pair):
    members = (Member("line", "waker/test-Hard-v0", ("up",)),)


class PicturesAndVectors(Pair):
    members = (Member("line", "waker/test-Hard-v0", ("right",)), Member("picture", "waker/test-Picture-v0", ("left",)))


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (SameTask, "need different names"),
        (NoSuchTask, "waker/test-Hard-v0 has no task 'up'; it has right, left"),
        (PicturesAndVectors, "observations cannot be combined"),
    ],
)
def test_members_that_do_not_go_together_are_refused(family: type[CombinedEnv], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        family()


def test_arguments_for_nobody_are_refused() -> None:
    with pytest.raises(ValueError, match="no member 'plain'; the members are line, plane"):
        Pair(member_kwargs={"plain": {}})


class Wide(HardTheta):
    """Its actions have another range."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)


class TwoRanges(CombinedEnv):
    members = (Member("wide", "tests/Wide-v0", ("right",)), Member("plane", "tests/Plane-v0", ("far",)))


def test_actions_of_other_ranges_are_refused() -> None:
    if "tests/Wide-v0" not in gym.registry:
        gym.register("tests/Wide-v0", entry_point=Wide)
    with pytest.raises(ValueError, match="actions cannot be combined"):
        TwoRanges()


class ForeignTaskPaid(Pair):
    def advance(self, action: Any) -> Any:
        step = super().advance(action)
        step.task_rewards = np.ones(3, np.float32)
        return step


class GroupsWithoutDomains(HardTheta):
    task_groups: ClassVar[Any] = (0, 0)


class NoSuchDomain(Pair):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task_groups = (0, 1, 2)


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (ForeignTaskPaid, "task 'still' belongs to domain 'plane' but earns something.*must be 0 there"),
        (GroupsWithoutDomains, "task_groups but its θ space has no groups"),
        (NoSuchDomain, r"one of the 2 domains \('line', 'plane'\) by number, got \(0, 1, 2\)"),
    ],
)
def test_the_checker_finds_tasks_in_the_wrong_domain(family: Any, told: str) -> None:
    with pytest.raises(EnvCheckError, match=told):
        check_parametric_env(family)


def combined(**kwargs: Any) -> ParametricEnv:
    return waker_envs.make("waker/Combined-v0", **{"obs": "proprio", "length": 20, **kwargs})


def test_combined_is_the_walker_and_cleanup() -> None:
    env = combined()
    space = env.theta_space
    assert isinstance(space, FiniteThetaSpace)
    assert space.names == ("domain", "amplitude", "length_scale", "arena", "n_green", "n_blue")
    assert np.bincount(space.groups if space.groups is not None else []).tolist() == [777, 35]
    np.testing.assert_allclose(space.weights[:777], 0.5 / 777)
    assert space.weights[777:].sum() == pytest.approx(0.5)
    assert space.weights[space.index([1, 0, 0, 4, 2, 2])] == pytest.approx(0.5 / 5 / 5 / 5)
    assert list(space.suites) == ["walker:steep", "walker:stairs", "cleanup:5-blocks"]
    assert (len(space.hard), space.hardest) == (25 + 5, None)
    assert (env.tasks, env.task_groups) == (("walk", "run", "sort", "push"), (0, 0, 1, 1))
    assert env.action_space == spaces.Box(-1.0, 1.0, (6,), np.float32)


@pytest.mark.parametrize("obs", ["proprio", "proprio+scan"])
@pytest.mark.parametrize(
    ("theta", "env_id", "columns"),
    [([0, 0.5, 0.4, 0, 0, 0], "waker/TerrainWalker-v0", [1, 2]), ([1, 0, 0, 3, 1, 2], "waker/CleanUp-v0", [3, 4, 5])],
)
def test_combined_s_episodes_are_its_members(obs: str, theta: list[float], env_id: str, columns: list[int]) -> None:
    env, member = combined(obs=obs), waker_envs.make(env_id, obs=obs, length=20)
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 6)).astype(np.float32)
    found = episode(env, theta, 4, actions)
    expected = episode(member, np.array(theta)[columns], 4, actions[:, : member.action_space.shape[0]])
    assert len(found) == len(expected) == 11
    size = member.observation_space.shape[0]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine[0][:size], theirs[0])
        assert not mine[0][size:].any()
    of_member = dict(zip(member.tasks, expected[5][1], strict=True))
    np.testing.assert_array_equal(found[5][1], [of_member.get(task, 0.0) for task in env.tasks])


def test_combined_passes_our_checker() -> None:
    check_parametric_env(combined())


def test_pictures_are_the_members_whichever_domain_was_drawn_last() -> None:
    env = combined(obs="pixels")
    thetas = ([0, 0.5, 0.4, 0, 0, 0], [1, 0, 0, 3, 1, 2])
    first = [env.reset(seed=0, options={"theta": theta})[0] for theta in thetas]
    for _ in range(2):
        for theta, picture in zip(thetas, first, strict=True):
            np.testing.assert_array_equal(env.reset(seed=0, options={"theta": theta})[0], picture)


def test_films_play_at_the_visited_member_s_speed() -> None:
    env = waker_envs.make("waker/Combined-v0", obs="proprio")
    rates = []
    for theta in (env.theta_space.points[0], env.theta_space.points[-1]):
        env.reset(seed=0, options={"theta": theta})
        rates.append(env.metadata["render_fps"])
    assert rates == [20, 25]
