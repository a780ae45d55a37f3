"""Exact solutions of GridCleanUp: the best plan of an episode, found by A* with a proof.

Nothing in an episode is random and everything is seen, so the optimum is a plan. The return of T steps is

    PER_CELL · (D_0 − D_T) + INSIDE · Σ_t (1 − outside_t / n)

with D the sum of the blocks' distances from their goals' columns and ``outside_t`` the number of n blocks that stand
outside of their goals after step t. To earn most is to pay least: Σ_t outside_t, and ``per_cell`` = n · PER_CELL /
INSIDE for each cell of distance that is left at the end.

The search needs a bound from below on what a state still costs. Drop all blocks but three: what one does with the
whole room, one can do with the rest of it. Each block is in C(n−1, 2) of the triples, so their costs, from
:mod:`waker_envs.grids.cleanup_costs`, sum to at most C(n−1, 2) times the cost of the whole (additive pattern databases;
Felner, Korf and Hanan, JAIR 22, 2004). With up to three blocks the bound is the cost itself.

Called by :mod:`waker_envs.grids.cleanup_optima` alone; tested against dynamic programming over whole spaces.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations, count
from math import comb
from typing import Generic, NamedTuple, TypeVar

from waker_envs.grids.cleanup_costs import NEVER, cost_table
from waker_envs.grids.pushing import N_ACTIONS, STAY, move

LIMIT = 300_000
"""States a search may expand: 80 to 100 CPU seconds, 0.3 ms a state.

In episodes of 100 steps, four blocks need some hundred and five some hundred to some thousand. Short episodes that end
before the room is clear need far more: with four blocks in the largest room, one of 10 steps took 1,800 states and
0.3 s, and one of 20 steps was not proved after 10,000 and 3 s.
"""
_TOGETHER = 3
"""Blocks in a table of the bound."""
_LEFT, _RIGHT = 1, 2
Cells = tuple[int, ...]


class Room(NamedTuple):
    """A state: the agent's cell, and the cells of the blocks that belong to the left and to the right wall, rising.

    Cells are numbered row by row in a square of ``side``.
    """

    side: int
    agent: int
    left: Cells
    right: Cells

    @property
    def outside(self) -> int:
        """Blocks outside of their goals."""
        far = self.side - 1
        return sum(c % self.side != 0 for c in self.left) + sum(c % self.side != far for c in self.right)

    @property
    def distance(self) -> int:
        """The sum of the blocks' distances from their goals, in columns."""
        far = self.side - 1
        return sum(c % self.side for c in self.left) + sum(far - c % self.side for c in self.right)


def _moves(room: Room) -> Iterator[tuple[int, int, Room]]:
    """Every action that changes something, what its step costs, and where it leads."""
    blocks = [0] * room.side**2
    for cells, mark in ((room.left, _LEFT), (room.right, _RIGHT)):
        for cell in cells:
            blocks[cell] = mark
    for action in range(N_ACTIONS):
        after = blocks.copy()
        agent = move(room.side, room.side, room.agent, after, action)
        if agent == room.agent:
            continue
        left, right = room.left, room.right
        if after != blocks:
            left, right = (tuple(c for c, mark in enumerate(after) if mark == which) for which in (_LEFT, _RIGHT))
        then = Room(room.side, agent, left, right)
        yield action, then.outside, then


class Solution(NamedTuple):
    """The least cost lies in [``bound``, ``cost``]; ``actions`` is a plan that costs ``cost``, one for each step."""

    bound: int
    cost: int
    actions: tuple[int, ...]


def solve(room: Room, steps: int, per_cell: int, limit: int = LIMIT) -> Solution:
    """The cheapest way to spend an episode of ``steps`` steps that starts in ``room``.

    Args:
        steps: at least 1.
        per_cell: what a cell of distance costs after the last step, ≥ 0.
        limit: states a search may expand; where they do not suffice, the bounds differ.
    """
    if not room.left and not room.right:
        return Solution(0, 0, (STAY,) * steps)
    clearing = _Search(room, clearing_bound, _moves, _is_clear).run(limit)
    # Whoever never clears the room pays at least for one block at every step, and for one cell at the end.
    otherwise = steps + per_cell
    if clearing.proved and len(clearing.actions) <= steps and clearing.bound <= otherwise:
        plan = clearing.actions + (STAY,) * (steps - len(clearing.actions))
        return Solution(clearing.bound, clearing.bound, plan)
    return _bracket(room, steps, per_cell, limit, clearing)


