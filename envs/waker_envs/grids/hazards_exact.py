"""Exact solutions of GridHazards: optimal values by dynamic programming, and forward predictions.

Called by :class:`waker_envs.grids.hazards.GridHazards` alone; tested against brute-force enumeration.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.layouts import HAZARD, N_ACTIONS, Layout, make_layout


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
