"""What it costs to clear a room of few blocks, from every state at once: the table behind GridCleanUp's exact optimum.

Some blocks belong to the left wall and some to the right one. A step *costs* the number of blocks that stand outside
of their goal after it, so a room once cleared costs nothing more. The least cost until then is found for all states by
one search backwards from the cleared ones, in the order of costs (Dial's variant of Dijkstra's algorithm). Every move
can be undone by another, so what a move leads to is also what leads here.

Called by :mod:`waker_envs.grids.cleanup_exact`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.placements import Integers, Placements, neighbours, number_of

_UNKNOWN = np.iinfo(np.uint8).max
NEVER = 1 << 20
"""The cost of clearing a room that cannot be cleared: blocks in its corner can wall an agent in."""
_BATCH = 1 << 18
"""States that are expanded at a time: their intermediate results fit the cache and never fill the memory."""


class CostTable:
    """The least cost of clearing a room from each of its states.

    Args:
        side: the room has side² cells.
        left, right: blocks that belong to the first and to the last column; at least one in all.

    Raises:
        OverflowError: a cost does not fit a byte. It does for up to three blocks and a side of 7 (at most 99).
    """

    def __init__(self, side: int, left: int, right: int) -> None:
        self._cells, self._rights = side**2, comb(side**2, right)
        self._costs = _States(side, left, right).costs()

    def cost(self, agent: int, left: Sequence[int], right: Sequence[int]) -> int:
        """The least cost from one state, or :data:`NEVER`; the blocks' cells are in rising order."""
        numbers = [number_of(np.array([cells], np.int64).reshape(1, -1), self._cells)[0] for cells in (left, right)]
        cost = int(self._costs[(numbers[0] * self._rights + numbers[1]) * self._cells + agent])
        return NEVER if cost == _UNKNOWN else cost


class _States:
    """All states of a room, numbered (left placement · right placements + right placement) · side² + agent's cell."""

    def __init__(self, side: int, left: int, right: int) -> None:
        self.side = side
        self._left, self._right = Placements(side, left), Placements(side, right)
        self._n_right, self._cells = len(self._right.cells), side**2
        self._outside_left = (self._left.cells % side != 0).sum(1)
        self._outside_right = (self._right.cells % side != side - 1).sum(1)

    def costs(self) -> NDArray[np.uint8]:
        """Least costs of all states; 255 where there is no way, or two things stand on one cell."""
        costs = np.full(len(self._left.cells) * self._n_right * self._cells, _UNKNOWN, np.uint8)
        waiting = {0: [self._cleared()]}
        costs[waiting[0][0]] = 0
        while waiting:
            now = min(waiting)
            reached = np.concatenate(waiting.pop(now))
            settled = reached[costs[reached] == now]  # the others were reached more cheaply since
            for start in range(0, len(settled), _BATCH):
                batch = settled[start : start + _BATCH]
                # A step into one of these states costs what stands outside there.
                along = now + self._outside(batch)
                for cost in np.unique(along)[::-1]:
                    before = self._moves(batch[along == cost])
                    better = np.unique(before[costs[before] > cost])
                    if len(better) and cost >= _UNKNOWN:
                        raise OverflowError(f"clearing this room may cost {cost}, more than a byte holds")
                    costs[better] = cost
                    waiting.setdefault(int(cost), []).append(better)
        return costs

    def _split(self, states: Integers) -> tuple[Integers, Integers, Integers]:
        """Left placements, right placements and the agent's cells."""
        placements, agent = np.divmod(states, self._cells)
        return *np.divmod(placements, self._n_right), agent

    def _join(self, left: Integers, right: Integers, agent: Integers) -> Integers:
        return (left * self._n_right + right) * self._cells + agent

    def _outside(self, states: Integers) -> Integers:
        left, right, _ = self._split(states)
        return self._outside_left[left] + self._outside_right[right]

    def _cleared(self) -> Integers:
        """All states with every block inside its goal."""
        grid = np.meshgrid(
            np.flatnonzero(self._outside_left == 0),
            np.flatnonzero(self._outside_right == 0),
            np.arange(self._cells),
            indexing="ij",
        )
        left, right, agent = (axis.ravel() for axis in grid)
        taken = self._left.occupied[left] | self._right.occupied[right]
        possible = (self._left.occupied[left] & self._right.occupied[right] == 0) & (taken >> agent & 1 == 0)
        return self._join(left, right, agent)[possible]

    def _moves(self, states: Integers) -> Integers:
        """Every state that one move leads to from any of ``states``, repetitions included."""
        left, right, agent = self._split(states)
        taken = self._left.occupied[left] | self._right.occupied[right]
        found = [states[:0]]
        for direction, beside in enumerate(neighbours(self.side)):
            ahead, behind = beside[agent], neighbours(self.side)[(direction + 2) % 4][agent]
            blocked = (taken >> ahead.clip(0) & 1).astype(bool)
            drawn = (taken >> behind.clip(0) & 1).astype(bool) & (behind >= 0)
            walks, pushes = (ahead >= 0) & ~blocked, (ahead >= 0) & blocked
            found.append(self._join(left, right, ahead)[walks])
            for able, block in ((pushes, ahead), (walks & drawn, behind)):
                found += self._carried(left[able], right[able], block[able], ahead[able], direction, taken[able])
        return np.concatenate(found)

    def _carried(
        self, left: Integers, right: Integers, block: Integers, agent: Integers, direction: int, taken: Integers
    ) -> Iterator[Integers]:
        """States after the block on ``block`` went one cell and the agent to ``agent``, where nothing is in the way.

        A pulled block goes to the agent's old cell, which is free; a pushed one may meet a block or the wall.
        """
        there = neighbours(self.side)[direction][block]
        free = (there >= 0) & (taken >> there.clip(0) & 1 == 0)
        for placements, mine in ((self._left, left), (self._right, right)):
            after = placements.moved[mine, block, direction].astype(np.int64)
            able = free & (after >= 0)  # −1: the block is one of the others
            moved = (after, right) if placements is self._left else (left, after)
            yield self._join(moved[0], moved[1], agent)[able]


@lru_cache(maxsize=32)
def cost_table(side: int, left: int, right: int) -> CostTable:
    """The table of a room, kept: at most 3.7 MB and two seconds for three blocks and a side of 7."""
    return CostTable(side, left, right)
