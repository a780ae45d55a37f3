"""Draws from a Boltzmann distribution whose scale moves with every score.

Made by :class:`waker.curriculum.priorities.rules.Boltzmann` for each domain; see
:mod:`waker.curriculum.priorities.draws`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Ints
from waker.curriculum.priorities.draws import find

BINS = 256
"""Bins of scores K."""
REACH = 16.0
"""Powers of e of probability that the bins span below the highest score at least: all that is below them, 10⁵ θ say, is
then drawn less than a ninetieth as often as the highest alone."""
_FROM_TOP = np.arange(1.0 - BINS, 1.0)
"""Upper edges of the bins below the highest one's, in widths, (K,)."""


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
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        known = scores[np.isfinite(scores)]
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
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        if self.due:
            return
        old, new = self._x[ids], scores - self._centre
        was, now = self._bin[ids], self._bins(new)
        difference = new - old
        if not math.isfinite(change := float(difference.sum())):  # some of them have no score any more
            unknown = ~np.isfinite(new)
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
        self._look()

    def _look(self) -> None:
        """Note how many θ have a score, and the highest bin that has members (−1: none)."""
        self._known = len(self._x) - int(self._totals[BINS])
        occupied = self._totals[:BINS].nonzero()[0]
        self._highest = int(occupied[-1]) if len(occupied) else -1

    def draw(self, rng: np.random.Generator) -> int:
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        # Upper edges relative to the highest bin's, so that no bin with a share overflows.
        sums = np.exp(self._beta * self._width * _FROM_TOP)
        sums *= self._totals[:BINS]
        sums = sums.cumsum()
        while True:
            k = find(sums, rng)
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
        """See :class:`waker.curriculum.priorities.draws.DomainDraws`."""
        self._centre, self._sum, self._squares, self._absolute, replaced, self._width, self._low = state.tolist()
        self._replaced = int(replaced)
        self._fill(scores)
        self._beta = self._inverse_temperature()

    def _fill(self, scores: Floats) -> None:
        """Deviations, bins and counts of all scores."""
        unknown = ~np.isfinite(scores)
        self._x = np.where(unknown, 0.0, scores - self._centre)
        self._bin = self._bins(self._x)
        self._bin[unknown] = BINS
        flat = self._bin * np.int64(self._blocks) + np.arange(len(scores)) // self._block
        counts = np.bincount(flat, minlength=(BINS + 1) * self._blocks)
        self._counts = counts.reshape(BINS + 1, self._blocks).astype(np.int64)
        self._totals = self._counts.sum(1)
        self._look()

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
        # The last bin also takes what lies above it.
        if self._highest == BINS - 1 or self._replaced > 16 * len(self._x):
            return True
        if self.about_mean and (self._sum / self._known) ** 2 > 3.0 * self._variance():
            return True  # their difference would cancel
        reach = self._beta * self._width  # of one bin, in powers of e
        return self._beta > 0.0 and (reach > 1 / 2 or reach * (self._highest + 1) < REACH)
