"""CleanUp and CarCleanUp as environments: rewards, completion, observations, arguments, and that (seed, θ) fix all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import waker_envs
from tests.helpers.driving import push_first_block
from waker_envs.checker import check_parametric_env
from waker_envs.cleanup.base import CleanUpEnv
from waker_envs.cleanup.car import CarCleanUp
from waker_envs.cleanup.point import CleanUp

FAMILIES = [CleanUp, CarCleanUp]
KINDS = ["pixels", "proprio", "proprio+scan"]
SLOTS = 5


def start(env: CleanUpEnv, theta: Any, seed: int = 0) -> Any:
    return env.reset(seed=seed, options={"theta": theta})[0]


def arrange(env: CleanUpEnv, blocks: list[tuple[float, float]], robot: tuple[float, float]) -> None:
    """Put blocks and robot elsewhere after a reset, the robot facing right."""
    env.arena.block_qpos[: len(blocks), :2] = blocks
    env.place(*robot, heading=0.0)
    env._distances, env._inside = env._standing()


def scanned(env: CleanUpEnv, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The blocks' part of a ``proprio+scan`` observation, (5, 7), and its last three entries."""
    n = len(env.proprio_names)
    return observation[n:-3].reshape(SLOTS, 7), observation[-3:]


def distances(env: CleanUpEnv, observation: np.ndarray) -> np.ndarray:
    """Σ|x_block − x_goal| for sort, sort-reversed and push, from the observation alone."""
    blocks, (left, right, _) = scanned(env, observation)
    total = np.zeros(3)
    for _, green, _, x, *_ in blocks[blocks[:, 0] > 0].tolist():
        first, other = (left, right) if green else (right, left)
        total += [abs(x - first), abs(x - other), abs(x - right)]
    return total


