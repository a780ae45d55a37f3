"""Scores: one number per θ from the credited errors.

Used by :class:`waker.curriculum.composed.ComposedCurriculum`. A new score is a subclass of
:class:`waker.curriculum.api.Score`; it may live in the one file of the sampler that uses it (``named/``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from waker.curriculum.api import UNCHANGED, Floats, Ints, Score, State, Wanted
from waker.curriculum.scores.batches import by_theta, positions

_FEW = 16
"""Repeated θ of a batch up to which their samples are taken one by one: the closed form costs as much."""


def credit(estimate: Floats, theta_id: Ints, error: Floats, decay: float | Floats) -> tuple[Ints, Floats, Ints]:
    """A batch of running-average updates e ← γ·e + (1−γ)·x in closed form.

    For a θ with samples x_1 … x_n in batch order, e_n = γⁿ·e_0 + (1−γ)·Σ_i γ^(n−i)·x_i; a θ without an estimate
    starts from e_0 = x_1. Equal to the loop over samples to rounding, in O(N log N) and a fixed number of numpy calls,
    whatever M is.

    Args:
        estimate: e_0, shape (M,), NaN where unknown; not changed.
        theta_id: shape (N,), each in 0 … M−1.
        error: x, shape (N,).
        decay: γ, 0 ≤ γ < 1; one for all, or each θ's own, shape (M,).

    Returns:
        The n different ids of the batch in ascending order, their new estimates (n,), and how many samples each got
        (n,).
    """
    n = len(theta_id)
    if n == 0:
        return theta_id, np.zeros(0), np.zeros(0, np.int64)
    ids, first, count, order, begins = by_theta(theta_id)
    x, old = error[order], estimate[ids]
    if math.isnan(old.sum()):  # some have no estimate yet: from e_0 = x_1 the first sample leaves e = x_1
        old = np.where(np.isnan(old), x[first], old)
    if n - len(ids) <= _FEW:
        gamma = decay[ids] if isinstance(decay, np.ndarray) else np.full(len(ids), decay)
        fresh = gamma * old + (1.0 - gamma) * x[first]
        for at in (~begins).nonzero()[0].tolist():
            k = int(first.searchsorted(at, "right")) - 1
            fresh[k] = gamma[k] * fresh[k] + (1.0 - gamma[k]) * x[at]
        return ids, fresh, count
    later = (first + count - 1).repeat(count) - positions(n)  # samples of the same θ after this one
    if isinstance(decay, np.ndarray):
        each: Floats = decay[ids]
        weight, fading, share = each.repeat(count) ** later, each**count, 1.0 - each
    else:
        powers = _powers(decay, 1 << n.bit_length())
        weight, fading, share = powers[later], powers[count], np.asarray(1.0 - decay)
    return ids, fading * old + share * np.add.reduceat(weight * x, first), count


@lru_cache(maxsize=4)
def _powers(base: float, n: int) -> Floats:
    """base⁰ … base^(n − 1); not to be written to."""
    return np.power(base, np.arange(n, dtype=np.float64))


class Magnitude(Score):
    """The running mean error of each θ: waker-m's score, and the estimate that every sampler reports.

    Args:
        n_theta: M.
        decay: γ per credited sample; one for all, or each θ's own, shape (M,).

    Attributes:
        estimate: e(θ), shape (M,), NaN until the first credit.
        credits: samples credited to each θ, shape (M,).
    """

    def __init__(self, n_theta: int, decay: float | Floats = 0.9999) -> None:
        self.decay = decay
        self.estimate: Floats = np.full(n_theta, np.nan)
        self.credits: Ints = np.zeros(n_theta, np.int64)

    def observe(self, theta_id: Ints, error: Floats, step: int) -> Ints:
        """Credit a batch (:func:`credit`)."""
        ids, fresh, count = credit(self.estimate, theta_id, error, self.decay)
        self.estimate[ids] = fresh
        self.credits[ids] += count
        return ids

    def at(self, theta_id: Ints) -> Floats:
        """e of these θ."""
        return self.estimate[theta_id]

    def values(self) -> Floats:
        """e(θ), shape (M,)."""
        return self.estimate.copy()

    def state_dict(self) -> State:
        """Estimates and credits."""
        return {"estimate": self.estimate.copy(), "credits": self.credits.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.estimate = np.array(state["estimate"], np.float64)
        self.credits = np.array(state["credits"], np.int64)


class Reduction(Score):
    """The running rate at which the error of each θ falls: waker-r's score (Rigter et al. 2024).

    Marks are the multiples of ``interval`` agent steps from ``start`` on that come after the first credited batch. At
    the first batch observed at or after a mark (several missed ones count as one), with e the magnitude's present
    estimate: Δ = e_prev − e for each θ that had an e_prev; r ← (1 − rate)·r + rate·Δ, from r = 0; then e_prev ← e.

    So the first mark only takes e_prev, and r is known from the second on: with the published prefill of 100,000 steps
    at 110,000 and 120,000. A mark at the first batch itself would know the few θ of that batch alone, and they would
    get nearly all episodes until the third. A θ whose first credit falls between two
    marks has no e_prev at the next one, so it gets its first r one mark later; until then it is sampled through the
    mixture's DR share alone (the authors' code does the same).

    Args:
        magnitude: whose estimates are followed. Read only: whoever owns it must let it observe each batch *before*
            this score does.
        interval, start: in agent steps.
        rate: weight of the newest Δ; no bias correction, as published.
    """

    def __init__(self, magnitude: Magnitude, interval: int = 10_000, start: int = 50_000, rate: float = 0.05) -> None:
        self.magnitude = magnitude
        self.interval, self.rate = interval, rate
        self.start = start
        self.next_mark = 0  # until something has been credited
        self.previous: Floats = np.full(len(magnitude.estimate), np.nan)
        self.reduction: Floats = np.full(len(magnitude.estimate), np.nan)

    def observe(self, theta_id: Ints, error: Floats, step: int) -> Ints | None:
        """Measure the reductions when a mark has been reached: then, and only then, any of them may change."""
        if self.next_mark == 0 and self.magnitude.credits.any():
            self.next_mark = self.interval * math.ceil(max(self.start, step + 1) / self.interval)
        if self.next_mark == 0 or step < self.next_mark:
            return UNCHANGED
        self.next_mark += self.interval * ((step - self.next_mark) // self.interval + 1)
        delta = self.previous - self.magnitude.estimate  # NaN where e_prev is unknown
        old = np.where(np.isnan(self.reduction), 0.0, self.reduction)
        fresh = (1.0 - self.rate) * old + self.rate * delta
        self.reduction = np.where(np.isnan(delta), self.reduction, fresh)
        self.previous = self.magnitude.estimate.copy()
        return None

    def values(self) -> Floats:
        """r(θ), shape (M,)."""
        return self.reduction.copy()

    def state_dict(self) -> State:
        """e_prev, r and the next mark; the magnitude's state belongs to its owner."""
        return {"previous": self.previous.copy(), "reduction": self.reduction.copy(), "next_mark": self.next_mark}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them; the magnitude's state comes first.

        States of before marks waited for a credit go on with the marks they have; without a credit they have none.
        """
        self.previous = np.array(state["previous"], np.float64)
        self.reduction = np.array(state["reduction"], np.float64)
        self.next_mark = int(state["next_mark"]) if self.magnitude.credits.any() else 0


class Visits(Score):
    """1 for each θ that has been sampled or has had an episode, NaN for the others: gradual expansion's score."""

    def __init__(self, n_theta: int) -> None:
        self.visited = np.zeros(n_theta, np.bool_)

    def sampled(self, theta_id: Ints) -> Ints:
        """Mark what was handed out."""
        return self._visit(theta_id)

    def episode(self, theta_id: int, stats: Mapping[str, float]) -> Ints:
        """Mark θ that others chose (a prefill that did not ask this curriculum)."""
        return self._visit(np.array([theta_id]))

    def _visit(self, theta_id: Ints) -> Ints:
        fresh = np.unique(theta_id[~self.visited[theta_id]])
        self.visited[fresh] = True
        return fresh

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return np.where(self.visited[theta_id], 1.0, np.nan)

    def values(self) -> Floats:
        """Shape (M,)."""
        return np.where(self.visited, 1.0, np.nan)

    def state_dict(self) -> State:
        """Which θ have been visited."""
        return {"visited": self.visited.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.visited = np.array(state["visited"], np.bool_)


class Measured(Score):
    """The newest measurement of each θ: the score of ``error-oracle`` and ``regret-oracle``.

    Args:
        n_theta: M.
        wanted: what is measured, and when.
    """

    def __init__(self, n_theta: int, wanted: Wanted) -> None:
        self.wanted = wanted
        self.newest: Floats = np.full(n_theta, np.nan)

    def measured(self, values: Floats, step: int) -> None:
        """Forget the one before, which was of another model. What is not finite counts as unknown."""
        self.newest = np.where(np.isfinite(values), values, np.nan)

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self.newest[theta_id]

    def values(self) -> Floats:
        """Shape (M,), NaN until the first measurement."""
        return self.newest.copy()

    def state_dict(self) -> State:
        """The newest measurement."""
        return {"newest": self.newest.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.newest = np.array(state["newest"], np.float64)
