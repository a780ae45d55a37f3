"""Where GridCleanUp's goals lie: beside the room as in training, exchanged, or at its other two walls.

Each is the training room under a symmetry of the square, with actions that go along: other things are seen and other
actions needed, and nothing is harder. The best return of an episode is exactly that of the same episode in training.

Called by :mod:`waker_envs.grids.cleanup` and ``cleanup_small``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from waker_envs.grids.pushing import STAY

Goals = Literal["sides", "swapped", "ends"]
GOALS: tuple[Goals, ...] = get_args(Goals)
_BECOMES = {"sides": (0, 1, 2, 3), "swapped": (0, 3, 2, 1), "ends": (3, 2, 1, 0)}
"""What up, right, down and left become: swapped exchanges left and right; ends mirrors in the falling diagonal."""


class Symmetry(NamedTuple):
    """A symmetry of the square that is its own inverse.

    Attributes:
        cells: where each cell of the frame goes, shape (frame²,); walls around the room stay.
        actions: what each action becomes, shape (9,).
    """

    cells: NDArray[np.int64]
    actions: NDArray[np.int64]


@lru_cache(maxsize=64)
def symmetry(goals: Goals, side: int, frame: int) -> Symmetry:
    """What makes this room of a training room, and a training room of it.

    Args:
        side: the room is the top-left ``side`` × ``side`` cells.
        frame: n; cells are numbered row by row in an n × n square.
    """
    cells = np.arange(frame**2).reshape(frame, frame)
    if goals == "swapped":
        cells[:, :side] = cells[:, :side][:, ::-1].copy()
    elif goals == "ends":
        cells = cells.T
    actions = [STAY, *(first + direction for first in (1, 5) for direction in _BECOMES[goals])]
    found = Symmetry(cells.ravel(), np.array(actions, np.int64))
    for array in found:
        array.setflags(write=False)
    return found