def _bracket(room: Room, steps: int, per_cell: int, limit: int, clearing: _Found) -> Solution:
    """Where clearing the room is not proved to be best: search among all plans of this length."""

    def bound(state: _Timed) -> int:
        now, left = state
        if left == 0:
            return 0
        return min(clearing_bound(now), left + per_cell * max(1, now.distance - left))

    def moves(state: _Timed) -> Iterator[tuple[int, int, _Timed]]:
        now, left = state
        for action, cost, then in (*_moves(now), (STAY, now.outside, now)):
            yield action, cost + (per_cell * then.distance if left == 1 else 0), (then, left - 1)

    whole = _Search((room, steps), bound, moves, lambda state: state[1] == 0).run(limit)
    if whole.proved:
        return Solution(whole.bound, whole.bound, whole.actions)
    hasty = clearing
    if not clearing.proved and clearing.bound < NEVER:
        hasty = _Search(room, clearing_bound, _moves, _is_clear, weight=5).run(limit)
    plans = [(plan + (STAY,) * steps)[:steps] for plan in ((), hasty.actions)]
    cost, plan = min((cost_of(room, plan, per_cell), plan) for plan in plans)
    return Solution(max(whole.bound, min(clearing.bound, steps + per_cell)), cost, plan)


def cost_of(room: Room, actions: Sequence[int], per_cell: int) -> int:
    """What a plan costs."""
    cost = 0
    for action in actions:
        room = next((then for a, _, then in _moves(room) if a == action), room)
        cost += room.outside
    return cost + per_cell * room.distance


@lru_cache(maxsize=1 << 17)
def clearing_bound(room: Room) -> int:
    """No plan clears the room for less; exact for up to three blocks, :data:`NEVER` where some of them have no way."""
    blocks = [(cell, False) for cell in room.left] + [(cell, True) for cell in room.right]
    together = min(_TOGETHER, len(blocks))
    costs = []
    for chosen in combinations(blocks, together):
        left = tuple(cell for cell, to_right in chosen if not to_right)
        right = tuple(cell for cell, to_right in chosen if to_right)
        costs.append(_alone(room.side, room.agent, left, right))
    return NEVER if NEVER in costs else -(-sum(costs) // comb(len(blocks) - 1, together - 1))


def _alone(side: int, agent: int, left: Cells, right: Cells) -> int:
    """The cost of clearing a room of up to three blocks, from the table; a mirrored room has the same."""
    if len(left) < len(right):
        mirrored = [tuple(sorted(mirror(cell, side) for cell in cells)) for cells in (right, left)]
        left, right, agent = *mirrored, mirror(agent, side)
    return cost_table(side, len(left), len(right)).cost(agent, left, right)


def mirror(cell: int, side: int) -> int:
    """The cell with left and right exchanged."""
    row, column = divmod(cell, side)
    return row * side + side - 1 - column


# A* ---------------------------------------------------------------------------------------------------------------

Node = TypeVar("Node")
_Timed = tuple[Room, int]
"""A room, and the steps that are left."""


class _Found(NamedTuple):
    """Where ``proved``, ``actions`` lead to an end at the least cost, ``bound``; else no end costs less than ``bound``.

    ``actions`` are empty where no end was found; where there is none, the bound is :data:`NEVER`.
    """

    proved: bool
    bound: int
    actions: tuple[int, ...]


def _is_clear(room: Room) -> bool:
    return room.outside == 0


class _Search(Generic[Node]):
    """A* from ``start`` to the nearest end, with a consistent ``bound`` on the cost from each node.

    Args:
        moves: actions of a node, what each costs (an integer ≥ 0) and where it leads.
        weight: more than 1 finds an end soon, and proves nothing.
    """

    def __init__(
        self,
        start: Node,
        bound: Callable[[Node], int],
        moves: Callable[[Node], Iterator[tuple[int, int, Node]]],
        ends: Callable[[Node], bool],
        weight: int = 1,
    ) -> None:
        self.start, self.bound, self.moves, self.ends, self.weight = start, bound, moves, ends, weight
        self._cost: dict[Node, int] = {start: 0}
        self._from: dict[Node, tuple[Node, int]] = {}

    def run(self, limit: int) -> _Found:
        """Search until an end is reached or ``limit`` nodes are expanded."""
        order = count()  # of two equal nodes the newest: it is the nearest to an end
        waiting = [(self.weight * self.bound(self.start), 0, self.start)]
        done: set[Node] = set()
        while waiting:
            least, _, node = heapq.heappop(waiting)
            if node in done:
                continue
            if self.ends(node):
                return _Found(self.weight == 1, least, self._plan(node))
            if len(done) == limit:
                return _Found(False, least if self.weight == 1 else 0, ())
            done.add(node)
            for action, step, then in self.moves(node):
                cost = self._cost[node] + step
                if cost < self._cost.get(then, NEVER) and (bound := self.bound(then)) < NEVER:
                    self._cost[then], self._from[then] = cost, (node, action)
                    heapq.heappush(waiting, (cost + self.weight * bound, -next(order), then))
        return _Found(False, NEVER, ())

    def _plan(self, node: Node) -> tuple[int, ...]:
        actions = []
        while node in self._from:
            node, action = self._from[node]
            actions.append(action)
        return tuple(reversed(actions))
