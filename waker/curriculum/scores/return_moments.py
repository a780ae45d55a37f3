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
        self._since: list[Ints] = []  # whose sums are not 0; the work of a look is that of the θ it is about

    def add(self, ids: Ints, returns: Floats) -> None:
        """Returns (R, S) of start states of the θ ``ids`` (R,)."""
        fresh = ids[np.isnan(self._first[ids])]
        self._first[fresh] = returns[np.isnan(self._first[ids]), 0]
        about = returns - self._first[ids, None]  # so that no difference of large numbers is squared
        for sums, x in zip(self._sums, (np.ones_like(about), about, about**2), strict=True):
            np.add.at(sums, ids, x.sum(1))
        self._rollouts = returns.shape[1]
        self._since.append(ids)

    def learnability(self) -> Floats:
        """Of all returns since the last look, (M,), of θ without any those of earlier; NaN for θ that never had any."""
        at = np.unique(np.concatenate(self._since)) if self._since else np.zeros(0, np.int64)
        count, first, squares = self._sums[:, at]
        about = first / count
        self._moments[:, at] = self._first[at] + about, np.sqrt(np.maximum(squares / count - about**2, 0.0))
        self._sums[:, at], self._first[at], self._since = 0.0, np.nan, []
        known = np.flatnonzero(~np.isnan(self._moments[0]))
        scores = np.full(self._sums.shape[1], np.nan)
        if len(known):
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
        self._since = [np.flatnonzero(self._sums[0])]
