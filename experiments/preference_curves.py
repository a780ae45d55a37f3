"""How the true value of a policy follows a learned one as it leaves its reference: exact curves, and their two forms.

Gao, Schulman and Hilton (2023, arXiv 2210.10760): with d = √KL(π‖π_ref), gold is d (α − β d) for best-of-n and
d (α − β log d) for reinforcement learning. Here nothing is sampled: the policy that is best for a head's rewards less
τ·KL is soft dynamic programming with prior π_ref, and KL, proxy and gold of it follow. R rooms, A actions, C cells.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.exact_model import Rooms
from experiments.preference_lab import at_start
from waker_envs.grids.layouts import HAZARD

Floats = NDArray[np.float64]


class Soft(NamedTuple):
    """Of an episode in each room, (R,): KL(π‖π_ref) of its actions in nats, and sums of both rewards."""

    kl: Floats
    proxy: Floats
    gold: Floats


def soft_optimum(rooms: Rooms, rewards: Floats, true: Floats, temperature: float, reference: Floats) -> Soft:
    """The policy that maximises E Σ r̂ − τ KL(π‖π_ref), valued by both rewards of arriving in cells (R, C).

    Args:
        temperature: τ.
        reference: (R, A, C).
    """
    alive = (rooms.kinds != HAZARD).astype(np.float64)
    value, sums = np.zeros_like(true), [np.zeros_like(true) for _ in range(3)]
    found = [np.zeros(len(true)) for _ in range(3)]
    for left in range(1, int(rooms.length.max()) + 1):
        q = np.einsum("racd,rd->rac", rooms.move, rewards + alive * value)
        top = q.max(1, keepdims=True)
        weight = reference * np.exp((q - top) / temperature)
        total = weight.sum(1, keepdims=True)
        policy = weight / total
        value = (top + temperature * np.log(total))[:, 0]
        cost = (policy * np.log(np.maximum(policy, 1e-300) / reference)).sum(1)
        move = np.einsum("rac,racd->rcd", policy, rooms.move)
        step = np.zeros_like(true), rewards, true
        sums = [np.einsum("rcd,rd->rc", move, now + alive * later) for now, later in zip(step, sums, strict=True)]
        sums[0] = sums[0] + cost
        found = [np.where(rooms.length == left, at_start(rooms, x), old) for x, old in zip(sums, found, strict=True)]
    return Soft(*found)


def best_of_n_kl(n: int) -> float:
    """KL of the best of n draws from its reference, log n − (n − 1)/n, in nats."""
    return math.log(n) - (n - 1) / n


def best_of_n_form(d: float, alpha: float, beta: float) -> float:
    """d (α − β d): best-of-n."""
    return d * (alpha - beta * d)


def learned_form(d: float, alpha: float, beta: float) -> float:
    """d (α − β log d): reinforcement learning."""
    return d * (alpha - beta * math.log(d)) if d > 0 else 0.0


def best_of_n_peak(alpha: float, beta: float) -> tuple[float, float]:
    """Where :func:`best_of_n_form` is largest, and how large."""
    return alpha / (2 * beta), alpha**2 / (4 * beta)


def learned_peak(alpha: float, beta: float) -> tuple[float, float]:
    """Where :func:`learned_form` is largest, and how large."""
    d = math.exp(alpha / beta - 1)
    return d, beta * d
