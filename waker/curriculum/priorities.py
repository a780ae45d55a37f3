"""Priorities: pure maps from scores (M,) to a distribution over θ (M,).

Used by :class:`waker.curriculum.composed.ComposedCurriculum`. All give probability 0 to a θ without a score
(NaN), and None where no θ has one: the curriculum then falls back to domain randomisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats

Normalise = Literal["zscore", "mean-abs"]


def zscore(scores: Floats) -> Floats:
    """(s − mean)/(std + 1e-6) with the population's standard deviation (waker-m of arXiv 2306.09205)."""
    return np.asarray((scores - scores.mean()) / (scores.std() + 1e-6))


def mean_abs(scores: Floats) -> Floats:
    """s / mean(|s|) (waker-r, as published with arXiv 2306.09205); zeros stay zeros when every score is 0."""
    scale = abs(scores).mean()
    return np.asarray(scores / scale) if scale > 0 else np.zeros_like(scores)


_NORMALISERS: dict[str, Callable[[Floats], Floats]] = {"zscore": zscore, "mean-abs": mean_abs}


class Boltzmann:
    """p ∝ exp(z/η) over the θ that have a score.

    Args:
        eta: temperature η > 0.
        normalise: how z is made from the scores.
        groups: one integer a θ, shape (M,), the domain it belongs to. z is then computed inside each domain and each
            domain with at least one scored θ gets the same total probability, however many θ it has.
            None = one domain.
    """

    def __init__(
        self, eta: float, normalise: Normalise = "zscore", groups: NDArray[np.integer[Any]] | None = None
    ) -> None:
        self.eta = eta
        self.groups = groups
        self._normalise = _NORMALISERS[normalise]

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        known = ~np.isnan(scores)
        if not known.any():
            return None
        groups = np.zeros(len(scores), np.int64) if self.groups is None else self.groups
        present = np.unique(groups[known])
        p = np.zeros(len(scores))
        for group in present:
            members = known & (groups == group)
            logits = self._normalise(scores[members]) / self.eta
            weights = np.exp(logits - logits.max())  # the largest becomes 1: no overflow at small η
            p[members] = weights / (weights.sum() * len(present))
        return p


class Rank:
    """p ∝ rank^(−1/β), rank 1 for the highest score (PLR, Jiang et al. 2021, arXiv 2010.03934).

    Args:
        beta: temperature β > 0. Equal scores are ranked by θ's id, lower first.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        known = np.flatnonzero(~np.isnan(scores))
        if not len(known):
            return None
        best_first = known[np.argsort(-scores[known], kind="stable")]
        weights = np.arange(1, len(known) + 1, dtype=np.float64) ** (-1.0 / self.beta)
        p = np.zeros(len(scores))
        p[best_first] = weights / weights.sum()
        return p


class TopK:
    """Uniform over the k highest scores (over all scored θ where they are fewer).

    Args:
        k: at least 1. Equal scores are ranked by θ's id, lower first.
    """

    def __init__(self, k: int) -> None:
        self.k = k

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        known = np.flatnonzero(~np.isnan(scores))
        if not len(known):
            return None
        chosen = known[np.argsort(-scores[known], kind="stable")[: self.k]]
        p = np.zeros(len(scores))
        p[chosen] = 1.0 / len(chosen)
        return p


class Restrict:
    """A fixed distribution, restricted to the θ that have a score and renormalised.

    Gradual expansion is ``Visits × Restrict(DR weights)``.

    Args:
        weights: shape (M,), not negative.
    """

    def __init__(self, weights: Floats) -> None:
        self.weights = weights

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`; None also where the scored θ have no weight."""
        p: Floats = np.where(np.isnan(scores), 0.0, self.weights)
        total = float(p.sum())
        return p / total if total > 0 else None


class Fixed:
    """A fixed distribution that looks at no score: an expert's choice.

    Args:
        weights: shape (M,), not negative, not all zero; normalised here.
    """

    def __init__(self, weights: Floats) -> None:
        self.weights: Floats = weights / weights.sum()

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        return self.weights.copy()
