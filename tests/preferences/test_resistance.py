"""Alignment resistance and robustness against the counts and odds that SEAL's data have, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waker.preferences.resistance import CLASSES, Share, agrees, four_classes, log_odds, turned, untied


def test_the_four_classes_of_the_published_set() -> None:
    """48.3 % stayed, 25.8 % got aligned, 17.2 % resisted, 8.7 % reversed: 57 → 74 % agreement, 26 % resistance."""
    counts = dict(zip(CLASSES, (483, 258, 172, 87), strict=True))
    signs = {"stayed aligned": (1, 1), "got aligned": (-1, 1), "resisted": (-1, -1), "reversed": (1, -1)}
    before, after = np.concatenate([np.tile(signs[name], (n, 1)) for name, n in counts.items()]).T
    label = np.arange(1_000) % 2  # half prefer the second
    turn = np.where(label == 1, 1, -1)
    found = four_classes(before * turn, after * turn, label)
    assert {name: found[name].hits for name in CLASSES} == counts
    assert sum(found[name].share for name in CLASSES) == pytest.approx(1.0)
    assert round(100 * found["agreement before"].share) == 57
    assert round(100 * found["agreement after"].share) == 74
    assert round(100 * found["resistance"].share) == 26
    assert found["resistance"].hits == found["resisted"].hits + found["reversed"].hits


def test_ties_and_skipped_answers_are_not_counted_and_equal_sums_do_not_agree() -> None:
    label = np.array([1.0, 0.0, 0.5, np.nan, 0.8, 1.0])
    assert untied(label).tolist() == [True, True, False, False, True, True]
    found = four_classes([1, 1, 1, 1, 0, 2], [1, -1, 1, 1, 1, 0], label)
    assert found["stayed aligned"].hits == 1 and found["got aligned"].hits == 2 and found["reversed"].hits == 1
    assert found["agreement after"].n == 4
    assert not agrees([0.0], [1.0])[0]


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.sampled_from([0.0, 0.2, 0.5, 1.0])), max_size=40))
def test_every_choice_is_in_one_class(rows: list[tuple[float, float, float]]) -> None:
    before, after, label = np.array(rows, float).reshape(-1, 3).T
    found = four_classes(before, after, label)
    assert sum(found[name].hits for name in CLASSES) == untied(label).sum()
    # The answers of the other segment say the same.
    turned_round = four_classes(-before, -after, 1 - label)
    assert {name: share[:2] for name, share in found.items()} == {n: share[:2] for n, share in turned_round.items()}


def test_wilson_s_interval() -> None:
    """10 of 100 by the formula: (0.1 + z²/200 ± z √(0.0009 + z²/40,000)) / (1 + z²/100)."""
    z = 1.959963984540054
    half = z * np.sqrt(0.0009 + z**2 / 40_000)
    share = Share.of(10, 100)
    assert share.low == pytest.approx((0.1 + z**2 / 200 - half) / (1 + z**2 / 100))
    assert share.high == pytest.approx((0.1 + z**2 / 200 + half) / (1 + z**2 / 100))
    assert Share.of(0, 10).low == 0.0 and Share.of(10, 10).high == 1.0
    assert np.isnan(Share.of(0, 0).share)


def test_log_odds_of_the_examples() -> None:
    """10/100 against 5/100: .7472; the published flips, 21.5 % vs 10.0 % ≈ .90 and 18.8 % vs 9.8 % ≈ .76."""
    assert log_odds(10, 100, 5, 100).log == pytest.approx(0.7472, abs=5e-5)
    assert log_odds(215, 1000, 100, 1000).log == pytest.approx(0.90, abs=5e-3)
    assert log_odds(188, 1000, 98, 1000).log == pytest.approx(0.76, abs=5e-3)
    found = log_odds(10, 100, 5, 100)
    assert found.se == pytest.approx(np.sqrt(1 / 10 + 1 / 90 + 1 / 5 + 1 / 95))
    assert found.high - found.log == pytest.approx(1.959964 * found.se)


def test_log_odds_stay_finite_where_nothing_turned() -> None:
    assert log_odds(4, 10, 0, 10).log == pytest.approx(np.log(4.5 / 6.5) - np.log(0.5 / 10.5))
    assert np.isnan(log_odds(0, 0, 1, 5).log)


def test_pairs_that_an_edit_turns() -> None:
    label = np.array([1, 1, 1, 0, 0, 1, 0.5])
    original = np.array([2, 1, -1, -1, -2, 3, 1.0])  # wrong only about the third
    edited = np.array([1, -1, 1, 1, -1, -3, 1.0])
    again = np.array([2, 1, -1, 1, -2, 3, 1.0])
    changed = np.array([1, 1, 1, 1, 1, 0, 1], bool)
    found = turned(original, edited, again, label, changed)
    assert found.pairs == 5 and found.wrong[:2] == (2, 4) and found.otherwise[:2] == (1, 4)
    assert found.before.hits == 4 and found.after.hits == 3
    assert found.odds.log == pytest.approx(np.log(2 / 2) - np.log(1 / 3))
    assert found.correlation == pytest.approx(np.corrcoef(original[:5], edited[:5])[0, 1])


def test_an_edit_that_changes_no_pair_tells_nothing() -> None:
    found = turned([1.0], [-1.0], [1.0], [1.0], [False])
    assert found.pairs == 0 and np.isnan(found.wrong.share) and np.isnan(found.correlation)
