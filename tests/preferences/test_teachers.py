"""Simulated teachers: the numbers of their formulas by hand, their order of operations, and shares of large samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from waker.errors import UserError
from waker.preferences.teachers import (
    Scale,
    Teacher,
    at_random,
    discounted,
    flipped,
    parse_teacher,
    preferred,
    threshold,
)

Floats = NDArray[np.float64]
ORACLE, NO_SCALE = Teacher(), Scale()


def answers(
    teacher: Teacher, first: list[list[float]], second: list[list[float]], scale: Scale = NO_SCALE, seed: int = 0
) -> Floats:
    one, two = np.array(first), np.array(second)
    whole = np.ones(one.shape, bool), np.ones(two.shape, bool)
    return teacher.answers(one, two, whole, scale, seed)


def test_sums_3_and_1_are_preferred_as_bradley_and_terry_say() -> None:
    assert preferred(2.0) == pytest.approx(0.8808, abs=5e-5)
    assert preferred(2.0, beta=0.5) == pytest.approx(0.7311, abs=5e-5)
    assert flipped(preferred(2.0), 0.1) == pytest.approx(0.8046, abs=5e-5)
    assert at_random(preferred(2.0), 0.1) == pytest.approx(0.8427, abs=5e-5)


def test_a_flip_is_half_as_often_as_a_coin_of_the_same_effect() -> None:
    p = np.linspace(0, 1, 11)
    np.testing.assert_allclose(flipped(p, 0.07), at_random(p, 0.14))


def test_without_noise_the_larger_sum_wins_and_equal_ones_tie() -> None:
    np.testing.assert_array_equal(preferred([2.0, -0.1, 0.0], math.inf), [1.0, 0.0, 0.5])
    same = (-0.1 - 0.2 - 0.3) - (-0.3 - 0.2 - 0.1)  # not 0: the order of a sum is not a preference
    assert same != 0.0 and preferred(same, math.inf) == 0.5


def test_no_probability_is_zero() -> None:
    assert preferred(-1e9) == pytest.approx(math.exp(-50), rel=1e-6)


def test_late_and_early_discounts_prefer_opposite_segments() -> None:
    rewards = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    inside = np.ones((2, 3), bool)
    np.testing.assert_allclose(discounted(rewards, inside, 0.9, late=True), [0.81, 1.0])
    np.testing.assert_allclose(discounted(rewards, inside, 0.9, late=False), [1.0, 0.81])
    myopic = parse_teacher("myopic:0.9")
    assert answers(myopic, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]) == [0.0]


def test_a_discount_counts_from_where_a_segment_ended() -> None:
    rewards, inside = np.array([[1.0, 2.0, 5.0]]), np.array([[True, True, False]])
    assert discounted(rewards, inside, 0.5, late=True) == [2.5]
    assert discounted(rewards, inside, 0.5, late=False) == [2.0]


def test_a_threshold_is_a_share_of_what_a_segment_earns_on_average() -> None:
    assert threshold(0.1, length=5, longest=20, mean_return=10.0) == pytest.approx(0.25)


def test_thresholds_are_not_shrunk_twice() -> None:
    """δ = 0.25 as published; the code of B-Pref comes to 0.025 after its first session."""
    scale = Scale(longest=20, mean_return=10.0)
    near = [[0.2, 0, 0, 0, 0]], [[0.0, 0, 0, 0, 0]]
    assert answers(parse_teacher("equal:0.1"), *near, scale) == [0.5]
    assert np.isnan(answers(parse_teacher("skip:0.1"), *near, scale)).all()
    far = [[0.3, 0, 0, 0, 0]], [[0.0, 0, 0, 0, 0]]
    assert answers(parse_teacher("equal:0.1"), *far, scale) == [1.0]
    assert answers(parse_teacher("skip:0.1"), *far, scale) == [1.0]


def test_what_lies_on_the_threshold_is_skipped_and_not_tied() -> None:
    scale = Scale(longest=4, mean_return=4.0)  # δ = 0.25 · 2/4 · 4 = 0.5
    on = [[0.5, 0.0]], [[0.0, 0.0]]
    assert np.isnan(answers(parse_teacher("skip:0.25"), *on, scale)).all()
    assert answers(parse_teacher("equal:0.25"), *on, scale) == [1.0]


def test_equality_is_by_plain_sums_and_overwrites_a_flip() -> None:
    scale = Scale(longest=3, mean_return=1.0)
    everything = Teacher(gamma=0.5, flip=1.0, equal=0.9)
    assert answers(everything, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]], scale) == [0.5]
    # Not equal: the late segment wins by its discounted sum, and the flip turns that round.
    assert answers(Teacher(gamma=0.5, flip=1.0), [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]) == [1.0]


def test_skipping_comes_first() -> None:
    both = Teacher(skip=0.5, equal=0.5)
    assert np.isnan(answers(both, [[0.0]], [[0.0]], Scale(1, 1.0))).all()


@pytest.mark.parametrize(
    ("text", "share"), [("oracle", 1.0), ("flip:0.1", 0.9), ("noisy:1", 0.8808), ("noisy:0.5+flip:0.1", 0.6849)]
)
def test_labels_are_as_frequent_as_their_probability(text: str, share: float) -> None:
    n = 20_000
    found = parse_teacher(text).answers(
        np.full((n, 1), 3.0), np.full((n, 1), 1.0), (np.ones((n, 1), bool), np.ones((n, 1), bool)), Scale(), 7
    )
    assert set(found) <= {0.0, 1.0}
    assert found.mean() == pytest.approx(share, abs=0.012 if share < 1 else 0)


def test_answers_to_pairs_the_other_way_round_are_opposite() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 50, 4))
    inside = np.ones((50, 4), bool)
    there = ORACLE.answers(one, two, (inside, inside), Scale(), 0)
    back = ORACLE.answers(two, one, (inside, inside), Scale(), 0)
    np.testing.assert_array_equal(there, 1.0 - back)


def test_chance_is_fixed_by_the_seed() -> None:
    one, two = [[float(i)] for i in range(40)], [[20.0]] * 40
    noisy = parse_teacher("noisy:0.2")
    np.testing.assert_array_equal(answers(noisy, one, two, seed=1), answers(noisy, one, two, seed=1))
    assert (answers(noisy, one, two, seed=1) != answers(noisy, one, two, seed=2)).any()


def test_names() -> None:
    assert parse_teacher("oracle") == ORACLE
    assert parse_teacher("noisy") == Teacher(beta=1.0)
    assert parse_teacher("myopic:0.9+flip:0.1") == Teacher(gamma=0.9, flip=0.1)
    assert ORACLE.parameters["beta"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("orcale", "unknown teacher 'orcale'; did you mean 'oracle'?"),
        ("flip:2", "flip takes a number in [0, 1]"),
        ("noisy:0", "noisy takes a number above 0"),
        ("skip:x", "skip takes 0 or more"),
        ("", "unknown teacher ''"),
    ],
)
def test_mistakes(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told.replace("[", r"\[").replace("?", r"\?")):
        parse_teacher(text)
