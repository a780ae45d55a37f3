"""Exact solutions of GridHazards: optimal values by dynamic programming, and forward predictions.

Called by :class:`waker_envs.grids.hazards.GridHazards` alone; tested against brute-force enumeration.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.layouts import HAZARD, N_ACTIONS, TILES, WALL, Layout, make_layout


@lru_cache(maxsize=1024)
def action_values(
    frame: int, rows: int, columns: int, hazards: int, index: int, slip: float, tile: int, length: int
) -> NDArray[np.float64]:
    """Q[t, a, s]: the best expected sum of rewards from step t on, after action a in cell s.

    Backward induction over the remaining steps. Entering a hazard ends the episode and so is worth 0; a step
    that ends on the tile earns 1.

    Returns:
        Shape (length, 5, frame²), read-only; meaningless for wall and hazard cells, where no step is taken.
    """
    layout = make_layout(frame, rows, columns, hazards, index)
    alive = (layout.kinds != HAZARD).astype(np.float64)
    earned = (layout.kinds == tile).astype(np.float64)
    moves = np.asarray(layout.moves)  # (5, n²)
    q = np.empty((length, N_ACTIONS, frame * frame))
    value = np.zeros(frame * frame)
    for t in reversed(range(length)):
        after = (earned + alive * value)[moves]  # (5, n²): worth of arriving where each action leads
        q[t] = (1 - slip) * after + slip * after.mean(0)
        value = q[t].max(0)
    q.setflags(write=False)
    return q


@lru_cache(maxsize=1024)
def room_table(
    frame: int, rows: int, columns: int, hazards: int, index: int, slip: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """A room as the table of its dynamics over the S cells where an episode can be: neither wall nor hazard.

    Returns:
        The cells (S,); P(next cell and the episode goes on | action, cell), (5, S, S); the expected reward of each
        task, (3, 5, S). Read-only.
    """
    layout = make_layout(frame, rows, columns, hazards, index)
    cells = np.flatnonzero((layout.kinds != WALL) & (layout.kinds != HAZARD))
    arrive = np.eye(len(layout.kinds))[np.asarray(layout.moves)[:, cells]]  # (5, S, n²)
    reach = (1 - slip) * arrive + slip * arrive.mean(0)
    tiles = np.array([layout.kinds == tile for tile in TILES], np.float64)  # (3, n²)
    found = cells, np.ascontiguousarray(reach[:, :, cells]), np.einsum("asc,kc->kas", reach, tiles)
    for array in found:
        array.setflags(write=False)
    return found


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
