"""Priorities: pure maps from scores (M,) to a distribution over θ (M,).

Used by :class:`waker.curriculum.composed.ComposedCurriculum`. All give probability 0 to a θ without a score
(NaN, or anything else that is not finite), and None where no θ has one: the curriculum then falls back to domain
randomisation.

``groups``, (M,) integers, are the domains of a θ space that has several (``ThetaSpace.groups``); None = one domain. A
priority then works inside each domain as if there were no other, and each domain in which some θ may be chosen gets the
same total probability, however many θ it has (arXiv 2306.09205).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Priority
from waker.curriculum.priorities.draws import Constant, Draws, Ranked, Restricted
from waker.curriculum.priorities.exponential import Exponential

Normalise = Literal["zscore", "mean-abs"]
Groups = NDArray[np.integer[Any]] | None
"""The domain of each θ, (M,); None = one domain."""


@runtime_checkable
class Drawable(Priority, Protocol):
    """A priority that can be drawn from without reading all scores. Others are drawn from their ``distribution``."""

    def draws(self, size: int) -> Draws:
        """Draws from ``distribution``, over a space of ``size`` θ."""


def zscore(scores: Floats) -> Floats:
    """(s − mean)/(std + 1e-6) with the population's standard deviation (waker-m of arXiv 2306.09205)."""
    return np.asarray((scores - scores.mean()) / (scores.std() + 1e-6))


def mean_abs(scores: Floats) -> Floats:
    """s / mean(|s|) (waker-r, as published with arXiv 2306.09205); zeros stay zeros when every score is 0."""
    scale = abs(scores).mean()
    return np.asarray(scores / scale) if scale > 0 else np.zeros_like(scores)


_NORMALISERS: dict[str, Callable[[Floats], Floats]] = {"zscore": zscore, "mean-abs": mean_abs}


def each_domain_alike(weights: Floats, groups: Groups) -> Floats | None:
    """Weights (M,) ≥ 0 as a distribution that gives each domain with any weight the same share; None if all are 0."""
    ids = np.zeros(len(weights), np.int64) if groups is None else groups
    totals = np.bincount(ids, weights=weights)
    present = np.count_nonzero(totals)
    if not present:
        return None
    return np.asarray(weights / np.where(totals > 0, totals, 1.0)[ids] / present)


def _domains(scores: Floats, groups: Groups) -> Iterator[NDArray[np.int64]]:
    """The ids of the scored θ of each domain that has some."""
    known = np.flatnonzero(np.isfinite(scores))
    ids = np.zeros(len(scores), np.int64) if groups is None else groups
    for group in np.unique(ids[known]):
        yield known[ids[known] == group]


class Boltzmann:
    """p ∝ exp(z/η) over the θ that have a score.

    Args:
        eta: temperature η > 0.
        normalise: how z is made from the scores, inside each domain.
        groups: the domain of each θ, (M,).
    """

    def __init__(self, eta: float, normalise: Normalise = "zscore", groups: Groups = None) -> None:
        self.eta = eta
        self.groups = groups
        self.normalise = normalise

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        weights = np.zeros(len(scores))
        for members in _domains(scores, self.groups):
            logits = _NORMALISERS[self.normalise](scores[members]) / self.eta
            weights[members] = np.exp(logits - logits.max())  # the largest becomes 1: no overflow at small η
        return each_domain_alike(weights, self.groups)

    def draws(self, size: int) -> Draws:
        """See :class:`Drawable`."""
        about_mean = self.normalise == "zscore"
        return Draws(lambda members: Exponential(len(members), self.eta, about_mean), size, self.groups)


class Rank:
    """p ∝ rank^(−1/β), rank 1 for the highest score (PLR, Jiang et al. 2021, arXiv 2010.03934).

    Args:
        beta: temperature β > 0. Equal scores are ranked by θ's id, lower first.
        groups: the domain of each θ, (M,); ranks are counted inside each.
    """

    def __init__(self, beta: float, groups: Groups = None) -> None:
        self.beta, self.groups = beta, groups

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        weights = np.zeros(len(scores))
        for members in _domains(scores, self.groups):
            best_first = members[np.argsort(-scores[members], kind="stable")]
            weights[best_first] = self._weights(len(members))
        return each_domain_alike(weights, self.groups)

    def draws(self, size: int) -> Draws:
        """See :class:`Drawable`."""
        return Draws(lambda members: Ranked(len(members), self._weights(len(members))), size, self.groups)

    def _weights(self, n: int) -> Floats:
        """Of the ranks 1 … n."""
        return np.asarray(np.arange(1, n + 1, dtype=np.float64) ** (-1.0 / self.beta))


class TopK:
    """Uniform over the k highest scores (over all scored θ where they are fewer).

    Args:
        k: at least 1, of each domain. Equal scores are ranked by θ's id, lower first.
        groups: the domain of each θ, (M,).
    """

    def __init__(self, k: int, groups: Groups = None) -> None:
        self.k, self.groups = k, groups

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        weights = np.zeros(len(scores))
        for members in _domains(scores, self.groups):
            weights[members[np.argsort(-scores[members], kind="stable")[: self.k]]] = 1.0
        return each_domain_alike(weights, self.groups)

    def draws(self, size: int) -> Draws:
        """See :class:`Drawable`."""
        return Draws(lambda members: Ranked(len(members), np.ones(min(self.k, len(members)))), size, self.groups)


class Restrict:
    """A fixed distribution, restricted to the θ that have a score and renormalised.

    Gradual expansion is ``Visits × Restrict(DR weights)``.

    Args:
        weights: shape (M,), not negative.
        groups: the domain of each θ, (M,).
    """

    def __init__(self, weights: Floats, groups: Groups = None) -> None:
        self.weights, self.groups = weights, groups

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`; None also where the scored θ have no weight."""
        return each_domain_alike(np.where(np.isfinite(scores), self.weights, 0.0), self.groups)

    def draws(self, size: int) -> Draws:
        """See :class:`Drawable`."""
        return Draws(lambda members: Restricted(self.weights[members]), size, self.groups)


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

    def draws(self, size: int) -> Draws:
        """See :class:`Drawable`; domains have the shares that the weights give them."""
        return Draws(lambda members: Constant(self.weights), size)
