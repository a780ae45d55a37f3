"""Alignment resistance and robustness: where a reward contradicts the answers, and which edits make it do so.

SEAL's second and third measure (Revel et al. 2024, arXiv 2408.10270). Of each answer with a choice a reward agrees
where the segment that was preferred earns more; equal sums do not agree. Called by :mod:`waker.training.audit`.

Shapes: n pairs; differences are the first segment's sum less the second's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
CLASSES = ("stayed aligned", "got aligned", "resisted", "reversed")
"""Right before and after the answers were learned; only after; neither; only before."""
_Z = float(ndtri(0.975))


class Share(NamedTuple):
    """``hits`` of n with Wilson's 95 % interval; NaN of none."""

    hits: int
    n: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> Share:
        """The interval of a binomial share (Wilson 1927)."""
        if not n:
            return cls(hits, n, np.nan, np.nan, np.nan)
        p, z2 = hits / n, _Z**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z / (1 + z2 / n) * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
        # At the ends the limits are exact, but for rounding.
        low, high = (0.0 if not hits else float(middle - half)), (1.0 if hits == n else float(middle + half))
        return cls(hits, n, p, low, high)


def untied(label: ArrayLike) -> Bools:
    """Answers with a choice, (n,): P(first preferred) other than ½, and given."""
    y = np.asarray(label, np.float64)
    return np.asarray(~np.isnan(y) & (y != 0.5))


def agrees(difference: ArrayLike, label: ArrayLike) -> Bools:
    """Whether what was preferred earns more, (n,)."""
    return np.asarray(np.asarray(difference, np.float64) * (np.asarray(label, np.float64) - 0.5) > 0)


def four_classes(before: ArrayLike, after: ArrayLike, label: ArrayLike) -> dict[str, Share]:
    """Counts of :data:`CLASSES` among the answers with a choice, and what follows from them.

    Args:
        before, after: differences by the reward before and after it learned, (n,).
        label: P(first preferred), (n,).

    Returns:
        Each class; ``agreement before``, ``agreement after``, and ``resistance``: what the learned reward still
        contradicts, resisted + reversed.
    """
    kept = untied(label)
    was, now = (agrees(np.asarray(d)[kept], np.asarray(label)[kept]) for d in (before, after))
    n = int(kept.sum())
    counts = (was & now, ~was & now, ~was & ~now, was & ~now)
    found = {name: Share.of(int(one.sum()), n) for name, one in zip(CLASSES, counts, strict=True)}
    found["agreement before"] = Share.of(int(was.sum()), n)
    found["agreement after"] = Share.of(int(now.sum()), n)
    found["resistance"] = Share.of(int((~now).sum()), n)
    return found


class Odds(NamedTuple):
    """A log odds ratio with its 95 % interval; NaN where nothing was counted."""

    log: float
    se: float
    low: float
    high: float


def log_odds(turned: int, of: int, turned_otherwise: int, of_otherwise: int) -> Odds:
    """How much likelier a right pair turns wrong by an edit than otherwise: SEAL's π, exp(π) the odds ratio.

    Half a pair is added to each of the four counts where one is 0 (Haldane 1956), so that it stays finite. Both shares
    are taken for independent.

    Args:
        turned, of: pairs that turned wrong, of all that were right and edited.
        turned_otherwise, of_otherwise: the same without the edit.
    """
    cells = np.array([turned, of - turned, turned_otherwise, of_otherwise - turned_otherwise], np.float64)
    if not of or not of_otherwise:
        return Odds(np.nan, np.nan, np.nan, np.nan)
    cells += 0.5 * float((cells == 0).any())
    log = float(np.log(cells[0] / cells[1]) - np.log(cells[2] / cells[3]))
    se = float(np.sqrt((1.0 / cells).sum()))
    return Odds(log, se, log - _Z * se, log + _Z * se)


class Turned(NamedTuple):
    """What an edit did to pairs.

    Attributes:
        pairs: that the edit changes.
        wrong: right pairs that turn wrong, of the right ones among them.
        otherwise: the same where nothing was edited and latents were drawn in place of modes.
        odds: of the former against the latter.
        before, after: agreement with the truth without and with the edit.
        correlation: of differences without and with it.
    """

    pairs: int
    wrong: Share
    otherwise: Share
    odds: Odds
    before: Share
    after: Share
    correlation: float


def turned(original: ArrayLike, edited: ArrayLike, again: ArrayLike, label: ArrayLike, changed: ArrayLike) -> Turned:
    """What an edit that leaves the true reward alone did to a reward's answers.

    Args:
        original, edited, again: differences without the edit, with it, and without it by drawn latents, (n,).
        label: the truth, (n,).
        changed: pairs that the edit changes, (n,).
    """
    kept = untied(label) & np.asarray(changed, bool)
    y = np.asarray(label, np.float64)[kept]
    d, e, a = (np.asarray(x, np.float64)[kept] for x in (original, edited, again))
    right = agrees(d, y)
    wrong, otherwise = (int((right & ~agrees(x, y)).sum()) for x in (e, a))
    n, total = int(right.sum()), len(y)
    moved = total > 1 and np.ptp(d) > 0 and np.ptp(e) > 0
    return Turned(
        total,
        Share.of(wrong, n),
        Share.of(otherwise, n),
        log_odds(wrong, n, otherwise, n),
        Share.of(n, total),
        Share.of(int(agrees(e, y).sum()), total),
        float(np.corrcoef(d, e)[0, 1]) if moved else np.nan,
    )
