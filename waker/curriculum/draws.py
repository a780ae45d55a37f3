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
BINS = 256
"""Bins of scores K. They span at least 16 powers of e of probability below the highest score, 64 when made."""


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
        return _find(self._sums, rng)

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
        self._mass.reshape(-1)[: len(scores)] = np.where(np.isnan(scores), 0.0, self._weights)
        self._sums = self._mass.sum(1)
        self.due = False

    def update(self, ids: Ints, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        if not self.due:
            self._mass.reshape(-1)[ids] = np.where(np.isnan(scores), 0.0, self._weights[ids])
            blocks = ids // self._width
            self._sums[blocks] = self._mass[blocks].sum(1)

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`DomainDraws`."""
        block = _find(self._sums.cumsum(), rng)
        return block * self._width + _find(self._mass[block].cumsum(), rng)

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
        self._scores = np.where(np.isnan(scores), -np.inf, scores)
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
        new = np.where(np.isnan(scores), -np.inf, scores)
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
        rank = _find(self._sums[: self._known], rng)
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


class Exponential:
    """Draws from p ∝ exp(s / (η·scale)) of the scores s, where ``scale`` depends on all scores and changes with each.

    The scores lie in K bins of equal width h, and the bins' members are counted in blocks of about √L θ. One draw:
    a bin k in proportion to n_k·exp(β·u_k), with β = 1/(η·scale), n_k members and the upper edge u_k; one of its
    members, all alike, through the counts of its blocks; the member is kept with probability exp(β·(s − u_k)), else
    all begins again. So θ comes with probability ∝ exp(β·s) whatever β is, and a new β costs K numbers. At least
    e^(−β·h) of the proposals above the lowest bin are kept; β·h is 1/4 when bins are made and at most 1/2. Scores below
    the lowest edge count as members of the lowest bin, which are then kept less often: their probability is right all
    the same.

    ``scale`` comes from running sums about a centre. They are taken anew before rounding can show: when 16 scores for
    each θ have been replaced, when β has changed by much, or when the mean has left the centre; so are the bins. That
    reads all L scores, but seldom.

    Args:
        size: L.
        eta: temperature η > 0.
        about_mean: ``scale`` is the standard deviation + 1e-6 (waker-m); else the mean absolute value (waker-r), where
            all scores of 0 have the same probability.
    """

    def __init__(self, size: int, eta: float, about_mean: bool) -> None:
        self.eta, self.about_mean, self.due = eta, about_mean, True
        self._block = max(1, math.isqrt(size))
        self._blocks = -(-size // self._block)
        self._x = np.zeros(size)  # s − centre, 0 where unknown
        self._bin: NDArray[np.int16] = np.full(size, BINS, np.int16)  # BINS where unknown
        self._known = 0

    @property
    def present(self) -> bool:
        """Whether some θ has a score."""
        return self._known > 0

    def build(self, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        known = scores[~np.isnan(scores)]
        self.due = False
        # The centre is a score: equal ones then have deviations of exactly 0.
        self._centre = float(known[np.argmin(abs(known - known.mean()))]) if self.about_mean and len(known) else 0.0
        x = known - self._centre
        self._sum, self._squares, self._absolute = float(x.sum()), float(np.dot(x, x)), float(abs(x).sum())
        self._replaced = 0
        self._known = len(known)
        self._beta = self._inverse_temperature()
        self._width = 0.25 / self._beta if self._beta > 0 else 1.0
        # A quarter of the bins lies above the highest score, for what is to come.
        self._low = (float(x.max()) if len(x) else 0.0) - 0.75 * BINS * self._width
        self._fill(scores)

    def update(self, ids: Ints, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        if self.due:
            return
        old, new = self._x[ids], scores - self._centre
        was, now = self._bin[ids], self._bins(new)
        difference = new - old
        if math.isnan(change := float(difference.sum())):  # some of them have no score any more
            unknown = np.isnan(new)
            new[unknown], now[unknown] = 0.0, BINS
            difference = new - old
            change = float(difference.sum())
        self._x[ids] = new
        self._sum += change
        self._squares += float(difference.dot(new + old))
        if not self.about_mean:
            self._absolute += float(abs(new).sum() - abs(old).sum())
        moved = (was != now).nonzero()[0]
        if len(moved):
            self._move(ids[moved], was[moved].astype(np.int64), now[moved].astype(np.int64))
        self._replaced += len(ids)
        self._beta = self._inverse_temperature()
        self.due = self._worn()

    def _move(self, ids: Ints, was: Ints, now: Ints) -> None:
        """Put θ (n,) from their bins into others."""
        self._bin[ids] = now
        counts, block = self._counts.reshape(-1), ids // self._block
        np.add.at(counts, now * self._blocks + block, 1)
        np.subtract.at(counts, was * self._blocks + block, 1)
        self._totals += np.bincount(now, minlength=BINS + 1) - np.bincount(was, minlength=BINS + 1)
        self._known = len(self._x) - int(self._totals[BINS])
        # The highest bin also takes what lies above it; and the occupied ones must reach far enough down from theirs.
        self._lost = bool(self._totals[BINS - 1]) or not self._totals[BINS // 4 : BINS].any()

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`DomainDraws`."""
        # Upper edges relative to the highest bin's, so that no bin with a share overflows.
        sums = np.exp(self._beta * self._width * _FROM_TOP)
        sums *= self._totals[:BINS]
        sums = sums.cumsum()
        while True:
            k = _find(sums, rng)
            members = self._counts[k].cumsum()
            nth = int(rng.random() * self._totals[k])
            block = int(members.searchsorted(nth, "right"))
            start = block * self._block
            inside = (self._bin[start : start + self._block] == k).nonzero()[0]
            i = start + int(inside[nth - int(members[block])])  # counted from the block's last member
            edge = self._low + (k + 1) * self._width
            if rng.random() < math.exp(min(0.0, self._beta * (float(self._x[i]) - edge))):
                return i

    def state(self) -> Floats:
        """Centre, sums, bins and the number of scores replaced."""
        if self.due:
            return np.zeros(7)
        sums = (self._sum, self._squares, self._absolute)
        return np.array([self._centre, *sums, self._replaced, self._width, self._low])

    def restore(self, state: Floats, scores: Floats) -> None:
        """See :class:`DomainDraws`."""
        self._centre, self._sum, self._squares, self._absolute, replaced, self._width, self._low = state.tolist()
        self._replaced = int(replaced)
        self._fill(scores)
        self._beta = self._inverse_temperature()

    def _fill(self, scores: Floats) -> None:
        """Deviations, bins and counts of all scores."""
        unknown = np.isnan(scores)
        self._x = np.where(unknown, 0.0, scores - self._centre)
        self._bin = self._bins(self._x)
        self._bin[unknown] = BINS
        flat = self._bin * np.int64(self._blocks) + np.arange(len(scores)) // self._block
        counts = np.bincount(flat, minlength=(BINS + 1) * self._blocks)
        self._counts = counts.reshape(BINS + 1, self._blocks).astype(np.int64)
        self._totals = self._counts.sum(1)
        self._known, self._lost = len(scores) - int(self._totals[BINS]), False

    def _bins(self, x: Floats) -> NDArray[np.int16]:
        """The bin of each deviation: what lies beyond the edges belongs to the last one there (NaN: any)."""
        at = np.fmax((x - self._low) * (1.0 / self._width), 0.0)
        return np.fmin(at, BINS - 1.0).astype(np.int16)

    def _inverse_temperature(self) -> float:
        """β; 0 where there is no score, or where all are 0 and ``scale`` is their mean absolute value."""
        if not self._known:
            return 0.0
        if self.about_mean:
            return 1.0 / (self.eta * (math.sqrt(max(0.0, self._variance())) + 1e-6))
        mean = self._absolute / self._known
        return 1.0 / (self.eta * max(mean, 1e-290)) if mean > 0 else 0.0

    def _variance(self) -> float:
        return self._squares / self._known - (self._sum / self._known) ** 2

    def _worn(self) -> bool:
        """Whether sums or bins must be made anew."""
        if not self._known:
            return False
        if self._lost or self._replaced > 16 * len(self._x):
            return True
        if self.about_mean and (self._sum / self._known) ** 2 > 3.0 * self._variance():
            return True  # their difference would cancel
        return not (self._beta == 0.0 or 1 / 16 <= self._beta * self._width <= 1 / 2)


_FROM_TOP = np.arange(1.0 - BINS, 1.0)
"""Upper edges of the bins below the highest one's, in widths, (K,)."""


def _find(sums: Floats, rng: np.random.Generator) -> int:
    """A draw by running sums (n,) of weights: i where sums[i − 1] ≤ u·total < sums[i], u uniform in [0, 1)."""
    while (i := int(sums.searchsorted(rng.random() * sums[-1], "right"))) == len(sums):
        pass  # the product was rounded up to the total
    return i
