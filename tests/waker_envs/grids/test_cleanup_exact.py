"""GridCleanUp's optimum: equal to dynamic programming over whole state spaces, and reached by playing its plan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from waker_envs.api import Theta, ThetaError, UnknownTaskError
from waker_envs.grids import cleanup_exact
from waker_envs.grids.cleanup import GridCleanUp
from waker_envs.grids.cleanup_costs import NEVER, CostTable
from waker_envs.grids.cleanup_exact import Room, cost_of, mirror, solve
from waker_envs.grids.placements import Placements, number_of
from waker_envs.grids.pushing import N_ACTIONS, move


def rooms(side: int, left: int, right: int) -> Iterator[Room]:
    """Every state of a room."""
    for lefts in combinations(range(side**2), left):
        for rights in combinations(sorted(set(range(side**2)) - set(lefts)), right):
            for agent in set(range(side**2)) - set(lefts) - set(rights):
                yield Room(side, agent, lefts, rights)


def after(room: Room, action: int) -> Room:
    """The rules alone: no code of the solver."""
    blocks = [0] * room.side**2
    for cells, mark in ((room.left, 1), (room.right, 2)):
        for cell in cells:
            blocks[cell] = mark
    agent = move(room.side, room.side, room.agent, blocks, action)
    left, right = (tuple(i for i, mark in enumerate(blocks) if mark == which) for which in (1, 2))
    return Room(room.side, agent, left, right)


def outside(room: Room) -> int:
    far = room.side - 1
    return sum(c % room.side > 0 for c in room.left) + sum(c % room.side < far for c in room.right)


def distance(room: Room) -> int:
    return sum(c % room.side for c in room.left) + sum(room.side - 1 - c % room.side for c in room.right)


class WholeSpace:
    """Least costs by brute force: backward induction over every state of a room, with as many steps to go as asked."""

    def __init__(self, side: int, left: int, right: int) -> None:
        self.rooms = list(rooms(side, left, right))
        number = {room: i for i, room in enumerate(self.rooms)}
        self.then = np.array([[number[after(room, action)] for action in range(N_ACTIONS)] for room in self.rooms])
        self.outside = np.array([outside(room) for room in self.rooms])
        self.distance = np.array([distance(room) for room in self.rooms])

    def costs(self, steps: int, per_cell: int) -> NDArray[np.int64]:
        """Of every state, (S,)."""
        costs = per_cell * self.distance
        for _ in range(steps):
            costs = (self.outside + costs)[self.then].min(1)
        return costs


@pytest.mark.parametrize(("side", "left", "right"), [(3, 1, 0), (3, 1, 1), (3, 0, 2), (4, 1, 1), (3, 2, 1)])
@pytest.mark.parametrize("per_cell", [0, 1, 16])
def test_the_solver_agrees_with_backward_induction_for_every_state_and_length(
    side: int, left: int, right: int, per_cell: int
) -> None:
    space = WholeSpace(side, left, right)
    for steps in (1, 2, 5, 9, 60):
        truth = space.costs(steps, per_cell)
        for i in range(0, len(truth), 1 + len(truth) // 40):
            room = space.rooms[i]
            found = solve(room, steps, per_cell)
            assert found.bound == found.cost == truth[i], (room, steps)
            assert len(found.actions) == steps
            assert cost_of(room, found.actions, per_cell) == found.cost


def test_four_blocks_where_the_bound_is_not_the_cost_agree_with_backward_induction() -> None:
    space = WholeSpace(3, 2, 2)
    truth, gaps = space.costs(40, 32), 0
    for i in range(0, len(truth), 173):
        found = solve(space.rooms[i], 40, 32)
        assert found.bound == found.cost == truth[i]
        gaps += cleanup_exact.clearing_bound(space.rooms[i]) < found.cost
    assert gaps > 3  # the search had something to do


def test_the_bound_never_exceeds_the_cost_and_falls_by_no_more_than_a_step_costs() -> None:
    """Consistency, which A* without reopening needs."""
    for room in list(rooms(3, 2, 2))[::17]:
        for action in range(N_ACTIONS):
            then = after(room, action)
            assert cleanup_exact.clearing_bound(room) <= outside(then) + cleanup_exact.clearing_bound(then)


def test_the_costs_of_a_table_are_those_of_its_neighbours() -> None:
    """Bellman's equation at every state, and zero exactly where nothing more need be paid."""
    table = CostTable(4, 1, 1)
    for room in rooms(4, 1, 1):
        cost = table.cost(room.agent, room.left, room.right)
        least = min(outside(s) + table.cost(s.agent, s.left, s.right) for s in (after(room, a) for a in range(9)))
        assert cost == 0 if outside(room) == 0 else cost == min(least, NEVER)


