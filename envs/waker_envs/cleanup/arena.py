"""The clean-up family without its physics: θ and its distribution, sizes, goals, and the arithmetic of the reward.

Read by the MuJoCo environments of this package and, for θ, by ``waker_envs.grids.cleanup``; imports no simulator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from waker_envs.api import FiniteThetaSpace, Parameter, Suite

ARENAS = 5
"""Sizes of arena in training, 0 … 4; arena 5, the out-of-distribution one, is as large as arena 4."""
MAX_BLOCKS = 5
GOAL_WIDTH = 0.5
"""Width of a goal, metres: a strip along the left or the right wall."""
TASKS = ("sort", "sort-reversed", "push")
PER_METRE = 100.0
INSIDE = 0.5


def cleanup_theta_space(
    size: str, otherwise: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> FiniteThetaSpace:
    """θ = (arena, n_green, n_blue): all points, their probabilities under DR, hard sets and the suites.

    DR draws the arena a uniformly, the number of blocks uniformly in 0 … a and the green ones uniformly in 0 … that
    number (Rigter, Jiang & Posner 2024, appendix on domains).

    Args:
        size: what the parameter ``arena`` means in this family, for people.
        otherwise: suites of all points in environments made otherwise: constructor arguments by the suite's name.
    """
    points, weights = [], []
    for arena in range(ARENAS):
        for total in range(arena + 1):
            for green in range(total + 1):
                points.append((arena, green, total - green))
                weights.append(1 / ARENAS / (arena + 1) / (total + 1))
    return FiniteThetaSpace(
        [
            Parameter("arena", size),
            Parameter("n_green", "green blocks", "blocks"),
            Parameter("n_blue", "blue blocks", "blocks"),
        ],
        points,
        weights,
        hard=[(4, green, 4 - green) for green in range(5)],
        hardest=(4, 2, 2),
        suites={
            "5-blocks": [(5, green, 5 - green) for green in range(6)],
            **{name: Suite(np.array(points, float), arguments) for name, arguments in otherwise.items()},
        },
    )


def half_size(arena: int) -> float:
    """Half the side of the square inside the walls, metres: 0.7, 0.875, 1.05, 1.225, 1.4, 1.4."""
    return 0.7 + 0.175 * min(arena, ARENAS - 1)


def goal_x(half: float) -> float:
    """x of the middle of the right goal, metres; the left one's is its negative."""
    return half - GOAL_WIDTH / 2


def standing(half: float, green: Sequence[float], blue: Sequence[float]) -> tuple[list[float], list[float]]:
    """How far the blocks are from where each task wants them.

    Args:
        half: half-size of the arena, metres.
        green, blue: x of the blocks' centres, metres.

    Returns:
        For each of :data:`TASKS`, Σ|x_block − x_goal| in metres, x_goal being the middle of the strip; and the fraction
        of blocks whose centre is within their strip, in [0, 1], 1 without blocks.
    """
    goal, edge = goal_x(half), GOAL_WIDTH / 2
    gl, gr = [abs(x + goal) for x in green], [abs(x - goal) for x in green]
    bl, br = [abs(x + goal) for x in blue], [abs(x - goal) for x in blue]
    gl_in, gr_in = sum(d <= edge for d in gl), sum(d <= edge for d in gr)
    bl_in, br_in = sum(d <= edge for d in bl), sum(d <= edge for d in br)
    gr_sum, br_sum = sum(gr), sum(br)
    distances = [sum(gl) + br_sum, gr_sum + sum(bl), gr_sum + br_sum]
    n = len(gl) + len(bl)
    if n == 0:
        return distances, [1.0, 1.0, 1.0]
    return distances, [(gl_in + br_in) / n, (gr_in + bl_in) / n, (gr_in + br_in) / n]
