"""Small edits of a θ: what ACCEL mutates a level by."""

from __future__ import annotations

from typing import Literal

import numpy as np

from waker.curriculum.api import Floats, Ints
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Theta

BOX_EDIT = 0.05
"""Half the width of an edit of a coordinate, as a share of its range."""
Parents = Literal["batch", "lowest-regret", "highest-regret"]


def walked(space: FiniteThetaSpace, theta_id: int, edits: int, rng: np.random.Generator) -> int:
    """The end of a random walk of ``edits`` steps over neighbours; a θ without neighbours stays."""
    for _ in range(edits):
        near = space.neighbour_ids(theta_id)
        if not len(near):
            break
        theta_id = int(near[rng.integers(len(near))])
    return theta_id


def moved(space: BoxThetaSpace, theta: Theta, edits: int, rng: np.random.Generator) -> Floats:
    """θ after ``edits`` edits, (D,): each adds U(−σ, σ) to one coordinate, σ 5 % of its range, and clips to the box."""
    result = np.array(theta, np.float64)
    for _ in range(edits):
        d = int(rng.integers(space.dim))
        result[d] += BOX_EDIT * (space.high[d] - space.low[d]) * rng.uniform(-1.0, 1.0)
    return np.clip(result, space.low, space.high)


def parents(regret: Floats, rule: Parents, most: int = 4) -> Ints:
    """Which slots of a batch get children: one parent for each slot, (n,).

    ``batch``: every slot once (jaxued, minimax). Else the ``most`` slots of lowest or highest regret share the n
    children; of equals the lower slot. dcd calls its rule "easy": of n ≥ 4 slots it takes the four smallest of
    (mean return − |mean advantage|), which are the hardest, of fewer the largest; and until 2023-09-29 its argsort ran
    over an (N, 1) array and gave slot 0 always.

    Args:
        regret: of each slot, (n,).
    """
    n = len(regret)
    if rule == "batch":
        return np.arange(n)
    order = np.argsort(regret if rule == "lowest-regret" else -regret, kind="stable")[:most]
    return np.resize(order, n).astype(np.int64)
