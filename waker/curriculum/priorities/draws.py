"""Draws from a priority's distribution that cost the same however many θ there are.

A priority's ``distribution`` is its definition, and reads every score. Between two draws only some scores change, so
the objects here keep what a draw needs up to date θ by θ. They are exact: each θ is drawn with its probability under
``distribution``, to rounding. Made by a priority's ``draws``, one for each domain; used by
:class:`waker.curriculum.composed.ComposedCurriculum` through :class:`Draws`.

Shapes: M points of the θ space, L of one domain, n θ whose scores have changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Ints

POOL = 1_000
"""θ in a pool of the highest when it is made: at least so many, if so many have a score."""


class DomainDraws(Protocol):
    """Draws of one domain; ids run from 0 to L − 1."""

    due: bool
    """Whether :meth:`build` must be called before the next draw."""

    @property
    def present(self) -> bool:
        """Whether some θ can be drawn."""

    def build(self, scores: Floats) -> None:
        """Begin anew from all scores, (L,), NaN = none."""

    def update(self, ids: Ints, scores: Floats) -> None:
        """Take the new scores (n,), n ≥ 1, of these θ (n,), each named once; nothing is done where a build is due."""

    def draw(self, rng: np.random.Generator) -> int:
        """One θ; only where some is present and no build is due."""

    def state(self) -> Floats:
        """What later draws depend on beside the scores, a vector of a fixed length; may be empty."""

    def restore(self, state: Floats, scores: Floats) -> None:
        """Continue from a state and the scores (L,) of the same moment."""


class Constant:
    """Draws from fixed weights, (L,), not negative, not all zero, whatever the scores: a look-up in running sums."""

    def __init__(self, weights: Floats) -> None:
        self.due, self.present = False, True
        self._sums = np.cumsum(weights)

    def build(self, scores: Floats) -> None:
        """No score is looked at."""
        self.due = False

    def update(self, ids: Ints, scores: Floats) -> None:
        """No score is looked at."""

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`DomainDraws`."""
        return find(self._sums, rng)

    def state(self) -> Floats:
        """Nothing."""
        return np.zeros(0)

    def restore(self, state: Floats, scores: Floats) -> None:
        """Nothing."""


class Draws:
    """Draws over all domains: each domain in which some θ can be drawn with the same probability.

    Args:
        make: makes the draws of a domain from the ids of its θ, (L,).
        size: M.
        groups: the domain of each θ, (M,); None = one domain.
    """

    def __init__(
        self, make: Callable[[Ints], DomainDraws], size: int, groups: NDArray[np.integer[Any]] | None = None
    ) -> None:
        self._domain = None  # each θ's domain by number, and its id inside of it
        self._within: Ints = np.arange(size)
        self._members = [np.arange(size)]
        if groups is not None:
            names, self._domain = np.unique(groups, return_inverse=True)
            self._members = [np.flatnonzero(self._domain == number) for number in range(len(names))]
            for members in self._members:
                self._within[members] = np.arange(len(members))
        self._domains = [make(members) for members in self._members]

    def forget(self) -> None:
        """Any score may have changed."""
        for domain in self._domains:
            domain.due = True

    def update(self, ids: Ints, scores: Floats) -> None:
        """Take the new scores (n,) of the θ ``ids`` (n,), each named once."""
        if self._domain is None:
            self._domains[0].update(ids, scores)
            return
        of = self._domain[ids]
        for number, domain in enumerate(self._domains):
            here = np.flatnonzero(of == number)
            if len(here):
                domain.update(self._within[ids[here]], scores[here])

    def settle(self, scores: Callable[[], Floats]) -> None:
        """Build what is due; ``scores`` gives all of them, (M,), and is called only then."""
        if any(domain.due for domain in self._domains):
            values = scores()
            for members, domain in zip(self._members, self._domains, strict=True):
                if domain.due:
                    domain.build(values[members])

    def draw(self, rng: np.random.Generator) -> int | None:
        """One id, or None where no θ can be drawn. Call :meth:`settle` first."""
        present = [i for i, domain in enumerate(self._domains) if domain.present]
        if not present:
            return None
        at = present[int(rng.random() * len(present))] if len(present) > 1 else present[0]
        return int(self._members[at][self._domains[at].draw(rng)])

    def state(self) -> Floats:
        """Of every domain, one after the other: whether a build is due, then its own numbers."""
        return np.concatenate([[float(d.due), *d.state()] for d in self._domains])

    def restore(self, state: Floats, scores: Floats) -> None:
        """Continue from a state and the scores (M,) of the same moment."""
        parts = np.split(state, len(self._domains))
        for members, domain, part in zip(self._members, self._domains, parts, strict=True):
            domain.due = bool(part[0])
            if not domain.due:
                domain.restore(part[1:], scores[members])


