"""Means and deviations of returns of each θ, gathered over some updates: what ``ncc`` finds learnability of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from waker.curriculum.api import Floats, Ints, State
from waker.curriculum.scores.simplex import generalised_learnability


class ReturnMoments:
    """Sums of the returns since the last look, and the newest mean and deviation of each θ.

    Args:
        n_theta: M.
    """

    def __init__(self, n_theta: int) -> None:
        self._sums: Floats = np.zeros((3, n_theta))  # n, Σ and Σ² of returns about their first, since the last look
        self._first: Floats = np.full(n_theta, np.nan)
        self._moments: Floats = np.full((2, n_theta), np.nan)  # m and σ, the newest
        self._rollouts = 1  # from one start state

    def add(self, ids: Ints, returns: Floats) -> None:
        """Returns (R, S) of start states of the θ ``ids`` (R,)."""
        fresh = ids[np.isnan(self._first[ids])]
        self._first[fresh] = returns[np.isnan(self._first[ids]), 0]
        about = returns - self._first[ids, None]  # so that no difference of large numbers is squared
        for sums, x in zip(self._sums, (np.ones_like(about), about, about**2), strict=True):
            np.add.at(sums, ids, x.sum(1))
        self._rollouts = returns.shape[1]

    def learnability(self) -> Floats:
        """Of all returns since the last look, (M,), of θ without any those of earlier; NaN for θ that never had any."""
        count = self._sums[0]
        seen, divisor = count > 0, np.maximum(count, 1.0)
        about = self._sums[1] / divisor
        spread = np.sqrt(np.maximum(self._sums[2] / divisor - about**2, 0.0))
        self._moments[:, seen] = (self._first + about)[seen], spread[seen]
        self._sums[:], self._first[:] = 0.0, np.nan
        scores, known = np.full(len(count), np.nan), ~np.isnan(self._moments[0])
        if known.any():
            m, sigma = self._moments[:, known]
            scores[known] = generalised_learnability(m, sigma, self._rollouts)
        return scores

    def state_dict(self) -> State:
        """Sums and moments."""
        own: State = {"sums": self._sums.copy(), "first": self._first.copy(), "moments": self._moments.copy()}
        return own | {"rollouts": self._rollouts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them; other keys are others'."""
        self._sums, self._first = np.array(state["sums"], np.float64), np.array(state["first"], np.float64)
        self._moments, self._rollouts = np.array(state["moments"], np.float64), int(state["rollouts"])
