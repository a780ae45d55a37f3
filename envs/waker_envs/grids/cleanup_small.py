"""GridCleanUpSmall: GridCleanUp in its three smallest rooms, small enough to be written down whole."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import FiniteThetaSpace, Suite
from waker_envs.cleanup.arena import cleanup_theta_space
from waker_envs.grids.cleanup import BLUE, ELSEWHERE, GREEN, GridCleanUp, arena_side, floor_plan, start_of
from waker_envs.grids.cleanup_goals import Goals, symmetry
from waker_envs.grids.cleanup_table import RoomTable, room_table
from waker_envs.successors import Successors, certain_moves
from waker_envs.tabular import Beginning, TabularMDP

ARENAS = 3
"""Sizes of room in training."""
_TO_LEFT = ((True, False), (False, True), (False, False))
"""Of each task, whether green and blue blocks belong to the left wall."""


def small_theta_space() -> FiniteThetaSpace:
    """θ of :func:`waker_envs.cleanup.arena.cleanup_theta_space` whose arena is below :data:`ARENAS`; its own suites."""
    whole = cleanup_theta_space("size of the room: 3 + arena cells a side")
    small = whole.points[:, 0] < ARENAS
    most = ARENAS - 1
    hard = [(most, green, most - green) for green in range(most + 1)]
    suites: dict[str, ArrayLike | Suite] = {
        "3-blocks": [(1, 3, 0), (1, 0, 3)],
        "crowded": [(1, green, 2 - green) for green in range(3)],
        **{name: Suite(whole.points[small], arguments) for name, arguments in ELSEWHERE.items()},
    }
    return FiniteThetaSpace(
        whole.parameters, whole.points[small], whole.weights[small], hard=hard, hardest=(most, 1, 1), suites=suites
    )


class GridCleanUpSmall(GridCleanUp):
    """
    ## Description

    :class:`~waker_envs.grids.cleanup.GridCleanUp` with rooms of 3 × 3 to 5 × 5 cells and at most two blocks: its moves,
    tasks, rewards, observation and start, and its distribution of θ given that the room is small. An episode has 13,800
    states at most, so that it is known as a table and plans in a learned model can be valued exactly.

    ## Action space

    `Discrete(9)`, see :class:`~waker_envs.grids.cleanup.GridCleanUp`.

    ## Observation space

    As GridCleanUp's, in a frame of 5 × 5 cells.

    ## Tasks and rewards

    GridCleanUp's: `sort`, `sort-reversed`, `push`.

    ## Parameters θ

    | # | name    | values      | meaning                                   |
    |---|---------|-------------|-------------------------------------------|
    | 0 | arena   | 0 … 2       | the room has (3 + arena)² cells           |
    | 1 | n_green | 0 … arena   | green blocks; at most `arena` with n_blue |
    | 2 | n_blue  | 0 … arena   | blue blocks                               |

    DR: arena uniform, the number of blocks uniform in 0 … arena, the green ones uniform in 0 … that number. `hardest`
    is (2, 1, 1), `hard` is arena 2 with two blocks of any split. Suites: `3-blocks`, three of one colour in a room of
    4 × 4; `crowded`, two blocks in a room of 4 × 4; `swapped` and `ends`, GridCleanUp's, with this family's θ.

    ## Episode end

    Truncated after 100 steps.

    ## Registered ids

    `waker/GridCleanUpSmall-v0`

    ## Arguments

    Those of GridCleanUp.
    """

    frame = 2 + ARENAS
    theta_space = small_theta_space()

    def tabular(self, theta: ArrayLike, seed: int) -> TabularMDP:
        """The whole episode as a table, whose moves are certain; see :class:`~waker_envs.tabular.TabularMDP`.

        Raises:
            NotImplementedError: pixel observations, which have no categories to tell states by.
            ThetaError: θ is neither in the space nor in a suite.
        """
        rng, _ = seeding.np_random(int(seed))
        # Of this task green blocks belong to the left, blue to the right.
        start = start_of(self._checked(theta), rng, self.frame).room("sort")
        room, table = self._table(start.side, len(start.left), len(start.right))
        return table._replace(start=room.number(start.agent, start.left, start.right))

    def beginnings(self, theta: ArrayLike) -> list[Beginning]:
        """The table of θ, whose episodes begin with nothing in the columns beside the walls, all alike likely.

        Raises:
            NotImplementedError: pixel observations.
            ThetaError: θ is neither in the space nor in a suite.
        """
        arena, green, blue = (int(value) for value in self._checked(theta))
        room, table = self._table(arena_side(arena), green, blue)
        column = np.concatenate([room.agent[:, None], room.green, room.blue], 1) % room.side
        begins = ((column > 0) & (column < room.side - 1)).all(1)
        return [Beginning(table, begins / begins.sum())]

    def _table(self, side: int, green: int, blue: int) -> tuple[RoomTable, TabularMDP]:
        """A room and its table; it begins in the first state."""
        if self.obs_kind == "pixels":
            raise NotImplementedError("a picture has no categories to tell states by")
        room, states, moves, reward = _episode(self.frame, side, green, blue, self.goals)
        return room, TabularMDP(dict(states), moves, reward, 0, self.length)


@lru_cache(maxsize=32)
def _episode(
    frame: int, side: int, green: int, blue: int, goals: Goals
) -> tuple[RoomTable, dict[str, NDArray[np.int64]], Successors, NDArray[np.float64]]:
    """The room, and its states, moves and rewards (K, A, S) as a :class:`~waker_envs.tabular.TabularMDP` has them."""
    room, shown = room_table(side, green, blue), symmetry(goals, side, frame)
    blocks = np.zeros((len(room.agent), frame**2), np.int64)
    for cells, colour in ((room.green, GREEN), (room.blue, BLUE)):
        np.put_along_axis(blocks, in_frame(cells, side, frame), colour, 1)
    states = {
        "agent": np.stack(np.divmod(shown.cells[in_frame(room.agent, side, frame)], frame), 1),
        "blocks": blocks[:, shown.cells],
        "cells": np.broadcast_to(floor_plan(side, frame)[shown.cells], blocks.shape),
    }
    after = room.after[shown.actions]
    earned = []
    for left in _TO_LEFT:
        distance, inside = room.standing(*left)
        fraction = inside / (green + blue) if green + blue else np.ones(len(distance))
        moved = GridCleanUp.PER_CELL * (distance - distance[after])
        earned.append(moved + GridCleanUp.INSIDE * fraction[after])
    return room, states, certain_moves(after), np.array(earned)


def in_frame(cells: NDArray[np.int64], side: int, frame: int) -> NDArray[np.int64]:
    """Cells of a room by their number in the frame."""
    rows, columns = np.divmod(cells, side)
    return np.asarray(rows * frame + columns)
