"""Room layouts of GridHazards: where walls, hazards and tiles are. Pure functions of (rows, columns, hazards, index).

Called by :mod:`waker_envs.grids.hazards` at every reset and by its exact solutions. A layout knows nothing of
slip, so rooms that differ only in slip share their layouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

STAY, UP, RIGHT, DOWN, LEFT = range(5)
N_ACTIONS = 5
STEPS = ((0, 0), (-1, 0), (0, 1), (1, 0), (0, -1))
"""(row, column) displacement of each action."""

FLOOR, WALL, HAZARD, GREEN, BLUE, RED = range(6)
TILES = (GREEN, BLUE, RED)
"""Cell kinds of the coloured tiles, in the order of the tasks."""


@dataclass(frozen=True)
class Layout:
    """One room in its frame of n × n cells. Cells are numbered row by row.

    Attributes:
        kinds: shape (n²,), FLOOR … RED.
        moves: ``moves[action][cell]`` is the cell that action leads to; walls and the frame stop a move.
        starts: the floor cells an episode may start from.
    """

    kinds: NDArray[np.int64]
    moves: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]


def hazard_count(cells: int, density: float) -> int:
    """Hazards in a room: density · cells rounded half up, and at least one when the density is positive."""
    return max(int(density * cells + 0.5), int(density > 0))


def fits(rows: int, columns: int, density: float) -> bool:
    """Whether three tiles and a start have a place beside the hazards."""
    cells = rows * columns
    return hazard_count(cells, density) <= cells - len(TILES) - 1


def check_room(rows: int, columns: int, density: float) -> None:
    """Refuse a room too full for three tiles and a start.

    Raises:
        ValueError: naming the largest density that fits.
    """
    cells = rows * columns
    most = cells - len(TILES) - 1
    if not fits(rows, columns, density):
        raise ValueError(
            f"hazard density {density:g} leaves no room for three tiles and a start in a room of {rows} × {columns} "
            f"cells; at most {most / cells:.2f} fits"
        )


def _connected(free: set[tuple[int, int]]) -> bool:
    """Whether the cells form one region under the four moves."""
    if not free:
        return True
    seen, front = set(), [next(iter(free))]
    while front:
        cell = front.pop()
        if cell in seen:
            continue
        seen.add(cell)
        front += [c for dr, dc in STEPS[1:] if (c := (cell[0] + dr, cell[1] + dc)) in free]
    return len(seen) == len(free)


def _place_hazards(rng: np.random.Generator, rows: int, columns: int, count: int) -> set[tuple[int, int]]:
    """Draw hazards one after another so that the rest of the room always stays one region.

    A connected graph keeps a vertex whose removal leaves it connected, so this never gets stuck (where
    rejecting whole rooms would take ever longer as the density grows).
    """
    free = {(r, c) for r in range(rows) for c in range(columns)}
    hazards: set[tuple[int, int]] = set()
    while len(hazards) < count:
        order = sorted(free)
        for i in rng.permutation(len(order)):
            cell = order[i]
            if _connected(free - {cell}):
                free.remove(cell)
                hazards.add(cell)
                break
    return hazards


@lru_cache(maxsize=4096)
def make_layout(frame: int, rows: int, columns: int, hazards: int, index: int) -> Layout:
    """The layout number ``index`` of rooms with these sides and this number of hazards.

    The room occupies the top-left ``rows`` × ``columns`` cells of a ``frame`` × ``frame`` square, the rest is wall.
    Every cell that is neither wall nor hazard can be reached from every other without touching a hazard.

    Args:
        frame: n ≥ both sides; does not change the room itself.
        index: any integer ≥ 0.
    """
    # A square room is drawn from its one side, so that it is the same as before there were oblong ones.
    sides = [rows] if rows == columns else [rows, columns]
    rng = np.random.default_rng([*sides, hazards, index])
    kinds = np.full((frame, frame), WALL, np.int64)
    kinds[:rows, :columns] = FLOOR
    for cell in _place_hazards(rng, rows, columns, hazards):
        kinds[cell] = HAZARD
    flat = kinds.ravel()
    flat[rng.choice(np.flatnonzero(flat == FLOOR), len(TILES), replace=False)] = TILES
    flat.setflags(write=False)
    return Layout(flat, _move_table(kinds), tuple(np.flatnonzero(flat == FLOOR).tolist()))


def _move_table(kinds: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    n = len(kinds)
    table = []
    for dr, dc in STEPS:
        row = []
        for r in range(n):
            for c in range(n):
                r2, c2 = r + dr, c + dc
                open_cell = 0 <= r2 < n and 0 <= c2 < n and kinds[r2, c2] != WALL
                row.append(r2 * n + c2 if open_cell else r * n + c)
        table.append(tuple(row))
    return tuple(table)