def fractions(env: CleanUpEnv, observation: np.ndarray) -> np.ndarray:
    """The fraction inside, the same way."""
    blocks, (left, right, _) = scanned(env, observation)
    rows = blocks[blocks[:, 0] > 0].tolist()
    if not rows:
        return np.ones(3)
    inside = np.zeros(3)
    for _, green, _, x, *_ in rows:
        first, other = (left, right) if green else (right, left)
        inside += [abs(x - first) <= 0.25, abs(x - other) <= 0.25, abs(x - right) <= 0.25]
    return inside / len(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_rewards_and_completion_follow_the_formula_at_every_control_step(family: type[CleanUpEnv]) -> None:
    env = family(obs="proprio+scan", action_repeat=1, length=300)
    start(env, [5, 3, 2])
    arrange(env, [(0.5, 0.0), (-1.0, 0.8), (0.8, -0.8), (1.1, 0.05), (-0.2, 0.9)], robot=(-0.1, 0.0))
    before, moved = env._observation(), np.zeros(3)
    rng = np.random.default_rng(0)
    for step in range(300):
        turn = rng.uniform(-0.1, 0.1)
        action = [1.0, turn] if family is CleanUp else [1.0 - turn, 1.0 + turn]
        after, _, terminated, truncated, info = env.step(action)
        expected = 100 * (distances(env, before) - distances(env, after)) + 0.5 * fractions(env, after)
        np.testing.assert_allclose(info["task_rewards"], expected, atol=2e-4)  # positions are float32 here
        np.testing.assert_array_equal(info["completion"], fractions(env, after).astype(np.float32))
        assert info["completion"].dtype == np.float32
        moved += abs(distances(env, before) - distances(env, after))
        before = after
        assert (terminated, truncated) == (False, step == 299)
    assert moved.min() > 0.2


def test_the_distance_part_of_the_rewards_telescopes() -> None:
    env = CleanUp(obs="proprio+scan", action_repeat=1)
    start(env, [4, 2, 2])
    arrange(env, [(0.5, 0.0), (-1.0, 0.8), (1.1, 0.05), (-0.2, 0.9)], robot=(-0.1, 0.0))
    first, paid = np.array(env._distances), np.zeros(3)
    inside = np.zeros(3)
    for k in range(400):
        transition = env.advance([1.0, 0.2 * np.sin(k / 40)])
        paid += transition.task_rewards
        inside += 0.5 * np.array(env._inside)
    last = np.array(env._distances)
    np.testing.assert_allclose(last, distances(env, transition.observation), atol=1e-5)
    assert abs(first - last).max() > 0.1
    np.testing.assert_allclose(paid - inside, 100 * (first - last), atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_is_the_sum_of_its_repeats(family: type[CleanUpEnv]) -> None:
    single, double = family(obs="proprio+scan", action_repeat=1), family(obs="proprio+scan", action_repeat=2)
    for env in (single, double):
        start(env, [4, 2, 2])
        arrange(env, [(0.5, 0.0), (-1.0, 0.8), (1.1, 0.05), (-0.2, 0.9)], robot=(-0.1, 0.0))
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.uniform(0.5, 1, 2) * ([1, 0.1] if family is CleanUp else 1)
        first = single.advance(action)
        second = single.advance(action)
        both = double.advance(action)
        np.testing.assert_array_equal(second.observation, both.observation)
        np.testing.assert_array_equal(second.info["completion"], both.info["completion"])
        np.testing.assert_allclose(np.add(first.task_rewards, second.task_rewards), both.task_rewards, atol=1e-9)


def test_an_episode_ends_after_its_length_also_within_a_repeat() -> None:
    env = CleanUp(obs="proprio", action_repeat=2, length=5, task="push")
    start(env, [2, 0, 0])
    steps = [env.step([0, 0]) for _ in range(3)]
    assert [s[3] for s in steps] == [False, False, True]
    assert [s[1] for s in steps] == [1.0, 1.0, 0.5]  # no blocks: 0.5 a control step
    assert [s[4]["completion"].tolist() for s in steps] == [[1, 1, 1]] * 3
    with pytest.raises(gym.error.ResetNeeded):
        env.step([0, 0])


@pytest.mark.parametrize(
    ("green", "blue", "completion"),
    [
        ([-0.91, -1.15], [0.91, 1.15], [1, 0, 0.5]),
        ([-0.89, -1.15], [0.89, 1.15], [0.5, 0, 0.25]),
        ([0.91, 1.15], [-0.91, -1.15], [0, 1, 0.5]),
        ([1.15, 1.15], [1.15, 1.15], [0.5, 0.5, 1]),
        ([0.0, -0.4], [0.3, 0.6], [0, 0, 0]),
    ],
)
def test_completion_of_blocks_placed_by_hand(green: list[float], blue: list[float], completion: list[float]) -> None:
    env = CleanUp(obs="proprio")
    start(env, [4, 2, 2])
    arrange(env, [(x, -1.1 + 0.5 * i) for i, x in enumerate([*green, *blue])], robot=(0.0, 1.2))
    *_, info = env.step([0, 0])
    assert info["completion"].tolist() == completion


@pytest.mark.parametrize(("theta", "goal"), [([4, 1, 0], -1), ([4, 0, 1], 1), ([1, 1, 0], -1), ([2, 0, 1], 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_scripted_robot_sorts_a_block_within_an_episode(theta: list[int], goal: int, seed: int) -> None:
    env = CleanUp(obs="proprio+scan", task="sort")
    observation = start(env, theta, seed)
    assert env._inside[0] == 0
    info = push_first_block(env, observation, goal * (env.arena.half - 0.25))
    assert info["completion"][0] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_proprio_is_the_robot_s_state(family: type[CleanUpEnv]) -> None:
    env = family(obs="proprio", action_repeat=1)
    observation = start(env, [4, 0, 0])
    assert observation.shape == (len(env.proprio_names),)
    env.place(0.0, 0.0, 0.5)
    before, *_ = env.step([1, 1])
    for _ in range(20):
        after, *_ = env.step([1, 0.7])
        dt = env.robot.timestep * 10
        turned = np.arctan2(after[3], after[2]) - np.arctan2(before[3], before[2])
        np.testing.assert_allclose((after[:2] - before[:2]) / dt, (after[4:6] + before[4:6]) / 2, atol=0.05)
        np.testing.assert_allclose(turned / dt, (after[6] + before[6]) / 2, atol=0.35)
        assert np.hypot(*after[2:4]) == pytest.approx(1, abs=1e-6)
        before = after
    assert after[0] > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scan_shows_blocks_goals_and_size(family: type[CleanUpEnv]) -> None:
    env = family(obs="proprio+scan")
    for theta in [*env.theta_space.points, *env.theta_space.suites["5-blocks"].thetas]:
        observation = start(env, theta)
        _, green, blue = (int(v) for v in theta)
        blocks, (left, right, half) = scanned(env, observation)
        np.testing.assert_array_equal(blocks[:, 0], np.arange(SLOTS) < green + blue)
        np.testing.assert_array_equal(blocks[:, 1], np.arange(SLOTS) < green)
        np.testing.assert_array_equal(blocks[:, 2], blocks[:, 0] - blocks[:, 1])
        placed = np.where(blocks[:, :1] > 0, env.arena.block_qpos[:, :2], 0)
        np.testing.assert_array_equal(blocks[:, 3:5], placed.astype(np.float32))
        assert (blocks[green + blue :] == 0).all()
        assert half == pytest.approx(0.7 + 0.175 * min(theta[0], 4))
        assert (left, right) == pytest.approx((0.25 - half, half - 0.25))


def test_the_robot_s_view_of_a_moving_block_has_its_velocity() -> None:
    env = CleanUp(obs="proprio+scan", action_repeat=1)
    start(env, [4, 1, 0])
    arrange(env, [(0.41, 0.0)], robot=(0.0, 0.0))
    for _ in range(60):
        observation, *_ = env.step([1, 0])
    (block, *_), _ = scanned(env, observation)
    assert block[5] == pytest.approx(observation[4], rel=0.2)  # pushed along with the robot
    assert block[5] > 0.2


EPISODE = """
import hashlib, sys
import numpy as np, waker_envs
digest = hashlib.sha256()
for kind in ("proprio+scan", "pixels"):
    env = waker_envs.make(sys.argv[1], obs=kind)
    for seed, theta in enumerate(([4, 2, 2], [1, 1, 0], [5, 0, 5])):
        digest.update(env.reset(seed=seed, options={"theta": theta})[0].tobytes())
        env.action_space.seed(seed)
        for _ in range(25):
            observation, *_, info = env.step(env.action_space.sample())
            digest.update(observation.tobytes() + info["task_rewards"].tobytes() + info["completion"].tobytes())
    env.close()
print(digest.hexdigest())
"""


@pytest.mark.parametrize("env_id", ["waker/CleanUp-v0", "waker/CarCleanUp-v0"])
def test_episodes_are_identical_across_processes(env_id: str) -> None:
    runs = [
        subprocess.run([sys.executable, "-c", EPISODE, env_id], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == hashlib.sha256().digest_size * 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_our_checker_is_content(family: Any, kind: str) -> None:
    check_parametric_env(lambda **kwargs: family(**{"obs": kind, "length": 20, **kwargs}))


@pytest.mark.parametrize("env_id", ["waker/CleanUp-v0", "waker/CarCleanUp-v0"])
@pytest.mark.parametrize("kind", KINDS)
# Vectors have no bounds that hold for every state, and gymnasium warns about that.
@pytest.mark.filterwarnings("error", "ignore:.*Box observation space m:UserWarning")
def test_gymnasium_is_content(env_id: str, kind: str) -> None:
    check_env(gym.make(env_id, obs=kind).unwrapped)


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_actions_and_thetas_are_refused(family: type[CleanUpEnv]) -> None:
    env = family(obs="proprio")
    with pytest.raises(waker_envs.ThetaError, match="shape"):
        start(env, [4, 2])
    for theta in ([4, 3, 2], [5, 2, 2], [0, 1, 0], [6, 0, 0], [1.5, 0, 0], [4, -1, 0]):
        with pytest.raises(waker_envs.ThetaError, match="outside the space"):
            start(env, theta)
    start(env, [4, 2, 2])
    for action in ([0.0], [0.0] * 3, 0.0, [[0.0, 0.0]], [np.nan, 0.0], [0.0, np.nan]):
        with pytest.raises(ValueError) as caught:
            env.step(action)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_actions_beyond_the_range_are_clipped(family: type[CleanUpEnv]) -> None:
    one, other = family(obs="proprio"), family(obs="proprio")
    start(one, [4, 2, 2])
    start(other, [4, 2, 2])
    for _ in range(5):
        np.testing.assert_array_equal(one.step([7.0, -3.0])[0], other.step([1.0, -1.0])[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"obs": "text"}, "'proprio' or 'proprio\\+scan', got 'text'"),
        ({"look": "pretty"}, "'fast' or 'paper', got 'pretty'"),
        ({"action_repeat": 0}, "action_repeat"),
        ({"length": 0}, "length"),
        ({"task": "tidy"}, "unknown task"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CleanUp(**arguments)
