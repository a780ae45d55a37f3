"""Where k equal blocks can stand in a square room: placements have numbers, and every push is an entry of a table.

Called by :mod:`waker_envs.grids.cleanup_costs`, which runs over all of them at once.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.pushing import STEPS

Integers = NDArray[np.int64]


@lru_cache(maxsize=8)
def neighbours(side: int) -> Integers:
    """The cell next to each cell, up, right, down and left, shape (4, side²); −1 outside of the room."""
    rows, columns = np.divmod(np.arange(side**2), side)
    table = []
    for dr, dc in STEPS:
        r, c = rows + dr, columns + dc
        table.append(np.where((r >= 0) & (r < side) & (c >= 0) & (c < side), r * side + c, -1))
    return np.array(table)


@lru_cache(maxsize=8)
def _terms(cells: int, k: int) -> Integers:
    """``terms[c, i]`` = C(c, i + 1), shape (cells, k)."""
    return np.array([[comb(c, i + 1) for i in range(k)] for c in range(cells)], np.int64).reshape(cells, k)


def number_of(placements: Integers, cells: int) -> Integers:
    """The numbers of sorted placements (n, k) among all C(cells, k): the combinatorial number system, from 0."""
    k = placements.shape[1]
    return _terms(cells, k)[placements, np.arange(k)].sum(1)


class Placements:
    """All placements of k equal blocks on a floor of side² cells, P = C(side², k) of them.

    Attributes:
        cells: the blocks' cells in rising order, (P, k).
        occupied: the same as bits, (P,): bit c is set where a block stands on cell c.
        moved: ``moved[p, c, d]`` is the placement after the block on cell c went one cell in direction d, −1 where
            there is no block, the wall or another of these blocks; (P, side², 4) int32.
    """

    def __init__(self, side: int, k: int) -> None:
        cells = side**2
        listed = np.array(list(combinations(range(cells), k)), np.int64).reshape(comb(cells, k), k)
        self.cells = listed[number_of(listed, cells).argsort()]
        self.occupied = (np.int64(1) << self.cells).sum(1)
        self.moved = np.full((len(self.cells), cells, 4), -1, np.int32)
        for block in range(k):
            here = self.cells[:, block]
            for direction, beside in enumerate(neighbours(side)):
                there = beside[here]
                free = (there >= 0) & ((self.occupied >> there.clip(0)) & 1 == 0)
                after = self.cells[free]
                after[:, block] = there[free]
                after.sort(1)
                self.moved[free, here[free], direction] = number_of(after, cells)
