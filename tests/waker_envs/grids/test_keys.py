"""GridKeys: play follows the rules, written down here a second time; its optimum is that of brute force over them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from waker_envs.checker import check_parametric_env
from waker_envs.grids.keys import GridKeys
from waker_envs.grids.keys_room import BLUE, FLOOR, GREEN, KEY, LOCKED, N_ACTIONS, OPEN, STEPS, WALL, make_layout

ENV = GridKeys()
FRESH = GridKeys(sizes=(3, 5, 6), n_layouts=None)
POINTS = [(env, theta) for env in (ENV, FRESH) for theta in env.theta_space.points.tolist()]

Seen = tuple[int, int, int, tuple[int, ...]]
"""Row, column, holding, cells: an observation."""


def seen(observation: dict[str, Any]) -> Seen:
    row, column = observation["agent"].tolist()
    return row, column, int(observation["holding"][0]), tuple(observation["cells"].tolist())


@cache
def by_the_rules(before: Seen, action: int, side: int) -> Seen:
    """What an action makes of an observation, in a frame of ``side`` cells."""
    row, column, holding, cells = before
    to_row, to_column = row + STEPS[action][0], column + STEPS[action][1]
    if not (0 <= to_row < side and 0 <= to_column < side):
        return before
    there = to_row * side + to_column
    kind, after = cells[there], list(cells)
    if kind == WALL or (kind == LOCKED and not holding):
        return before
    if kind == LOCKED:
        holding, after[there] = 0, OPEN
    if kind == KEY:
        holding, after[there] = 1, FLOOR
    return to_row, to_column, holding, tuple(after)


@pytest.mark.parametrize(("env", "theta"), POINTS)
def test_play_follows_the_rules(env: GridKeys, theta: list[float]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        for step in range(1, 4 * int(theta[0]) + 1):
            action = int(rng.integers(N_ACTIONS))
            expected = by_the_rules(seen(observation), action, env.frame)
            observation, _, terminated, truncated, info = env.step(action)
            assert seen(observation) == expected
            cell = expected[3][expected[0] * env.frame + expected[1]]
            assert info["task_rewards"].tolist() == [cell == GREEN, cell == BLUE]
            assert not terminated
            assert truncated == (step == 4 * int(theta[0]))


@pytest.mark.parametrize("theta", [[3, 0], [3, 1], [4, 1], [5, 2]], ids=str)
def test_the_optimum_is_that_of_brute_force(theta: list[float]) -> None:
    length = 4 * int(theta[0])
    tiles = dict(zip(ENV.tasks, (GREEN, BLUE), strict=True))

    @cache
    def best(state: Seen, task: str, left: int) -> int:
        if not left:
            return 0
        found = []
        for action in range(N_ACTIONS):
            after = by_the_rules(state, action, ENV.frame)
            earned = after[3][after[0] * ENV.frame + after[1]] == tiles[task]
            found.append(int(earned) + best(after, task, left - 1))
        return max(found)

    for seed in range(4):
        observation, _ = ENV.reset(seed=seed, options={"theta": theta})
        for task in ENV.tasks:
            assert ENV.optimal_return(theta, task, seed) == pytest.approx(best(seen(observation), task, length))


@pytest.mark.parametrize(("env", "theta"), POINTS)
def test_all_of_a_room_can_be_had(env: GridKeys, theta: list[float]) -> None:
    size, doors = (int(v) for v in theta)
    for seed in range(20):
        table = env.tabular(theta, seed)
        stages = {tuple(cells) for cells in table.states["cells"].tolist()}
        assert len(stages) == 2 * doors + 1
        last = min(stages, key=lambda cells: (cells.count(LOCKED), cells.count(KEY)))
        assert last.count(OPEN) == doors
        assert last.count(LOCKED) == last.count(KEY) == 0
        assert last.count(GREEN) == last.count(BLUE) == 1
        # Every cell that is no wall is stood on in some state, with the last door open.
        states = zip(table.states["agent"].tolist(), table.states["cells"].tolist(), strict=True)
        agents = {tuple(agent) for agent, cells in states if tuple(cells) == last}
        assert len(agents) == sum(cell != WALL for cell in last) == size * size - doors * (size - 1)


def test_an_episode_may_begin_at_any_stage() -> None:
    starts = [FRESH.tabular([5, 2], seed) for seed in range(200)]
    met = {(int(t.states["holding"][t.start, 0]), t.states["cells"][t.start].tolist().count(LOCKED)) for t in starts}
    assert met == {(0, 2), (1, 2), (0, 1), (1, 1), (0, 0)}


def test_walls_are_anywhere_that_leaves_a_column_beside_them() -> None:
    walls = {tuple(sorted(door % 7 for door in make_layout(7, 3, 7, 2, index).doors)) for index in range(200)}
    assert walls == {(1, 3), (1, 4), (1, 5), (2, 4), (2, 5), (3, 5)}


def test_layouts_grow_with_the_number_of_doors() -> None:
    for theta, count in (([5, 0], 1), ([5, 1], 2), ([5, 2], 6)):
        tables = [ENV.tabular(theta, seed) for seed in range(300)]
        assert len({tuple(table.states["cells"][0].tolist()) for table in tables}) == count


def test_an_oblong_room_has_two_rows_less() -> None:
    oblong = GridKeys(shape="oblong")
    cells = oblong.tabular([5, 0], 0).states["cells"][0].reshape(5, 5)
    assert (cells[:3] != WALL).all()
    assert (cells[3:] == WALL).all()


def test_it_keeps_what_it_promises() -> None:
    check_parametric_env(GridKeys)
    with pytest.raises(NotImplementedError):
        GridKeys(obs="pixels").tabular((4, 1), 0)


@pytest.mark.parametrize("arguments", [{"sizes": (2,)}, {"sizes": ()}, {"n_layouts": (1, 2)}, {"n_layouts": (1, 0, 2)}])
def test_arguments_outside_their_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sizes|n_layouts"):
        GridKeys(**arguments)
