"""``Proportional``: p ∝ max(S, 0)^(1/β), the "power" prioritiser of level replay, and its draws."""

from __future__ import annotations

import math

import numpy as np

from waker.curriculum.api import Floats, Ints
from waker.curriculum.priorities.draws import Draws, find
from waker.curriculum.priorities.rules import Groups, each_domain_alike


def _weights(scores: Floats, beta: float) -> Floats:
    """max(S, 0)^(1/β), 0 where unknown."""
    above = np.isfinite(scores) & (scores > 0)
    return np.asarray(np.where(above, np.where(above, scores, 1.0) ** (1.0 / beta), 0.0))


class Proportional:
    """p ∝ max(S, 0)^(1/β) over the θ that have a score; uniform over them where no score is above 0.

    level-replay does not clip, so there a negative score to a fractional power is NaN, and it adds 1e-3 to every score
    where the staleness weight is 0; neither is done here.

    Args:
        beta: β > 0.
        groups: the domain of each θ, (M,); the rule holds inside each.
    """

    def __init__(self, beta: float = 1.0, groups: Groups = None) -> None:
        self.beta, self.groups = beta, groups

    def distribution(self, scores: Floats) -> Floats | None:
        """See :class:`waker.curriculum.api.Priority`."""
        known, weights = np.isfinite(scores), _weights(scores, self.beta)
        domain = np.zeros(len(scores), np.int64) if self.groups is None else self.groups
        empty = np.bincount(domain, weights=weights) == 0
        return each_domain_alike(np.where(empty[domain], known, weights), self.groups)

    def draws(self, size: int) -> Draws:
        """See :class:`waker.curriculum.priorities.rules.Drawable`."""
        return Draws(lambda members: Weighted(len(members), self.beta), size, self.groups)


class Weighted:
    """Draws of one domain for :class:`Proportional`: sums of blocks of about √L θ are kept.

    A change adds up its own blocks again, so nothing drifts.

    Args:
        size: L.
        beta: β.
    """

    def __init__(self, size: int, beta: float) -> None:
        self._beta, self.due = beta, True
        self._width = max(1, math.isqrt(size))
        shape = (-(-size // self._width), self._width)
        self._mass, self._known = np.zeros(shape), np.zeros(shape)
        self._sums, self._counts = np.zeros(shape[0]), np.zeros(shape[0])

    @property
    def present(self) -> bool:
        """Whether some θ has a score."""
        return bool(self._counts.any())

    def build(self, scores: Floats) -> None:
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        self._mass.reshape(-1)[: len(scores)] = _weights(scores, self._beta)
        self._known.reshape(-1)[: len(scores)] = np.isfinite(scores)
        self._sums, self._counts = self._mass.sum(1), self._known.sum(1)
        self.due = False

    def update(self, ids: Ints, scores: Floats) -> None:
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        if self.due:
            return
        self._mass.reshape(-1)[ids] = _weights(scores, self._beta)
        self._known.reshape(-1)[ids] = np.isfinite(scores)
        blocks = np.unique(ids // self._width)
        self._sums[blocks], self._counts[blocks] = self._mass[blocks].sum(1), self._known[blocks].sum(1)

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        sums, cells = (self._sums, self._mass) if self._sums.any() else (self._counts, self._known)
        block = find(sums.cumsum(), rng)
        return block * self._width + find(cells[block].cumsum(), rng)

    def state(self) -> Floats:
        """Nothing: all of it follows from the scores."""
        return np.zeros(0)

    def restore(self, state: Floats, scores: Floats) -> None:
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        self.build(scores)
