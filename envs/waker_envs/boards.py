"""Observations that show a board of cells: which keys of a Dict observation share one grid.

A family says so by its attribute ``observation_board``; a world model may then keep the grid in its latent state. A
hint for learners, as ``observation_weights`` are: nothing else reads it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gymnasium import spaces


class Board(NamedTuple):
    """A board of ``rows`` × ``columns`` cells, numbered row by row.

    Attributes:
        cells: keys with one categorical variable for each cell, of the same classes everywhere: ``MultiDiscrete([c] *
            (rows * columns))``. At least one.
        places: keys that say where something stands, by its row and column: ``MultiDiscrete([rows, columns])``.
    """

    rows: int
    columns: int
    cells: tuple[str, ...]
    places: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of cells."""
        return self.rows * self.columns


def board_fault(board: Any, space: Any) -> str | None:
    """What is wrong with a family's ``observation_board``, given its observation space; None where nothing is."""
    if not isinstance(board, Board):
        return f"it must be a waker_envs.boards.Board or None, not {type(board).__name__}"
    if not isinstance(space, spaces.Dict):
        return "the observation is no Dict; leave it None"
    if not board.cells:
        return "it names no key of cells"
    if len({*board.cells, *board.places}) < len(board.cells) + len(board.places):
        return "it names a key twice"
    for name in (*board.cells, *board.places):
        key = space.spaces.get(name)
        if key is None:
            return f"the observation has no key {name!r}"
        classes = list(key.nvec) if isinstance(key, spaces.MultiDiscrete) and key.nvec.ndim == 1 else []
        if name in board.places and classes != [board.rows, board.columns]:
            return f"{name!r} is a place and must be MultiDiscrete([{board.rows}, {board.columns}])"
        if name in board.cells and (len(classes) != board.size or len(set(classes)) != 1):
            return f"{name!r} must be MultiDiscrete of {board.size} equal numbers of classes, one for each cell"
    return None
