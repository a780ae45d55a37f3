"""Edits of GridHazards' rooms: what they change, and that the task's rewards stay, by the rooms' own classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker_envs.api import UnknownTaskError
from waker_envs.grids.hazards import GridHazards

EDITS = {"slip recoloured", "other tiles swapped", "hazard moved", "room shifted"}


def episode(env: GridHazards, theta: list[float], seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, bool]:
    """States (T + 1, …), rewards (T, 3), and whether a hazard ended it."""
    observation, _ = env.reset(seed=seed, options={"theta": theta})
    env.action_space.seed(seed)
    states, rewards, over, terminated = [observation], [], False, False
    while not over:
        observation, _, terminated, truncated, info = env.step(env.action_space.sample())
        states.append(observation)
        rewards.append(info["task_rewards"])
        over = terminated or truncated
    return {name: np.stack([s[name] for s in states]) for name in states[0]}, np.array(rewards), terminated


def under(env: GridHazards, states: dict[str, Any]) -> np.ndarray:
    """The class of the cell under the agent, (T,)."""
    return np.take_along_axis(states["cells"], (states["agent"] @ [env.frame, 1])[:, None], 1)[:, 0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("task", GridHazards.tasks)
def test_rewards_and_ends_stay_as_they_are(task: str, seed: int) -> None:
    env = GridHazards()
    met = set()
    k = env.tasks.index(task)
    for theta in env.theta_space.points:
        states, rewards, ended = episode(env, list(theta), seed)
        tile, hazard = len(env.slips) + 2 + k, len(env.slips) + 1
        for name, edited in env.neutral_edits(task, states).items():
            met.add(name)
            here = under(env, edited)
            np.testing.assert_array_equal((here == tile)[1:], rewards[:, k])
            assert (here[-1] == hazard) == ended and not (here[:-1] == hazard).any()
            assert (here != len(env.slips)).all()  # nobody stands in a wall
            assert any(not np.array_equal(edited[key], states[key]) for key in states)
            assert all(
                env.observation_space.contains({key: edited[key][t] for key in edited}) for t in range(len(here))
            )
            # One room, with as many tiles and hazards.
            assert (edited["cells"] == edited["cells"][0]).all()
            counts = [np.bincount(s["cells"][0], minlength=env.n_classes)[hazard:] for s in (states, edited)]
            np.testing.assert_array_equal(*counts)
    assert met == EDITS


def test_each_edit_by_hand() -> None:
    env = GridHazards(sizes=(3, 4))
    # classes: 0, 1 floors, 2 wall, 3 hazard, 4 green, 5 blue, 6 red; a room of 3 in a frame of 4
    room = np.array([[0, 3, 4, 2], [0, 0, 5, 2], [3, 6, 0, 2], [2, 2, 2, 2]])
    states = {"agent": np.array([[0, 0], [0, 1]]), "cells": np.stack([room.ravel()] * 2)}
    found = {
        name: edited["cells"][1].reshape(4, 4).tolist() for name, edited in env.neutral_edits("blue", states).items()
    }
    assert found["slip recoloured"] == [[1, 3, 4, 2], [1, 1, 5, 2], [3, 6, 1, 2], [2, 2, 2, 2]]
    assert found["other tiles swapped"] == [[0, 3, 6, 2], [0, 0, 5, 2], [3, 4, 0, 2], [2, 2, 2, 2]]
    # The hazard in the first row is stood on, so it is the other one that moves; not to the corner, where somebody was.
    assert found["hazard moved"] == [[0, 3, 4, 2], [3, 0, 5, 2], [0, 6, 0, 2], [2, 2, 2, 2]]
    assert found["room shifted"] == [[2, 2, 2, 2], [2, 0, 3, 4], [2, 0, 0, 5], [2, 3, 6, 0]]
    assert env.neutral_edits("blue", states)["room shifted"]["agent"].tolist() == [[1, 1], [1, 2]]
    assert states["cells"][0].tolist() == room.ravel().tolist()


def test_what_does_not_apply_is_left_out() -> None:
    env = GridHazards(sizes=(3,), slips=(0.1,), densities=(0.0,))
    states, _, _ = episode(env, [3.0, 0.0, 0.1], 0)
    assert set(env.neutral_edits("green", states)) == {"other tiles swapped"}


def test_pictures_and_unknown_tasks_are_refused() -> None:
    with pytest.raises(NotImplementedError):
        GridHazards(obs="pixels").neutral_edits("green", {})
    with pytest.raises(UnknownTaskError):
        GridHazards().neutral_edits("pink", {})
