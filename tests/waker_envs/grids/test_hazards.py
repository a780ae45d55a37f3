"""GridHazards: its episodes, dice, pictures and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker_envs import ThetaError, UnknownTaskError
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import DOWN, LEFT, RIGHT, STAY, UP


def start(env: GridHazards, theta: Any, seed: int = 0) -> dict[str, Any]:
    observation: dict[str, Any] = env.reset(seed=seed, options={"theta": theta})[0]
    return observation


def names(env: GridHazards, observation: dict[str, Any]) -> np.ndarray:
    """The room as an n × n array of names."""
    return np.array(env.cell_names)[observation["cells"]].reshape(env.frame, env.frame)


def test_there_are_18_theta_drawn_uniformly() -> None:
    space = GridHazards().theta_space
    assert space.size == 18
    np.testing.assert_allclose(space.weights, 1 / 18)
    assert space.hardest is not None
    assert space.hardest.tolist() == [5, 0.2, 0.1]
    assert space.hard.tolist() == [[5, 0.1, 0.1], [5, 0.2, 0], [5, 0.2, 0.1]]


def test_noisy_are_the_theta_of_the_largest_slip_where_there_is_a_smaller_one() -> None:
    space = GridHazards(slips=(0.0, 0.1, 0.3)).theta_space
    assert set(space.sets["noisy"][:, 2]) == {0.3}
    assert len(space.sets["noisy"]) == 9
    assert not GridHazards(slips=(0.3,)).theta_space.sets


def test_the_room_shows_size_hazards_and_slip() -> None:
    env = GridHazards()
    hazards = {0.0: {3: 0, 4: 0, 5: 0}, 0.1: {3: 1, 4: 2, 5: 3}, 0.2: {3: 2, 4: 3, 5: 5}}
    for theta in env.theta_space.points:
        room = names(env, start(env, theta))
        size = int(theta[0])
        assert (room[:size, :size] != "wall").all()
        assert (room == "wall").sum() == 25 - size**2
        assert (room == "hazard").sum() == hazards[theta[1]][size]
        assert (room == f"floor (slip {theta[2]:g})").sum() >= 1
        assert (room == f"floor (slip {0.1 - theta[2]:g})").sum() == 0


def test_rooms_that_differ_only_in_slip_share_layout_and_start() -> None:
    env = GridHazards()
    for seed in range(10):
        dry, wet = start(env, [4, 0.2, 0], seed), start(env, [4, 0.2, 0.1], seed)
        np.testing.assert_array_equal(dry["agent"], wet["agent"])
        other = dry["cells"] != wet["cells"]
        assert (dry["cells"][other] == 0).all()
        assert (wet["cells"][other] == 1).all()


@pytest.mark.parametrize(("n_layouts", "least", "most"), [(1, 1, 1), (4, 4, 4), (None, 58, 60)])
def test_layouts_are_as_many_as_asked_for(n_layouts: int | None, least: int, most: int) -> None:
    env = GridHazards(n_layouts=n_layouts)
    seen = {start(env, [5, 0.2, 0], seed)["cells"].tobytes() for seed in range(60)}
    assert least <= len(seen) <= most


def test_starts_are_floor_and_all_floor_is_a_start() -> None:
    env = GridHazards(n_layouts=1)
    floor = np.argwhere(names(env, start(env, [4, 0.2, 0])) == "floor (slip 0)")
    starts = {tuple(start(env, [4, 0.2, 0], seed)["agent"].tolist()) for seed in range(150)}
    assert starts == set(map(tuple, floor.tolist()))


def test_moves_are_absolute_and_walls_stop_them() -> None:
    env = GridHazards()
    start(env, [3, 0, 0])
    for _ in range(3):
        observation, *_ = env.step(UP)
    for _ in range(2):
        observation, *_ = env.step(LEFT)
    assert observation["agent"].tolist() == [0, 0]
    path = [env.step(action)[0]["agent"].tolist() for action in (RIGHT, DOWN, STAY, LEFT, UP)]
    assert path == [[0, 1], [1, 1], [1, 1], [1, 0], [0, 0]]


def test_rewards_are_one_a_step_on_each_tile() -> None:
    for task in GridHazards.tasks:
        env = GridHazards(task=task)
        observation = start(env, [4, 0, 0])
        target = np.argwhere(names(env, observation) == task)[0]
        ended = False
        while not ended:
            row, column = target - observation["agent"]
            action = DOWN if row > 0 else UP if row < 0 else RIGHT if column > 0 else LEFT if column < 0 else STAY
            observation, reward, terminated, ended, info = env.step(action)
            tile = names(env, observation)[tuple(observation["agent"])]
            assert info["task_rewards"].tolist() == [float(tile == other) for other in env.tasks]
            assert reward == float(tile == task)
            assert not terminated
        assert reward == 1


def test_a_hazard_ends_the_episode_without_reward() -> None:
    env = GridHazards()
    ended = 0
    for seed in range(60):
        start(env, [5, 0.2, 0], seed)
        env.action_space.seed(seed)
        while True:
            observation, _, terminated, truncated, info = env.step(env.action_space.sample())
            on_hazard = names(env, observation)[tuple(observation["agent"])] == "hazard"
            assert terminated == on_hazard
            if terminated:
                ended += 1
                assert info["task_rewards"].tolist() == [0, 0, 0]
            if terminated or truncated:
                break
    assert ended > 20


@pytest.mark.parametrize("size", [3, 4, 5])
def test_an_episode_is_cut_after_four_times_the_size(size: int) -> None:
    env = GridHazards()
    start(env, [size, 0, 0.1])
    cuts = [env.step(STAY)[3] for _ in range(4 * size)]
    assert cuts == [False] * (4 * size - 1) + [True]


def test_when_every_move_slips_the_chosen_one_does_not_matter() -> None:
    env = GridHazards(slips=(0.0, 1.0))
    paths = []
    for action in (STAY, UP):
        start(env, [5, 0, 1.0], seed=7)
        paths.append([env.step(action)[0]["agent"].tolist() for _ in range(20)])
    assert paths[0] == paths[1]
    assert len({tuple(p) for p in paths[0]}) > 2


def test_slip_replaces_a_quarter_of_the_moves_by_any_of_the_five() -> None:
    env = GridHazards(n_layouts=1)
    left = trials = 0
    for seed in range(1500):
        before = start(env, [5, 0, 0.1], seed)["agent"]
        if not 0 < before[0] < 4 or not 0 < before[1] < 4:
            continue  # away from walls each replaced move but `stay` is seen
        after = env.step(STAY)[0]["agent"]
        left += bool((after != before).any())
        trials += 1
    expected = 0.1 * 4 / 5
    assert trials > 400
    assert abs(left / trials - expected) < 2.576 * np.sqrt(expected * (1 - expected) / trials)


def test_actions_outside_are_refused() -> None:
    env = GridHazards()
    start(env, [3, 0, 0])
    for action in (-1, 5):
        with pytest.raises(ValueError, match="action must be a whole number from 0"):
            env.step(action)


def test_the_picture_moves_with_the_agent_alone() -> None:
    env = GridHazards(obs="pixels")
    before: Any = start(env, [5, 0.2, 0.1], seed=1)
    cell = env._cell
    for action in (UP, RIGHT, DOWN, LEFT):
        after, *_ = env.step(action)
        if env._cell != cell:
            break
    changed = np.argwhere((before != after).any(-1)) // 12
    assert len(np.unique(changed, axis=0)) <= 3  # two cells, and at most a border pixel's worth beside them
    assert (before != after).any()


def test_slip_is_seen_in_the_picture() -> None:
    env = GridHazards(obs="pixels")
    dry: Any = start(env, [4, 0.1, 0], seed=2)
    wet: Any = start(env, [4, 0.1, 0.1], seed=2)
    assert (dry != wet).any()


def made_for(space: Any, name: str, **kwargs: Any) -> GridHazards:
    """The environment of a suite."""
    return GridHazards(**kwargs, **space.suites[name].env_kwargs)


def test_harder_suites_are_fresh_layouts_and_denser_rooms() -> None:
    space = GridHazards().theta_space
    assert space.suites["fresh"].env_kwargs == {"n_layouts": None}
    np.testing.assert_array_equal(space.suites["fresh"].thetas, space.points)
    assert space.suites["denser"].thetas.tolist() == [[5, 0.3, 0], [5, 0.3, 0.1]]
    assert (names(made_for(space, "denser"), start(made_for(space, "denser"), [5, 0.3, 0])) == "hazard").sum() == 8


def test_suites_that_are_not_harder_are_emptier_rooms_and_oblong_ones() -> None:
    space = GridHazards().theta_space
    assert space.suites["emptier"].thetas.tolist() == [[5, 0.05, 0], [5, 0.05, 0.1]]
    env = made_for(space, "emptier")
    assert (names(env, start(env, [5, 0.05, 0])) == "hazard").sum() == 1
    assert space.suites["oblong"].thetas.tolist() == [[5, d, s] for d in (0, 0.1, 0.2) for s in (0, 0.1)]
    env = made_for(space, "oblong")
    for seed in range(20):
        observation = start(env, [5, 0.2, 0], seed)
        room = names(env, observation)
        assert (room[:, :3] != "wall").all()
        assert (room[:, 3:] == "wall").all()
        assert (room == "hazard").sum() == 3
        assert observation["agent"][1] < 3
        assert env.optimal_return([5, 0.2, 0], "red", seed) > 0


def test_suites_that_would_repeat_the_training_or_have_no_room_are_left_out() -> None:
    assert set(GridHazards(sizes=(3,)).theta_space.suites) == {"fresh", "denser", "emptier"}
    assert "emptier" not in GridHazards(densities=(0,)).theta_space.suites
    assert "oblong" not in GridHazards(sizes=(4,), densities=(0.74,)).theta_space.suites


@pytest.mark.parametrize(
    ("n_layouts", "right"),
    [
        ((1, 5), {(3, 0.0): 1, (3, 0.2): 1, (4, 0.0): 5, (4, 0.2): 5}),
        (((1, 2), (3, 7)), {(3, 0.0): 1, (3, 0.2): 2, (4, 0.0): 3, (4, 0.2): 7}),
    ],
)
def test_each_size_and_density_may_have_a_number_of_layouts_of_its_own(
    n_layouts: Any, right: dict[tuple[int, float], int]
) -> None:
    env = GridHazards(sizes=(4, 3), n_layouts=n_layouts, densities=(0.2, 0), slips=(0,))
    for (size, density), count in right.items():
        seen = {start(env, [size, density, 0], seed)["cells"].tobytes() for seed in range(120)}
        assert len(seen) == count


def test_rooms_of_a_suite_are_as_many_as_those_of_the_nearest_density() -> None:
    env = GridHazards(n_layouts=((1, 1, 1), (1, 1, 1), (1, 2, 6)))
    seen = {start(env, [5, 0.3, 0], seed)["cells"].tobytes() for seed in range(80)}
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"sizes": (2, 3)}, "sizes"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (3.5,)}, "sizes"),
        ({"densities": (-0.1,)}, "densities"),
        ({"densities": (0.9,)}, "leaves no room"),
        ({"slips": (1.5,)}, "slips"),
        ({"slips": (0, 0.1, 0.2, 0.3, 0.4)}, "slips"),
        ({"n_layouts": 0}, "n_layouts"),
        ({"n_layouts": "3"}, "n_layouts"),
        ({"n_layouts": (1, 2)}, "one entry for each size"),
        ({"n_layouts": (1, 0, 2)}, "n_layouts"),
        ({"n_layouts": (1, (2, 2), 2)}, "one entry for each density"),
        ({"shape": "round"}, "shape"),
    ],
)
def test_arguments_outside_their_range_are_refused(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GridHazards(**kwargs)


def test_exact_solutions_refuse_what_the_family_does_not_have() -> None:
    env = GridHazards()
    with pytest.raises(UnknownTaskError):
        env.optimal_return([3, 0, 0], "gold", 0)
    with pytest.raises(ThetaError):
        env.optimal_return([9, 0, 0], "red", 0)
