"""Which pairs of segments are asked about: chance, or those that a learned head or policy picks of many.

Shapes: n pairs, c ≥ n candidate pairs, E members of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker.errors import UserError
from waker.preferences.segments import Segments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RULES = ("uniform", "disagreement", "policy")
FACTOR = 10
"""Candidate pairs for each that is asked, as Christiano et al. (2017) and B-Pref have it."""


class Pairs(NamedTuple):
    """Two segments each, that are not the same."""

    first: Segments
    second: Segments

    def at(self, which: NDArray[np.int64]) -> Pairs:
        """Some of them, by index."""
        return Pairs(self.first.at(which), self.second.at(which))


def uniform_pairs(segments: Segments, n: int, rng: np.random.Generator) -> Pairs:
    """n pairs of two different segments, drawn uniformly with replacement between pairs.

    Raises:
        UserError: there are not two segments.
    """
    if segments.n < 2:
        raise UserError(
            f"the replay holds {segments.n} segments of this length and a pair needs two; choose a smaller --length"
        )
    first = rng.integers(segments.n, size=n)
    second = (first + rng.integers(1, segments.n, size=n)) % segments.n
    return Pairs(segments.at(first), segments.at(second))


def disagreement(probability: ArrayLike) -> Floats:
    """Standard deviation over members of P(first preferred), (E, c) → (c,); of the population, as in B-Pref."""
    return np.asarray(np.asarray(probability, np.float64).std(0))


def entropy(probability: ArrayLike) -> Floats:
    """Of an answer with P(first preferred), in nats, element by element."""
    p = np.clip(np.asarray(probability, np.float64), 1e-12, 1.0 - 1e-12)
    return -(p * np.log(p) + (1.0 - p) * np.log(1.0 - p))


def mean_entropy(probability: ArrayLike) -> Floats:
    """What B-Pref calls entropy: the members' mean, (E, c) → (c,). It is large for answers that are noise, too."""
    return np.asarray(entropy(probability).mean(0))


def information(probability: ArrayLike) -> Floats:
    """What an answer tells about the head, (E, c) → (c,): the mean's entropy less the members' mean entropy (BALD)."""
    p = np.asarray(probability, np.float64)
    return np.asarray(entropy(p.mean(0)) - mean_entropy(p))


def largest(worth: ArrayLike, n: int) -> Ints:
    """Indices (n,) of the candidates that are worth most, best first; of equals the earlier."""
    return np.argsort(-np.asarray(worth, np.float64), kind="stable")[:n]
