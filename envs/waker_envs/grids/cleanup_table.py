"""All states of a small GridCleanUp room, what each action makes of them, and how far each is from done.

Called by :mod:`waker_envs.grids.cleanup_small`. S states: every agent's cell and every placement of the blocks, two
things never on one cell. Cells are numbered row by row in a room of ``side``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.placements import Integers, Placements, neighbours
from waker_envs.grids.pushing import N_ACTIONS


class RoomTable(NamedTuple):
    """A room with its states in a fixed order.

    Attributes:
        side: of the room, in cells.
        agent: the agent's cell, (S,).
        green, blue: the blocks' cells in rising order, (S, number of blocks).
        after: the state that each action leads to, (9, S).
    """

    side: int
    agent: Integers
    green: Integers
    blue: Integers
    after: Integers

    def number(self, agent: int, green: tuple[int, ...], blue: tuple[int, ...]) -> int:
        """Which state this is; the blocks' cells are in rising order."""
        there = self.agent == agent
        for cells, wanted in ((self.green, green), (self.blue, blue)):
            there = there & (cells == np.array(wanted, np.int64)).all(1)
        return int(np.flatnonzero(there)[0])

    def standing(self, green_left: bool, blue_left: bool) -> tuple[Integers, Integers]:
        """The sum of the blocks' distances from their walls in columns, and how many stand there, (S,) each.

        Args:
            green_left, blue_left: whether blocks of this colour belong to the first column, or to the last.
        """
        distance = inside = np.zeros(len(self.agent), np.int64)
        for cells, left in ((self.green, green_left), (self.blue, blue_left)):
            far = cells % self.side if left else self.side - 1 - cells % self.side
            distance, inside = distance + far.sum(1), inside + (far == 0).sum(1)
        return distance, inside


@lru_cache(maxsize=64)
def room_table(side: int, green: int, blue: int) -> RoomTable:
    """The table of a room with so many blocks, kept: 25 cells and a block of each colour are 13,800 states."""
    return _Room(side, green, blue).table()


class _Room:
    """States by code: (placement of green · placements of blue + placement of blue) · side² + agent's cell."""

    def __init__(self, side: int, green: int, blue: int) -> None:
        self.side, self.cells = side, side**2
        self.green, self.blue = Placements(side, green), Placements(side, blue)
        g, b, agent = (
            axis.ravel()
            for axis in np.meshgrid(
                np.arange(len(self.green.cells)), np.arange(len(self.blue.cells)), np.arange(self.cells), indexing="ij"
            )
        )
        taken = self.green.occupied[g] | self.blue.occupied[b]
        possible = (self.green.occupied[g] & self.blue.occupied[b] == 0) & (taken >> agent & 1 == 0)
        self.g, self.b, self.agent, self.taken = (x[possible] for x in (g, b, agent, taken))
        self.number = np.full(len(possible), -1, np.int64)
        self.number[possible] = np.arange(possible.sum())

    def table(self) -> RoomTable:
        """See :class:`RoomTable`."""
        stay = np.arange(len(self.agent))
        ways = range(len(neighbours(self.side)))
        after = [stay, *(self._pushed(way) for way in ways), *(self._pulled(way) for way in ways)]
        assert len(after) == N_ACTIONS
        return RoomTable(self.side, self.agent, self.green.cells[self.g], self.blue.cells[self.b], np.array(after))

    def _pushed(self, way: int) -> Integers:
        beside = neighbours(self.side)[way]
        ahead = beside[self.agent]
        beyond = np.where(ahead >= 0, beside[ahead], -1)
        blocked = (ahead >= 0) & self._block(ahead)
        goes = (ahead >= 0) & (~blocked | ((beyond >= 0) & ~self._block(beyond)))
        return self._led(goes, ahead, goes & blocked, ahead, way)

    def _pulled(self, way: int) -> Integers:
        ahead, behind = neighbours(self.side)[way][self.agent], neighbours(self.side)[(way + 2) % 4][self.agent]
        goes = (ahead >= 0) & ~self._block(ahead)
        return self._led(goes, ahead, goes & (behind >= 0) & self._block(behind), behind, way)

    def _block(self, cell: Integers) -> NDArray[np.bool_]:
        """Whether a block stands on a cell of each state."""
        return (self.taken >> cell.clip(0) & 1).astype(bool)

    def _led(
        self, goes: NDArray[np.bool_], to: Integers, carries: NDArray[np.bool_], block: Integers, way: int
    ) -> Integers:
        """The states after the agent went ``to`` where it can, and with it the block where it carries one."""
        g, b = (
            np.where(carries & ((after := placements.moved[mine, block.clip(0), way]) >= 0), after, mine)
            for placements, mine in ((self.green, self.g), (self.blue, self.b))
        )
        agent = np.where(goes, to, self.agent)
        return self.number[(g * len(self.blue.cells) + b) * self.cells + agent]
