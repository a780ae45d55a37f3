"""GridCleanUp's goals at other walls: the same episodes mirrored, with the same rewards and the same optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from waker_envs.grids.cleanup import BLUE, GREEN, GridCleanUp, arena_side
from waker_envs.grids.cleanup_goals import symmetry
from waker_envs.grids.cleanup_small import GridCleanUpSmall

FRAME = 7
UP, RIGHT, DOWN, LEFT = range(4)
OTHERWISE = {
    "swapped": {UP: UP, RIGHT: LEFT, DOWN: DOWN, LEFT: RIGHT},
    "ends": {UP: LEFT, RIGHT: DOWN, DOWN: RIGHT, LEFT: UP},
}


def mirrored(room: NDArray[np.int64], goals: str, side: int) -> NDArray[np.int64]:
    """A frame of cells mirrored by hand, row by row."""
    found = room.copy()
    for row in range(side):
        for column in range(side):
            there = (row, side - 1 - column) if goals == "swapped" else (column, row)
            found[there] = room[row, column]
    return found


def otherwise(action: int, goals: str) -> int:
    """The action that does the same in the mirrored room."""
    return 0 if action == 0 else 4 * ((action - 1) // 4) + 1 + OTHERWISE[goals][(action - 1) % 4]


def same(plain: dict[str, Any], shown: dict[str, Any], goals: str, side: int) -> bool:
    """Whether one is seen where the other is, mirrored."""
    agent = np.zeros((FRAME, FRAME), np.int64)
    agent[tuple(plain["agent"])] = 1
    frames = [plain[key].reshape(FRAME, FRAME) for key in ("blocks", "cells")]
    wanted = [mirrored(frame, goals, side) for frame in frames]
    seen = [shown[key].reshape(FRAME, FRAME) for key in ("blocks", "cells")]
    there = mirrored(agent, goals, side)[tuple(shown["agent"])] == 1
    return bool(there and all((a == b).all() for a, b in zip(wanted, seen, strict=True)))


@pytest.mark.parametrize("goals", OTHERWISE)
@pytest.mark.parametrize("side", range(3, 8))
def test_a_symmetry_undoes_itself_and_leaves_what_is_outside(goals: Any, side: int) -> None:
    cells, actions = symmetry(goals, side, FRAME)
    assert (cells[cells] == np.arange(FRAME**2)).all()
    assert (actions[actions] == np.arange(9)).all()
    outside = np.array([max(divmod(cell, FRAME)) >= side for cell in range(FRAME**2)])
    assert (outside[cells] == outside).all()


@pytest.mark.parametrize("goals", OTHERWISE)
@pytest.mark.parametrize("theta", [[0, 0, 0], [1, 1, 0], [3, 1, 2], [4, 2, 2], [5, 3, 2]])
def test_an_episode_is_the_training_room_s_mirrored(goals: Any, theta: list[int]) -> None:
    plain, shown, side, rng = GridCleanUp(), GridCleanUp(goals=goals), arena_side(theta[0]), np.random.default_rng(1)
    before, after = (env.reset(seed=3, options={"theta": theta})[0] for env in (plain, shown))
    moved = 0
    for _ in range(100):
        assert same(before, after, goals, side)
        action = int(rng.integers(9))
        now, _, _, _, wanted = plain.step(action)
        after, _, _, _, info = shown.step(otherwise(action, goals))
        np.testing.assert_array_equal(info["task_rewards"], wanted["task_rewards"])
        np.testing.assert_array_equal(info["completion"], wanted["completion"])
        moved += not np.array_equal(now["agent"], before["agent"])
        before = now
    assert moved > 20


def test_goals_lie_where_they_are_said_to() -> None:
    floors = {
        goals: GridCleanUp(goals=goals).reset(seed=0, options={"theta": [1, 1, 0]})[0]["cells"].reshape(FRAME, FRAME)
        for goals in ("sides", "swapped", "ends")
    }
    green, blue = 2, 3
    assert (floors["sides"][:4, 0] == green).all()
    assert (floors["sides"][:4, 3] == blue).all()
    assert (floors["swapped"][:4, 3] == green).all()
    assert (floors["swapped"][:4, 0] == blue).all()
    assert (floors["ends"][0, :4] == green).all()
    assert (floors["ends"][3, :4] == blue).all()


@pytest.mark.parametrize("goals", OTHERWISE)
@pytest.mark.parametrize("task", GridCleanUp.tasks)
def test_the_optimum_is_the_training_room_s_and_its_plan_earns_it(goals: Any, task: str) -> None:
    env, plain = GridCleanUp(task=task, goals=goals), GridCleanUp()
    for seed, theta in enumerate([[4, 2, 2], [2, 1, 1]]):
        best = env.optimal_return(theta, task, seed)
        assert best == plain.optimal_return(theta, task, seed)
        env.reset(seed=seed, options={"theta": theta})
        earned = sum(float(env.step(int(action))[1]) for action in env.optimal_actions(theta, task, seed))
        assert earned == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("goals", OTHERWISE)
def test_predictions_are_what_is_then_seen(goals: Any) -> None:
    env, rng = GridCleanUp(goals=goals), np.random.default_rng(0)
    for seed, theta in enumerate(env.theta_space.hard):
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        actions = rng.integers(9, size=40)
        rows = env.predict(theta, seed, observation, actions)
        for k, action in enumerate(actions):
            observation, *_ = env.step(int(action))
            assert rows["agent"][k][tuple(observation["agent"])] == 1
            for key in ("blocks", "cells"):
                np.testing.assert_array_equal(rows[key][k].argmax(1), observation[key])


@pytest.mark.parametrize("family", [GridCleanUp, GridCleanUpSmall])
def test_suites_have_all_theta_and_make_these_rooms(family: type[GridCleanUp]) -> None:
    space = family.theta_space
    for goals in OTHERWISE:
        suite = space.suites[goals]
        np.testing.assert_array_equal(suite.thetas, space.points)
        assert family(**suite.env_kwargs).goals == goals


def test_pictures_show_the_goals_at_their_walls() -> None:
    plain, ends = (
        GridCleanUp(obs="pixels", goals=goals).reset(seed=0, options={"theta": [4, 0, 0]})[0]
        for goals in ("sides", "ends")
    )
    assert (plain != ends).any()


def test_other_walls_are_refused() -> None:
    with pytest.raises(ValueError, match="goals must be 'sides', 'swapped' or 'ends', got 'middle'"):
        GridCleanUp(goals="middle")  # type: ignore[arg-type]


def test_colours_are_not_exchanged() -> None:
    """Blocks keep their colours; the goals of these colours have moved."""
    plain, swapped = (
        GridCleanUp(goals=goals).reset(seed=5, options={"theta": [4, 3, 1]})[0]["blocks"]
        for goals in ("sides", "swapped")
    )
    for colour, number in ((GREEN, 3), (BLUE, 1)):
        assert (plain == colour).sum() == (swapped == colour).sum() == number