def test_placements_are_numbered_without_gaps_and_moved_by_the_rules() -> None:
    placements = Placements(4, 3)
    assert (number_of(placements.cells, 16) == np.arange(len(placements.cells))).all()
    assert placements.cells.tolist() == sorted(placements.cells.tolist(), key=lambda cells: cells[::-1])
    corner = number_of(np.array([[0, 1, 9]]), 16)[0]
    assert placements.moved[corner, 0].tolist() == [-1, -1, number_of(np.array([[1, 4, 9]]), 16)[0], -1]
    assert (placements.moved[corner, 2] == -1).all()


def test_one_step_away_by_hand() -> None:
    """A block one cell from the left wall with the agent behind it: push once. Nothing is paid."""
    room = Room(3, 5, (4,), ())
    assert solve(room, 10, 8) == (0, 0, (4, *[0] * 9))
    # From the other side the block is pulled, after the agent has gone round it: two, one and one more step outside.
    assert solve(Room(3, 3, (4,), ()), 10, 8).cost == solve(Room(3, mirror(3, 3), (), (4,)), 10, 8).cost


def played(env: GridCleanUp, theta: Theta, task: str, seed: int) -> float:
    env.reset(seed=seed, options={"theta": theta})
    k = env.tasks.index(task)
    actions = env.optimal_actions(theta, task, seed)
    assert actions.shape == (env.length,)
    return float(sum(env.step(int(a))[4]["task_rewards"][k] for a in actions))


@pytest.mark.parametrize(
    "theta", [(0, 0, 0), (1, 1, 0), (2, 0, 2), (3, 2, 1), (4, 2, 2), (4, 1, 3), (4, 0, 4), (5, 3, 2)]
)
def test_the_optimal_plan_earns_the_optimal_return(theta: tuple[int, int, int]) -> None:
    env = GridCleanUp()
    for task in env.tasks:
        best = env.optimal_return(np.array(theta, float), task, seed=11)
        # Rewards are float32: 100 of them, each to 2⁻²⁴ of at most 4.5.
        assert played(env, np.array(theta, float), task, 11) == pytest.approx(best, abs=100 * 4.5 * 2.0**-24)


def test_no_random_episode_earns_more() -> None:
    env, rng = GridCleanUp(length=12), np.random.default_rng(0)
    theta = np.array([1.0, 1.0, 0.0])
    best = np.array([env.optimal_return(theta, task, 5) for task in env.tasks])
    for _ in range(200):
        env.reset(seed=5, options={"theta": theta})
        earned = sum(env.step(int(a))[4]["task_rewards"] for a in rng.integers(N_ACTIONS, size=12))
        assert (earned <= best + 1e-5).all()


def test_where_the_search_is_cut_the_bounds_enclose_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    env, theta = GridCleanUp(), np.array([4.0, 2.0, 2.0])
    best = env.optimal_return(theta, "sort", 3)
    monkeypatch.setattr("waker_envs.grids.cleanup.optimum", lambda *of: solve(of[0], of[1], of[2], limit=20))
    low, high = env.return_bounds(theta, "sort", 3)
    assert low < high
    assert low <= best <= high
    assert np.isnan(env.optimal_return(theta, "sort", 3))
    assert played(env, theta, "sort", 3) == pytest.approx(low, abs=1e-4)


def test_pictures_and_symbols_have_one_optimum() -> None:
    theta = np.array([2.0, 1.0, 1.0])
    assert GridCleanUp(obs="pixels").optimal_return(theta, "push", 0) == GridCleanUp().optimal_return(theta, "push", 0)


def test_what_does_not_exist_has_no_optimum() -> None:
    with pytest.raises(UnknownTaskError, match="unknown task 'fly'"):
        GridCleanUp().optimal_return(np.array([1.0, 0.0, 0.0]), "fly", 0)
    with pytest.raises(ThetaError):
        GridCleanUp().optimal_return(np.array([1.0, 3.0, 0.0]), "push", 0)
