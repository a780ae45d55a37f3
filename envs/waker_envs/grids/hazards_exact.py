"""Exact solutions of GridHazards: the table of a room, its optimal values, and forward predictions.

Called by :class:`waker_envs.grids.hazards.GridHazards` alone; tested against brute-force enumeration.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.layouts import HAZARD, N_ACTIONS, TILES, WALL, Layout, make_layout
from waker_envs.tabular import action_values


@lru_cache(maxsize=1024)
def room_table(
    frame: int, rows: int, columns: int, hazards: int, index: int, slip: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """A room as the table of its dynamics over the S cells where an agent is seen: all but walls.

    On a hazard the episode has ended: nothing goes on there, and nothing is earned.

    Returns:
        The cells (S,); P(next cell and the episode goes on | action, cell), (5, S, S); the expected reward of each
        task, (3, 5, S). Read-only.
    """
    layout = make_layout(frame, rows, columns, hazards, index)
    cells = np.flatnonzero(layout.kinds != WALL)
    alive = layout.kinds[cells] != HAZARD
    arrive = np.eye(len(layout.kinds))[np.asarray(layout.moves)[:, cells]]  # (5, S, n²)
    reach = ((1 - slip) * arrive + slip * arrive.mean(0)) * alive[:, None]
    tiles = np.array([layout.kinds == tile for tile in TILES], np.float64)  # (3, n²)
    found = cells, reach[:, :, cells] * alive, np.einsum("asc,kc->kas", reach, tiles)
    for array in found:
        array.setflags(write=False)
    return found


@lru_cache(maxsize=1024)
def cell_values(
    frame: int, rows: int, columns: int, hazards: int, index: int, slip: float, task: int, length: int
) -> NDArray[np.float64]:
    """Q[t, a, s] of one task as :func:`waker_envs.tabular.action_values` has it, over all cells of the frame.

    Returns:
        Shape (length, 5, frame²), read-only; 0 for wall and hazard cells, where no step is taken.
    """
    cells, move, reward = room_table(frame, rows, columns, hazards, index, slip)
    q = np.zeros((length, N_ACTIONS, frame * frame))
    q[:, :, cells] = action_values(move, reward[[task]], length)[:, 0]
    q.setflags(write=False)
    return q


def forward(layout: Layout, slip: float, cell: int, actions: NDArray[np.int64]) -> NDArray[np.float64]:
    """The distribution of the agent's cell after each action of an open-loop sequence.

    Args:
        cell: where the agent stands before the first action; a hazard means that the episode is over.
        actions: shape (k,).

    Returns:
        Shape (k, n²), rows summing to 1. Mass on a hazard stays there.
    """
    moves = np.asarray(layout.moves)
    hazard = layout.kinds == HAZARD
    here = np.zeros(len(layout.kinds))
    here[cell] = 1.0
    rows = np.empty((len(actions), len(here)))
    for k, action in enumerate(actions):
        walking, stopped = np.where(hazard, 0.0, here), np.where(hazard, here, 0.0)
        there = stopped
        np.add.at(there, moves[action], (1 - slip) * walking)
        if slip:
            np.add.at(there, moves, np.broadcast_to(slip / N_ACTIONS * walking, moves.shape))
        rows[k] = here = there
    return rows
