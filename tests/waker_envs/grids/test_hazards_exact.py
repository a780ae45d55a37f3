"""The exact solutions of GridHazards against enumeration and against play.

The references here know the rules from the documentation and the room from the observation; they share no code
with the dynamic programme.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.hazards_exact import cell_values
from waker_envs.grids.layouts import TILES, make_layout

STEPS = ((0, 0), (-1, 0), (0, 1), (1, 0), (0, -1))
Room = tuple[tuple[str, ...], ...]
Cell = tuple[int, int]


def look(env: GridHazards, theta: Any, seed: int) -> tuple[Room, Cell]:
    observation, _ = env.reset(seed=seed, options={"theta": theta})
    room = np.array(env.cell_names)[observation["cells"]].reshape(env.frame, env.frame)
    row, column = observation["agent"].tolist()
    return tuple(map(tuple, room.tolist())), (row, column)


def outcomes(room: Room, cell: Cell, action: int, slip: float) -> list[tuple[float, Cell]]:
    """Every outcome of one step with its probability."""

    def go(a: int) -> Cell:
        row, column = cell[0] + STEPS[a][0], cell[1] + STEPS[a][1]
        inside = 0 <= row < len(room) and 0 <= column < len(room)
        return (row, column) if inside and room[row][column] != "wall" else cell

    return [(1 - slip, go(action)), *((slip / 5, go(a)) for a in range(5))]


def enumerated(room: Room, cell: Cell, task: str, slip: float, left: int) -> float:
    """The best expected return by trying every action and every outcome, without remembering anything."""
    if left == 0 or room[cell[0]][cell[1]] == "hazard":
        return 0.0
    values = []
    for action in range(5):
        value = 0.0
        for p, there in outcomes(room, cell, action, slip):
            value += (
                p * ((room[there[0]][there[1]] == task) + enumerated(room, there, task, slip, left - 1)) if p else 0
            )
        values.append(value)
    return max(values)


@pytest.mark.parametrize("slip", [0.0, 0.1])
@pytest.mark.parametrize("task", GridHazards.tasks)
@pytest.mark.parametrize("index", [0, 1])
def test_dynamic_programming_equals_brute_force(slip: float, task: str, index: int) -> None:
    layout = make_layout(3, 3, 3, 2, index)
    kinds = {0: "floor", 1: "wall", 2: "hazard", **dict(zip(TILES, GridHazards.tasks, strict=True))}
    room: Room = tuple(tuple(kinds[int(kind)] for kind in row) for row in layout.kinds.reshape(3, 3))
    q = cell_values(3, 3, 3, 2, index, slip, GridHazards.tasks.index(task), 3)
    for cell in layout.starts:
        assert q[0, :, cell].max() == pytest.approx(enumerated(room, divmod(cell, 3), task, slip, 3), abs=1e-12)


@pytest.mark.parametrize("theta", [[3, 0.2, 0.1], [4, 0.1, 0], [5, 0.2, 0.1], [5, 0.3, 0.1]])
def test_optimal_return_is_that_of_the_whole_episode(theta: list[float]) -> None:
    env = GridHazards()
    for seed in range(4):
        room, cell = look(env, theta, seed)
        for task in env.tasks:

            @cache
            def value(here: Cell, left: int, room: Room = room, task: str = task) -> float:
                if left == 0 or room[here[0]][here[1]] == "hazard":
                    return 0.0
                return max(
                    sum(
                        p * ((room[there[0]][there[1]] == task) + value(there, left - 1))
                        for p, there in outcomes(room, here, action, theta[2])
                    )
                    for action in range(5)
                )

            assert env.optimal_return(theta, task, seed) == pytest.approx(value(cell, 4 * int(theta[0])), abs=1e-10)


def test_without_slip_or_hazards_the_optimum_is_the_walk_and_the_wait() -> None:
    env = GridHazards()
    for seed in range(20):
        room, cell = look(env, [5, 0, 0], seed)
        for task in env.tasks:
            row, column = next((r, c) for r in range(5) for c in range(5) if room[r][c] == task)
            way = abs(row - cell[0]) + abs(column - cell[1])
            assert env.optimal_return([5, 0, 0], task, seed) == 20 - way + 1


Policy = Callable[[int, int], int]
"""(steps made, cell) → action."""


def played(env: GridHazards, theta: Any, task: str, seed: int, policy: Policy) -> float:
    observation, _ = env.reset(seed=seed, options={"theta": theta})
    total, t, ended = 0.0, 0, False
    while not ended:
        row, column = observation["agent"]
        observation, _, terminated, truncated, info = env.step(policy(t, int(row * env.frame + column)))
        total += float(info["task_rewards"][env.tasks.index(task)])
        t, ended = t + 1, terminated or truncated
    return total


def surplus(theta: Any, task: str, make: Callable[[GridHazards, int], Policy], n: int = 1200) -> tuple[float, float]:
    """Mean return above the exact optimum over n episodes, and the 99 % half-width of its confidence interval."""
    env = GridHazards()
    above = [played(env, theta, task, s, make(env, s)) - env.optimal_return(theta, task, s) for s in range(n)]
    return float(np.mean(above)), float(2.576 * np.std(above, ddof=1) / np.sqrt(n))


def table(actions: np.ndarray) -> Policy:
    return lambda t, cell: int(actions[t, cell])


@pytest.mark.parametrize(("theta", "task"), [([5, 0.2, 0.1], "green"), ([4, 0.1, 0.1], "red"), ([3, 0.2, 0.1], "blue")])
def test_the_optimal_policy_earns_the_optimal_return(theta: list[float], task: str) -> None:
    mean, half = surplus(theta, task, lambda env, seed: table(env.optimal_policy(theta, task, seed)))
    assert abs(mean) < half
    assert half < 0.4


def test_without_slip_the_optimal_policy_earns_it_in_every_episode() -> None:
    mean, half = surplus([5, 0.2, 0], "red", lambda env, s: table(env.optimal_policy([5, 0.2, 0], "red", s)), n=100)
    assert mean == half == 0


def _random(env: GridHazards, seed: int) -> Policy:
    rng = np.random.default_rng(seed)
    return lambda t, cell: int(rng.integers(5))


def _greedy(env: GridHazards, seed: int) -> Policy:
    """The best policy of the same room without slip: the shortest way, however near to hazards."""
    return table(env.optimal_policy([5, 0.2, 0], "green", seed))


def _other_task(env: GridHazards, seed: int) -> Policy:
    return table(env.optimal_policy([5, 0.2, 0.1], "blue", seed))


def _hesitant(env: GridHazards, seed: int) -> Policy:
    """Optimal for a later time: it believes that five steps are already gone."""
    actions = env.optimal_policy([5, 0.2, 0.1], "green", seed)
    return lambda t, cell: int(actions[min(t + 5, len(actions) - 1), cell])


@pytest.mark.parametrize("rival", [_random, _greedy, _other_task, _hesitant])
def test_no_rival_beats_the_optimum(rival: Callable[[GridHazards, int], Policy]) -> None:
    mean, half = surplus([5, 0.2, 0.1], "green", rival, n=500)
    assert mean < half


def test_no_random_table_of_actions_beats_the_optimum_exactly() -> None:
    # Exact evaluation of 2,000 random deterministic policies and of mixtures with the optimal one.
    rng = np.random.default_rng(0)
    q = cell_values(4, 4, 4, 2, 0, 0.1, 0, 16)
    layout = make_layout(4, 4, 4, 2, 0)
    moves, alive = np.asarray(layout.moves), layout.kinds != 2
    best = q.argmax(1)
    for _ in range(2000):
        keep = rng.random(best.shape) < rng.random()
        policy = np.where(keep, best, rng.integers(5, size=best.shape))
        value = np.zeros(16)
        for t in reversed(range(16)):
            after = ((layout.kinds == TILES[0]) + alive * value)[moves]
            value = 0.9 * after[policy[t], np.arange(16)] + 0.1 * after.mean(0)
        assert (value <= q[0].max(0) + 1e-12)[alive].all()


def test_predictions_of_one_step_equal_enumeration() -> None:
    env = GridHazards()
    for theta in env.theta_space.points:
        room, cell = look(env, theta, 3)
        observation = {"agent": np.array(cell)}
        for action in range(5):
            expected = np.zeros((5, 5))
            for p, there in outcomes(room, cell, action, theta[2]):
                expected[there] += p
            np.testing.assert_allclose(env.predict(theta, 3, observation, [action])["agent"][0], expected, atol=1e-12)


def test_predictions_of_several_steps_equal_the_frequencies_of_play() -> None:
    env, theta = GridHazards(), [5, 0.2, 0.1]
    actions = [1, 2, 2, 3, 4, 0]
    surprise, variance = np.zeros((6, 5, 5)), np.zeros((6, 5, 5))
    for seed in range(1500):
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        predicted = env.predict(theta, seed, observation, actions)
        assert set(predicted) == set(observation)
        assert (predicted["cells"].argmax(2) == observation["cells"]).all()
        assert (predicted["cells"].max(2) == 1).all()
        p = predicted["agent"]
        np.testing.assert_allclose(p.sum((1, 2)), 1)
        ended = False
        for k, action in enumerate(actions):
            if not ended:
                observation, _, ended, _, _ = env.step(action)
            surprise[k][tuple(observation["agent"])] += 1
            surprise[k] -= p[k]
            variance[k] += p[k] * (1 - p[k])
    seen = variance > 5
    z = surprise[seen] / np.sqrt(variance[seen])
    assert seen.sum() > 80
    assert abs(z).max() < 4.5  # of about 100 nearly normal numbers
    assert 0.7 < np.mean(z**2) < 1.3
    np.testing.assert_allclose(surprise[~seen], 0, atol=10)


def test_an_ended_episode_stays_where_it_ended() -> None:
    env, theta = GridHazards(), [5, 0.2, 0.1]
    room, _ = look(env, theta, 0)
    hazard = next((r, c) for r in range(5) for c in range(5) if room[r][c] == "hazard")
    rows = env.predict(theta, 0, {"agent": np.array(hazard)}, [1, 2, 3])["agent"]
    assert (rows[:, hazard[0], hazard[1]] == 1).all()


def test_pictures_have_no_categorical_key_to_predict() -> None:
    env = GridHazards(obs="pixels")
    observation, _ = env.reset(seed=0, options={"theta": [3, 0, 0]})
    assert env.predict([3, 0, 0], 0, observation, [1]) == {}


def test_fresh_layouts_have_exact_optima_too() -> None:
    env = GridHazards(n_layouts=None)
    for seed in range(30):
        policy = table(env.optimal_policy([5, 0.2, 0], "blue", seed))
        assert played(env, [5, 0.2, 0], "blue", seed, policy) == env.optimal_return([5, 0.2, 0], "blue", seed)
