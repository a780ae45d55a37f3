"""GridCleanUp: θ's distribution, the reward's form, completion, and that hard episodes can be finished in time."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from waker_envs.grids.cleanup import BLUE, GREEN, GridCleanUp, arena_side
from waker_envs.grids.pushing import N_ACTIONS, move

FRAME = 7


def start(env: GridCleanUp, theta: Any, seed: int = 0) -> dict[str, Any]:
    observation: dict[str, Any] = env.reset(seed=seed, options={"theta": theta})[0]
    return observation


def test_the_dr_distribution_is_the_generative_process() -> None:
    space = GridCleanUp.theta_space
    expected: dict[tuple[int, int, int], Fraction] = {}
    for arena in range(5):
        for total in range(arena + 1):
            for green in range(total + 1):
                expected[arena, green, total - green] = Fraction(1, 5) / (arena + 1) / (total + 1)
    assert sum(expected.values()) == 1
    assert space.size == len(expected) == 35
    for theta, weight in expected.items():
        assert space.weights[space.index(theta)] == pytest.approx(float(weight), abs=1e-15)


def test_hard_sets_and_suite_are_the_paper_s() -> None:
    space = GridCleanUp.theta_space
    assert space.hardest is not None
    assert space.hardest.tolist() == [4, 2, 2]
    assert space.hard.tolist() == [[4, 0, 4], [4, 1, 3], [4, 2, 2], [4, 3, 1], [4, 4, 0]]
    assert space.suites["5-blocks"].thetas.tolist() == [[5, g, 5 - g] for g in range(6)]


def test_a_room_starts_with_its_blocks_and_the_agent_between_the_goals() -> None:
    env = GridCleanUp()
    for theta in [*env.theta_space.points, *env.theta_space.suites["5-blocks"].thetas]:
        side = arena_side(int(theta[0]))
        for seed in range(3):
            observation = start(env, theta, seed)
            blocks = observation["blocks"].reshape(FRAME, FRAME)
            floor = observation["cells"].reshape(FRAME, FRAME)
            assert ((blocks == GREEN).sum(), (blocks == BLUE).sum()) == (theta[1], theta[2])
            assert (floor[blocks > 0] == 0).all()
            assert floor[tuple(observation["agent"])] == 0
            assert blocks[tuple(observation["agent"])] == 0
            assert (floor[:side, 0] == 2).all()
            assert (floor[:side, side - 1] == 3).all()
            assert (floor == 1).sum() == FRAME**2 - side**2


def distance(observation: dict[str, Any], side: int, green_goal: int, blue_goal: int) -> tuple[int, float]:
    """Σ|column − goal column| and the fraction of blocks in their goal, from the observation alone."""
    blocks = observation["blocks"].reshape(FRAME, FRAME)
    gaps = [
        abs(int(column) - goal)
        for colour, goal in ((GREEN, green_goal), (BLUE, blue_goal))
        for column in np.argwhere(blocks == colour)[:, 1]
    ]
    return sum(gaps), sum(g == 0 for g in gaps) / len(gaps) if gaps else 1.0


@pytest.mark.parametrize("theta", [[1, 1, 0], [2, 1, 1], [4, 2, 2], [5, 3, 2], [3, 0, 0]])
def test_rewards_follow_the_formula_at_every_step(theta: list[int]) -> None:
    env = GridCleanUp()
    far = arena_side(theta[0]) - 1
    goals = {"sort": (0, far), "sort-reversed": (far, 0), "push": (far, far)}
    before = start(env, theta)
    env.action_space.seed(0)
    total = np.zeros(3)
    first = [distance(before, far + 1, *goals[task])[0] for task in env.tasks]
    inside = np.zeros(3)
    for step in range(1, 101):
        after, _, terminated, truncated, info = env.step(env.action_space.sample())
        for k, task in enumerate(env.tasks):
            was, _ = distance(before, far + 1, *goals[task])
            now, fraction = distance(after, far + 1, *goals[task])
            assert info["task_rewards"][k] == pytest.approx(4 * (was - now) + 0.5 * fraction)
            assert info["completion"][k] == pytest.approx(fraction)
            inside[k] += 0.5 * fraction
        total += info["task_rewards"]
        before = after
        assert not terminated
        assert truncated == (step == 100)
    last = [distance(before, far + 1, *goals[task])[0] for task in env.tasks]
    np.testing.assert_allclose(total - inside, 4.0 * np.subtract(first, last), atol=1e-3)  # the distance telescopes


def test_without_blocks_everything_is_done() -> None:
    env = GridCleanUp(task="push")
    start(env, [2, 0, 0])
    _, reward, *_, info = env.step(3)
    assert reward == 0.5
    assert info["completion"].tolist() == [1, 1, 1]


def to_column(side: int, agent: int, blocks: list[int], cell: int, column: int) -> list[int] | None:
    """The shortest way to bring one block to a column, the others staying where they are; None if there is none."""
    colour = blocks[cell]
    others = [0 if c == cell else b for c, b in enumerate(blocks)]
    parents: dict[tuple[int, int], tuple[tuple[int, int], int] | None] = {(agent, cell): None}
    queue = deque([(agent, cell)])
    while queue:
        state = queue.popleft()
        if state[1] % FRAME == column:
            way = []
            while (parent := parents[state]) is not None:
                state, action = parent
                way.append(action)
            return way[::-1]
        placed = list(others)
        placed[state[1]] = colour
        for action in range(1, N_ACTIONS):
            moved = list(placed)
            there = move(FRAME, side, state[0], moved, action)
            changed = [c for c in range(FRAME**2) if moved[c] != placed[c]]
            if any(others[c] or (moved[c] and others[c]) for c in changed):
                continue
            now = next((c for c in changed if moved[c]), state[1])
            if (there, now) not in parents:
                parents[there, now] = (state, action)
                queue.append((there, now))
    return None


def plan(observation: dict[str, Any], side: int, goal: dict[int, int]) -> list[int] | None:
    """Actions that bring every block to its goal column, one block after the other."""
    row, column = observation["agent"].tolist()
    cells = np.flatnonzero(observation["blocks"]).tolist()
    for order in permutations(cells):
        agent, blocks, actions = row * FRAME + column, observation["blocks"].tolist(), []
        for cell in order:
            way = to_column(side, agent, blocks, cell, goal[blocks[cell]])
            if way is None:
                break
            for action in way:
                agent = move(FRAME, side, agent, blocks, action)
            actions += way
        else:
            return actions
    return None


@pytest.mark.parametrize("theta", [[3, 2, 1], [4, 2, 2], [4, 4, 0], [5, 3, 2], [5, 0, 5]])
@pytest.mark.parametrize("task", GridCleanUp.tasks)
def test_hard_episodes_can_be_finished_in_time(theta: list[int], task: str) -> None:
    env = GridCleanUp(task=task)
    side = arena_side(theta[0])
    far = side - 1
    goal = {"sort": {1: 0, 2: far}, "sort-reversed": {1: far, 2: 0}, "push": {1: far, 2: far}}[task]
    for seed in range(2):
        observation = start(env, theta, seed)
        actions = plan(observation, side, goal)
        assert actions is not None
        assert len(actions) < env.length
        for action in actions:
            *_, info = env.step(action)
        assert info["completion"][env.tasks.index(task)] == 1


def test_predictions_are_all_that_is_then_seen() -> None:
    """Against the environment itself: agent, blocks and cells after every action, also in mid-episode."""
    env, moved = GridCleanUp(), 0
    for seed, theta in enumerate([*env.theta_space.hard, *env.theta_space.suites["5-blocks"].thetas]):
        observation = start(env, theta, seed)
        env.action_space.seed(seed)
        for _ in range(seed):
            observation, *_ = env.step(env.action_space.sample())
        actions = [int(env.action_space.sample()) for _ in range(40)]
        before = observation["blocks"].tolist()
        rows = env.predict(theta, seed, observation, actions)
        assert set(rows) == set(observation)
        assert [rows[key].shape for key in ("agent", "blocks", "cells")] == [(40, 7, 7), (40, 49, 3), (40, 49, 4)]
        np.testing.assert_array_equal(rows["agent"].sum((1, 2)), 1)
        for key in ("blocks", "cells"):
            np.testing.assert_array_equal(rows[key].sum(2), 1)
        for k, action in enumerate(actions):
            observation, *_ = env.step(action)
            assert rows["agent"][k][tuple(observation["agent"])] == 1
            for key in ("blocks", "cells"):
                np.testing.assert_array_equal(rows[key][k].argmax(1), observation[key])
        moved += observation["blocks"].tolist() != before
    assert moved >= 5


def test_pictures_show_blocks_and_agent() -> None:
    env = GridCleanUp(obs="pixels")
    one, two = start(env, [4, 1, 0], seed=1), start(env, [4, 0, 1], seed=1)
    assert (np.asarray(one) != np.asarray(two)).any()
    assert env.predict([4, 1, 0], 1, one, [1]) == {}


def test_bad_arguments_and_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        GridCleanUp(length=0)
    env = GridCleanUp()
    start(env, [1, 1, 0])
    with pytest.raises(ValueError, match="action must be a whole number from 0"):
        env.step(9)


def test_the_length_of_an_episode_can_be_chosen() -> None:
    env = GridCleanUp(length=3)
    start(env, [1, 1, 0])
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]
