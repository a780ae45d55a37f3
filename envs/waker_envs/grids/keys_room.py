"""Rooms of GridKeys: where walls, doors, keys and tiles are, and what each action makes of each state.

Called by :mod:`waker_envs.grids.keys`. A room's *stage* counts keys taken and doors opened: 0 at first, 1 with the
first key in hand, 2 when its door stands open, and so on; stage and agent's cell are all there is to know. S states.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
RoomKey = tuple[int, int, int, int, int]
"""What tells a room: frame, rows, columns, doors, number of its layout; see :func:`make_layout`."""

N_ACTIONS = 5
STEPS = ((0, 0), (-1, 0), (0, 1), (1, 0), (0, -1))
"""(row, column) displacement of each action: stay, up, right, down, left."""

FLOOR, WALL, LOCKED, OPEN, KEY, GREEN, BLUE = range(7)
"""Cell classes."""


class Layout(NamedTuple):
    """What of a room stays as it is, in a frame of n × n cells numbered row by row.

    Attributes:
        cells: FLOOR, WALL, GREEN or BLUE, (n²,).
        doors: their cells, from left to right.
        keys: the cell of the key to each door.
    """

    cells: Integers
    doors: tuple[int, ...]
    keys: tuple[int, ...]


class KeyRoom(NamedTuple):
    """A room's states in a fixed order: all that may follow from its first stage.

    Attributes:
        stage, cell: of each state, (S,).
        seen: the classes of all cells at each stage, (stages, n²).
        after: the state that each action leads to, (5, S).
        starts: numbers of the states in which the agent stands on plain floor.
    """

    stage: Integers
    cell: Integers
    seen: Integers
    after: Integers
    starts: Integers


def make_layout(frame: int, rows: int, columns: int, doors: int, index: int) -> Layout:
    """Layout number ``index`` of rooms with these sides.

    Walls of one column divide the room into ``doors`` + 1 chambers, each at least a column wide. Each wall has a door,
    each chamber but the last the key to its right-hand door; the green tile is in the first chamber, the blue one in
    the last.

    Args:
        frame: n ≥ both sides; does not change the room itself.
        rows, columns: at least 3 rows, and ``columns`` ≥ 2 · doors + 1.
        index: any integer ≥ 0.
    """
    rng = np.random.default_rng([rows, columns, doors, index])
    cells = np.full((frame, frame), WALL, np.int64)
    cells[:rows, :columns] = FLOOR
    walls = _wall_columns(rng, columns, doors)
    cells[:rows, walls] = WALL
    gaps = [int(rng.integers(rows)) * frame + wall for wall in walls]
    edges = [-1, *walls, columns]
    chambers = [
        [row * frame + column for row in range(rows) for column in range(left + 1, right)]
        for left, right in zip(edges, edges[1:], strict=False)
    ]
    free = [rng.permutation(chamber).tolist() for chamber in chambers]
    keys = [free[chamber].pop() for chamber in range(doors)]
    flat = cells.ravel()
    flat[free[0].pop()], flat[free[-1].pop()] = GREEN, BLUE
    flat.setflags(write=False)
    return Layout(flat, tuple(gaps), tuple(keys))


def _wall_columns(rng: np.random.Generator, columns: int, doors: int) -> list[int]:
    """Columns of the walls in rising order, with a column of floor beside each; all choices are equally likely."""
    # Without the column of floor that each wall needs on its right, walls are any columns but the first.
    chosen = np.sort(rng.choice(columns - doors - 1, doors, replace=False)) if doors else np.zeros(0, np.int64)
    return (1 + chosen + np.arange(doors)).tolist()


@lru_cache(maxsize=1024)
def key_room(frame: int, rows: int, columns: int, doors: int, index: int) -> KeyRoom:
    """The states of layout number ``index``; see :func:`make_layout`. Read-only."""
    layout = make_layout(frame, rows, columns, doors, index)
    stages = range(2 * doors + 1)
    seen = np.array([_seen(layout, stage) for stage in stages])
    known: dict[tuple[int, int], int] = {}
    after: list[list[int]] = []
    for cell in np.flatnonzero(layout.cells[: frame * frame] != WALL).tolist():
        if _chamber(layout, frame, cell) == 0 and cell not in layout.keys:
            known[0, cell] = len(known)
    for state in (order := list(known)):  # which grows
        row = []
        for action in range(N_ACTIONS):
            found = _moved(layout, frame, *state, action)
            if found not in known:
                known[found] = len(known)
                order.append(found)
            row.append(known[found])
        after.append(row)
    stage, cell = np.array(order, np.int64).T
    starts = np.flatnonzero(seen[stage, cell] == FLOOR)
    room = KeyRoom(stage, cell, seen, np.array(after, np.int64).T.copy(), starts)
    for array in room:
        array.setflags(write=False)
    return room


@lru_cache(maxsize=1024)
def room_table(
    frame: int, rows: int, columns: int, doors: int, index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P(next state | action, state), (5, S, S), and the rewards of the two tiles, (2, 5, S). Read-only."""
    room = key_room(frame, rows, columns, doors, index)
    move = np.eye(len(room.cell))[room.after]
    there = room.seen[room.stage, room.cell][room.after]  # (5, S)
    reward = np.array([there == tile for tile in (GREEN, BLUE)], np.float64)
    for array in (move, reward):
        array.setflags(write=False)
    return move, reward


def _chamber(layout: Layout, frame: int, cell: int) -> int:
    """Which chamber, counted from the left, a cell that is no wall lies in."""
    return sum(cell % frame > door % frame for door in layout.doors)


def _seen(layout: Layout, stage: int) -> Integers:
    """The classes of all cells, (n²,)."""
    cells = layout.cells.copy()
    for number, (door, key) in enumerate(zip(layout.doors, layout.keys, strict=True)):
        cells[door] = OPEN if stage > 2 * number + 1 else LOCKED
        if stage <= 2 * number:
            cells[key] = KEY
    return cells


def _moved(layout: Layout, frame: int, stage: int, cell: int, action: int) -> tuple[int, int]:
    """The stage and the cell after an action: keys are taken by walking on them, doors opened by walking in."""
    (row, column), (down, right) = divmod(cell, frame), STEPS[action]
    if not (0 <= row + down < frame and 0 <= column + right < frame):
        return stage, cell
    there = cell + down * frame + right
    opened, holding = divmod(stage, 2)
    if there in layout.doors:
        door = layout.doors.index(there)
        if door >= opened + holding:
            return stage, cell
        return (stage + 1 if door == opened else stage), there
    if layout.cells[there] == WALL:
        return stage, cell
    taken = not holding and opened < len(layout.keys) and there == layout.keys[opened]
    return stage + int(taken), there