class Restricted:
    """Draws in proportion to fixed weights among the θ that have a score.

    Sums of blocks of about √L θ are kept; a change adds up its own blocks again, so nothing drifts.

    Args:
        weights: shape (L,), not negative.
    """

    def __init__(self, weights: Floats) -> None:
        self._weights, self.due = weights, True
        self._width = max(1, math.isqrt(len(weights)))
        self._mass = np.zeros((-(-len(weights) // self._width), self._width))
        self._sums = np.zeros(len(self._mass))

    @property
    def present(self) -> bool:
        """Whether a θ with weight has a score."""
        return bool(self._sums.any())

    def build(self, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        self._mass.reshape(-1)[: len(scores)] = np.where(np.isfinite(scores), self._weights, 0.0)
        self._sums = self._mass.sum(1)
        self.due = False

    def update(self, ids: Ints, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        if not self.due:
            self._mass.reshape(-1)[ids] = np.where(np.isfinite(scores), self._weights[ids], 0.0)
            blocks = ids // self._width
            self._sums[blocks] = self._mass[blocks].sum(1)

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`DomainDraws`."""
        block = find(self._sums.cumsum(), rng)
        return block * self._width + find(self._mass[block].cumsum(), rng)

    def state(self) -> Floats:
        """Nothing: all of it follows from the scores."""
        return np.zeros(0)

    def restore(self, state: Floats, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        self.build(scores)


class Ranked:
    """Draws a rank, 0 for the highest score, by fixed weights, and the θ that has it; of equals, lower ids come first.

    The highest θ are kept in a pool, so that a rank among them is found there; a lower one costs a look at all scores.

    Args:
        size: L.
        weights: of the ranks, (n,), 1 ≤ n ≤ L, not negative, the first above 0.
    """

    def __init__(self, size: int, weights: Floats) -> None:
        self.due = True
        self._sums = np.cumsum(weights)
        self._scores = np.full(size, -np.inf)  # −∞ where unknown
        self._pooled = np.zeros(size, np.bool_)
        self._known = 0

    @property
    def present(self) -> bool:
        """Whether some θ has a score."""
        return self._known > 0

    def build(self, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        self._scores = np.where(np.isfinite(scores), scores, -np.inf)
        self._known = int(np.count_nonzero(self._scores > -np.inf))
        n = min(POOL, self._known)
        self._floor = float(np.partition(self._scores, -n)[-n]) if n else 0.0
        self._pooled = self._scores >= self._floor
        self._pool = self._pooled.nonzero()[0]
        self.due = False

    def update(self, ids: Ints, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        if self.due:
            return
        new = np.where(np.isfinite(scores), scores, -np.inf)
        self._known += int(np.count_nonzero(new > -np.inf)) - int(np.count_nonzero(self._scores[ids] > -np.inf))
        self._scores[ids] = new
        high = new >= self._floor
        moved = high != self._pooled[ids]
        if moved.any():
            self._pooled[ids] = high
            self._pool = np.concatenate([self._pool[self._pooled[self._pool]], ids[moved & high]])
            self.due = len(self._pool) > 4 * POOL or len(self._pool) < min(POOL // 4, self._known)

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`DomainDraws`."""
        rank = find(self._sums[: self._known], rng)
        ids = self._pool if rank < len(self._pool) else np.arange(len(self._scores))
        scores = self._scores[ids]
        value = np.partition(scores, -rank - 1)[-rank - 1]
        equal = np.sort(ids[scores == value])
        return int(equal[rank - np.count_nonzero(scores > value)])

    def state(self) -> Floats:
        """Nothing: the draws follow from the scores."""
        return np.zeros(0)

    def restore(self, state: Floats, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        self.build(scores)


def find(sums: Floats, rng: np.random.Generator) -> int:
    """A draw by running sums (n,) of weights: i where sums[i − 1] ≤ u·total < sums[i], u uniform in [0, 1)."""
    while (i := int(sums.searchsorted(rng.random() * sums[-1], "right"))) == len(sums):
        pass  # the product was rounded up to the total
    return i
