"""GridCleanUpSmall: its table is what play shows, its optimum the other solver's, its θ GridCleanUp's small ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker_envs.grids.cleanup import ELSEWHERE, GridCleanUp
from waker_envs.grids.cleanup_small import GridCleanUpSmall
from waker_envs.tabular import optimal_policy

ENV = GridCleanUpSmall()
SOME = ((0, 0, 0), (1, 0, 1), (2, 1, 1))
SUITES = (suite for name, suite in ENV.theta_space.suites.items() if name not in ELSEWHERE)
EVERY = [*ENV.theta_space.points.tolist(), *(theta.tolist() for suite in SUITES for theta in suite.thetas)]
PLAYED = [(theta, "sides") for theta in EVERY] + [([a, g, b], goals) for goals in ELSEWHERE for a, g, b in SOME]


@pytest.mark.parametrize("theta", EVERY, ids=str)
def test_the_table_s_optimum_is_that_of_the_search(theta: list[float]) -> None:
    table = ENV.tabular(theta, 0)
    _, best = optimal_policy(table.move, table.reward, table.length)
    for seed in range(5):
        start = ENV.tabular(theta, seed).start
        for task, value in zip(ENV.tasks, best[:, start], strict=True):
            assert value == pytest.approx(ENV.optimal_return(theta, task, seed), abs=1e-9)


@pytest.mark.parametrize("theta, goals", PLAYED, ids=str)
def test_the_table_is_what_play_shows(theta: list[float], goals: Any) -> None:
    rng, env = np.random.default_rng(0), GridCleanUpSmall(goals=goals)
    for seed in range(3):
        table = env.tabular(theta, seed)
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        state = table.start
        for _ in range(table.length):
            assert all((table.states[key][state] == value).all() for key, value in observation.items())
            action = int(rng.integers(9))
            observation, _, _, _, info = env.step(action)
            np.testing.assert_allclose(info["task_rewards"], table.reward[:, action, state], atol=1e-6)
            state = int(table.move.after[action, state, 0])


def test_states_are_all_there_are() -> None:
    sizes = {
        (1, 1, 0): 16 * 15,
        (2, 1, 1): 25 * 24 * 23,
        (2, 0, 2): 25 * 24 * 23 // 2,
        (1, 3, 0): 16 * 15 * 14 * 13 // 6,
    }
    for theta, size in sizes.items():
        assert ENV.tabular(theta, 0).size == size


def test_its_distribution_is_that_of_the_small_rooms() -> None:
    whole, small = GridCleanUp.theta_space, ENV.theta_space
    of_whole = {tuple(p): w for p, w in zip(whole.points.tolist(), whole.weights, strict=True) if p[0] < 3}
    assert {tuple(p) for p in small.points.tolist()} == set(of_whole)
    for theta, weight in zip(small.points.tolist(), small.weights, strict=True):
        assert weight == pytest.approx(of_whole[tuple(theta)] / sum(of_whole.values()))


def test_pictures_have_no_table() -> None:
    with pytest.raises(NotImplementedError):
        GridCleanUpSmall(obs="pixels").tabular((1, 1, 0), 0)
