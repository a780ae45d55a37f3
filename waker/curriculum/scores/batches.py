"""The samples of a batch by the θ that they are of, each θ's in the batch's order."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Ints


class ByTheta(NamedTuple):
    """N > 0 samples of n different θ, sorted by θ.

    Attributes:
        ids: the different θ in ascending order, (n,).
        first: where the samples of each begin in the sorted batch, (n,).
        number: how many samples each has, (n,).
        order: where each sorted sample stands in the batch, (N,).
        begins: whether a sorted sample is its θ's first, (N,).
    """

    ids: Ints
    first: Ints
    number: Ints
    order: Ints
    begins: NDArray[np.bool_]


def by_theta(theta_id: Ints) -> ByTheta:
    """Sort a batch: ids (N,), each ≥ 0, N > 0; in O(N log N), however many θ there are."""
    n = len(theta_id)
    # One sort of (θ, position) keeps the order of a θ's samples, several times as fast as a stable argsort.
    bits = n.bit_length()
    keys = (theta_id << bits) | positions(n)
    keys.sort()
    theta = keys >> bits
    begins = np.empty(n, np.bool_)
    begins[0] = True
    np.not_equal(theta[1:], theta[:-1], out=begins[1:])
    first = begins.nonzero()[0]
    count = np.empty_like(first)
    np.subtract(first[1:], first[:-1], out=count[:-1])
    count[-1] = n - first[-1]
    return ByTheta(theta[first], first, count, keys & ((1 << bits) - 1), begins)


def means_of(ids: Ints, x: Floats) -> tuple[Ints, Floats]:
    """The different ids (n,) in ascending order, and the means of their x (n,)."""
    if not len(ids):
        return ids, x
    of = by_theta(ids)
    return of.ids, np.add.reduceat(x[of.order], of.first) / of.number


def positions(n: int) -> Ints:
    """0 … n − 1; not to be written to."""
    return _positions(1 << n.bit_length())[:n]


@lru_cache(maxsize=4)
def _positions(n: int) -> Ints:
    return np.arange(n)
