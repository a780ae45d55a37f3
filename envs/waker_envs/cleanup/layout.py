"""Where blocks and robot stand when an episode of the clean-up family begins. Called by ``cleanup.base``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from waker_envs.cleanup.arena import GOAL_WIDTH

BLOCK_GAP = 0.35
"""Free space between two blocks, metres: as much as the robot is long."""
ROBOT_GAP = 0.2
"""Free space between the robot's circle and the nearest block or wall, metres."""
_TRIES = 32
"""Candidates for one place before the whole layout is begun anew."""
_LAYOUTS = 100

_Point = tuple[float, float]


def draw_layout(
    rng: np.random.Generator, n: int, half: float, block: float, robot: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Draw places one after the other, each uniformly among those that keep the distances to the ones before.

    Blocks stand parallel to the walls, whole within them and whole outside the goals, :data:`BLOCK_GAP` apart; the
    robot's centre is between the goals, its circle :data:`ROBOT_GAP` from every block and wall. The blocks are
    shuffled at the end, so that no block's place tells its number.

    Args:
        n: number of blocks.
        half: half-size of the arena, metres.
        block: half-size of a block, metres.
        robot: radius of the robot, metres.

    Returns:
        The blocks' centres (n, 2), the robot's centre (2,), metres, and its heading in [−π, π).

    Raises:
        RuntimeError: 100 layouts in a row came to a dead end; one in a hundred does so in a typical θ and four in ten
            with five blocks, the worst case.
    """
    for _ in range(_LAYOUTS):
        drawn = attempt(rng, n, half, block, robot)
        if drawn is not None:
            blocks, centre = drawn
            return rng.permutation(blocks), centre, float(rng.uniform(-math.pi, math.pi))
    raise RuntimeError(f"{n} blocks of half-size {block} do not fit between the goals of an arena of half-size {half}")


def attempt(
    rng: np.random.Generator, n: int, half: float, block: float, robot: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """One layout, blocks (n, 2) and robot (2,), or None where a place was not found."""
    # The smallest arena has 0.4 m between its goals: a block of CleanUp just fills it, and it never holds any.
    reach_x, reach_y = max(half - GOAL_WIDTH - block, 0.0), half - block
    placed: list[_Point] = []
    for _ in range(n):
        # Squares keep the gap if they do so as a point and a square of twice the size.
        found = _place(rng, reach_x, reach_y, placed, 2 * block, BLOCK_GAP)
        if found is None:
            return None
        placed.append(found)
    centre = _place(rng, half - GOAL_WIDTH, half - ROBOT_GAP - robot, placed, block, robot + ROBOT_GAP)
    return None if centre is None else (np.array(placed).reshape(n, 2), np.array(centre))


def _place(
    rng: np.random.Generator,
    reach_x: float,
    reach_y: float,
    squares: list[tuple[float, float]],
    half: float,
    gap: float,
) -> _Point | None:
    """The first random point that is ``gap`` from all squares of half-size ``half``; None if there was none."""
    for u, v in rng.uniform(-1.0, 1.0, (_TRIES, 2)).tolist():
        x, y = reach_x * u, reach_y * v
        if all(math.hypot(max(abs(x - a) - half, 0.0), max(abs(y - b) - half, 0.0)) >= gap for a, b in squares):
            return x, y
    return None
