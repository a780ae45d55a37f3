"""The MiniGrid adapter: it shows the whole grid, changes nothing of the game, and takes θ to the constructor."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.utils import seeding
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.envs import CrossingEnv, DoorKeyEnv, EmptyEnv, MultiRoomEnv
from minigrid.minigrid_env import MiniGridEnv

from waker_envs import FiniteThetaSpace, Parameter
from waker_envs.checker import check_parametric_env
from waker_envs.grids.adapter import MiniGridFamily, minigrid_family
from waker_envs.grids.minigrids import DoorKey, LavaCrossing, MultiRoom

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE = range(6)

Empty = minigrid_family(
    "Empty",
    EmptyEnv,
    FiniteThetaSpace([Parameter("size", "side", "cells")], [[5.0], [6.0], [8.0]]),
    lambda theta: {"size": int(theta[0])},
    tasks={
        "right": lambda env, reward: float(env.agent_pos[0]),
        "own": lambda env, reward: reward,
    },
)

CASES: list[tuple[type[MiniGridFamily], type[MiniGridEnv], list[float], dict[str, Any]]] = [
    (Empty, EmptyEnv, [6], {"size": 6}),
    (
        MultiRoom,
        MultiRoomEnv,
        [3, 5],
        {"minNumRooms": 3, "maxNumRooms": 3, "maxRoomSize": 5, "width": 15, "height": 15},
    ),
    (LavaCrossing, CrossingEnv, [7, 2], {"size": 7, "num_crossings": 2}),
    (DoorKey, DoorKeyEnv, [6], {"size": 6}),
]


@pytest.mark.parametrize(("family", "original", "theta", "arguments"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_the_game_is_the_original_s(
    family: type[MiniGridFamily], original: type[MiniGridEnv], theta: list[float], arguments: dict[str, Any]
) -> None:
    for seed in range(8):
        env, other = family(), original(**arguments)
        other.np_random, _ = seeding.np_random(seed)
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        other.reset()
        env.action_space.seed(seed)
        ended = False
        while not ended:
            grid = other.grid.encode().swapaxes(0, 1)  # rows, columns, (type, colour, state)
            shown = np.stack([observation[k] for k in ("types", "colours", "states")], -1)
            shown = shown.reshape(env.rows, env.columns, 3)
            np.testing.assert_array_equal(shown[: other.height, : other.width], grid)
            assert (shown[other.height :, :, 0] == OBJECT_TO_IDX["wall"]).all()
            assert (shown[:, other.width :, 0] == OBJECT_TO_IDX["wall"]).all()
            column, row = other.agent_pos
            assert observation["agent"].tolist() == [row, column, other.agent_dir]
            action = int(env.action_space.sample())
            observation, _, terminated, truncated, info = env.step(action)
            _, reward, *ends, _ = other.step(action)
            assert [terminated, truncated] == ends
            own = env.tasks.index("own" if "own" in env.tasks else "goal")
            assert info["task_rewards"][own] == np.float32(reward)
            ended = terminated or truncated


def test_a_family_made_in_a_few_lines_keeps_every_promise() -> None:
    check_parametric_env(Empty)


def test_task_functions_see_the_environment() -> None:
    env = Empty(task="right")
    env.reset(seed=0, options={"theta": [6]})
    assert [env.step(FORWARD)[1] for _ in range(4)] == [2, 3, 4, 4]


def test_observations_are_as_large_as_the_largest_theta() -> None:
    env = Empty()
    assert (env.rows, env.columns) == (8, 8)
    assert env.observation_space["types"].shape == (64,)
    crossing = LavaCrossing()
    assert (crossing.rows, crossing.columns) == (9, 9)


def test_lava_ends_an_episode_and_the_goal_pays() -> None:
    env = LavaCrossing(task="goal")
    outcomes = set()
    for seed in range(150):
        env.reset(seed=seed, options={"theta": [5, 1]})
        env.action_space.seed(seed)
        terminated = truncated = False
        while not (terminated or truncated):
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample() % 3)
        under = observation["types"].reshape(9, 9)[tuple(observation["agent"][:2])]
        assert terminated == (under in (OBJECT_TO_IDX["lava"], OBJECT_TO_IDX["goal"]))
        assert (reward > 0) == (under == OBJECT_TO_IDX["goal"])
        outcomes.add(int(under))
    assert {OBJECT_TO_IDX["lava"], OBJECT_TO_IDX["goal"]} <= outcomes


def test_theta_sets_rivers_and_rooms() -> None:
    crossing, rooms = LavaCrossing(), MultiRoom()
    for count in (1, 2, 3):
        observation, _ = crossing.reset(seed=1, options={"theta": [9, count]})
        lava = (observation["types"] == OBJECT_TO_IDX["lava"]).sum()
        assert 6 * count - 2 <= lava <= 6 * count
    for count in (1, 2, 3, 4, 5):
        observation, _ = rooms.reset(seed=1, options={"theta": [count, 4]})
        assert (observation["types"] == OBJECT_TO_IDX["door"]).sum() == count - 1


def test_the_key_can_be_held_and_is_seen() -> None:
    env = DoorKey(task="key")
    held = 0
    for seed in range(40):
        env.reset(seed=seed, options={"theta": [5]})
        env.action_space.seed(seed)
        truncated = terminated = False
        while not (truncated or terminated):
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            carries = observation["carrying"][0] == OBJECT_TO_IDX["key"]
            assert reward == float(carries)
            assert carries == (OBJECT_TO_IDX["key"] not in observation["types"])
            held += carries
    assert held > 0


@pytest.mark.parametrize("family", [MultiRoom, LavaCrossing, DoorKey])
def test_classes_are_found_by_their_name(family: type[MiniGridFamily]) -> None:
    assert pickle.loads(pickle.dumps(family)) is family


def test_a_wrong_kind_of_observation_is_refused() -> None:
    with pytest.raises(ValueError, match="'symbolic' or 'pixels'"):
        Empty(obs="view")  # type: ignore[arg-type]
