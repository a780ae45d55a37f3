"""Which pairs are asked: measures by hand, and that no pair compares a segment with itself."""

from __future__ import annotations

import numpy as np
import pytest

from waker.errors import UserError
from waker.preferences.queries import disagreement, information, largest, mean_entropy, uniform_pairs
from waker.preferences.segments import Segments

MEMBERS = np.array([[0.2], [0.5], [0.9]])


def segments(n: int) -> Segments:
    return Segments(np.zeros(n, np.int64), np.arange(n), np.full(n, 3))


def test_three_members_by_hand() -> None:
    assert disagreement(MEMBERS) == pytest.approx(0.287, abs=5e-4)
    assert mean_entropy(MEMBERS) == pytest.approx(0.506, abs=5e-4)
    assert information(MEMBERS) + mean_entropy(MEMBERS) == pytest.approx(0.691, abs=5e-4)
    assert information(MEMBERS) == pytest.approx(0.185, abs=5e-4)


def test_pure_noise_has_entropy_and_no_information() -> None:
    coin = np.full((3, 1), 0.5)
    assert mean_entropy(coin) == pytest.approx(np.log(2))
    assert information(coin) == pytest.approx(0.0, abs=1e-12)
    assert disagreement(coin) == 0.0


def test_pairs_are_of_two_segments_and_uniform() -> None:
    pairs = uniform_pairs(segments(4), 12_000, np.random.default_rng(0))
    assert (pairs.first.tick != pairs.second.tick).all()
    counts = np.zeros((4, 4))
    np.add.at(counts, (pairs.first.tick, pairs.second.tick), 1)
    off = counts[~np.eye(4, dtype=bool)]
    assert ((off - 1000) ** 2 / 1000).sum() < 27  # χ² with 11 degrees of freedom, p = 0.005


def test_one_segment_makes_no_pair() -> None:
    with pytest.raises(UserError, match="the replay holds 1 segments of this length and a pair needs two"):
        uniform_pairs(segments(1), 5, np.random.default_rng(0))


def test_the_largest_come_first_and_of_equals_the_earlier() -> None:
    np.testing.assert_array_equal(largest([1.0, 3.0, 2.0, 3.0], 3), [1, 3, 2])
