"""Priorities and the mixture against distributions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waker.curriculum.api import Priority
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.priorities.rules import Boltzmann, Drawable, Fixed, Rank, Restrict, TopK

NAN = np.nan


def softmax(logits: list[float]) -> np.ndarray:
    weights = np.exp(np.array(logits))
    return weights / weights.sum()


def test_boltzmann_of_the_z_score() -> None:
    # Known 1, 2, 3: mean 2, population std sqrt(2/3); z = ∓1.2247….
    z = 1 / (np.sqrt(2 / 3) + 1e-6)
    p = Boltzmann(0.5).distribution(np.array([1.0, NAN, 2.0, 3.0]))
    assert p is not None
    assert p[1] == 0
    np.testing.assert_allclose(p[[0, 2, 3]], softmax([-z / 0.5, 0.0, z / 0.5]), rtol=1e-12)


def test_boltzmann_of_the_mean_absolute_value() -> None:
    # mean |r| = 2, so z = (0.5, −0.5, 2).
    p = Boltzmann(0.5, "mean-abs").distribution(np.array([1.0, -1.0, 4.0]))
    np.testing.assert_allclose(p, softmax([1.0, -1.0, 4.0]), rtol=1e-12)


@pytest.mark.parametrize("normalise", ["zscore", "mean-abs"])
def test_boltzmann_of_equal_scores_is_uniform(normalise: str) -> None:
    for value in (0.0, 3.0):
        p = Boltzmann(1.0, normalise).distribution(np.array([value, value, NAN, value]))  # type: ignore[arg-type]
        np.testing.assert_allclose(p, [1 / 3, 1 / 3, 0, 1 / 3])


@pytest.mark.parametrize("bad", [-np.inf, np.inf])
@pytest.mark.parametrize(
    "priority",
    [Boltzmann(1.0), Boltzmann(1.0, "mean-abs"), Rank(0.3), TopK(2), Proportional(1.0), Restrict(np.ones(4) / 4)],
)
def test_a_score_that_is_not_finite_is_none_at_all(priority: Drawable, bad: float) -> None:
    """dcd and jaxued give a level without a finished episode −∞; it must not take a rank, nor be drawn."""
    expected = priority.distribution(np.array([1.0, NAN, 0.5, NAN]))
    scores = np.array([1.0, bad, 0.5, bad])
    np.testing.assert_array_equal(priority.distribution(scores), expected)
    assert priority.distribution(np.full(4, bad)) is None
    built, updated = priority.draws(4), priority.draws(4)
    built.settle(lambda: scores)
    updated.settle(lambda: np.array([1.0, 2.0, 0.5, 3.0]))
    updated.update(np.array([1, 3]), scores[[1, 3]])
    rng = np.random.default_rng(0)
    for draws in (built, updated):
        assert {draws.draw(rng) for _ in range(200)} == {0, 2}


def test_a_tiny_temperature_picks_the_highest_without_overflow() -> None:
    p = Boltzmann(1e-6).distribution(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(p, [0, 0, 1])


def test_groups_are_normalised_apart_and_weigh_the_same() -> None:
    # Domain 0 has two θ, domain 1 three on another scale, domain 2 has no estimate yet.
    scores = np.array([1.0, 3.0, 100.0, 200.0, 300.0, NAN])
    p = Boltzmann(1.0, groups=np.array([0, 0, 1, 1, 1, 2])).distribution(scores)
    z3 = 1 / np.sqrt(2 / 3)
    expected = [*(softmax([-1.0, 1.0]) / 2), *(softmax([-z3, 0.0, z3]) / 2), 0.0]
    np.testing.assert_allclose(p, expected, rtol=1e-5)  # the 1e-6 beside the standard deviation
    assert p is not None
    assert p[:2].sum() == pytest.approx(0.5, abs=1e-15)


def test_rank() -> None:
    p = Rank(0.5).distribution(np.array([10.0, NAN, 30.0, 20.0]))  # ranks 3, –, 1, 2; weight rank^−2
    total = 1 + 1 / 4 + 1 / 9
    np.testing.assert_allclose(p, [1 / 9 / total, 0, 1 / total, 1 / 4 / total], rtol=1e-12)


def test_top_k() -> None:
    scores = np.array([10.0, NAN, 30.0, 20.0, 20.0])
    np.testing.assert_array_equal(TopK(2).distribution(scores), [0, 0, 0.5, 0.5, 0])  # of equals, the lower id
    np.testing.assert_array_equal(TopK(9).distribution(scores), [0.25, 0, 0.25, 0.25, 0.25])


def test_restrict_and_fixed() -> None:
    weights = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(Restrict(weights).distribution(np.array([1.0, NAN, 1.0])), [5 / 7, 0, 2 / 7])
    assert Restrict(np.array([0.0, 1.0])).distribution(np.array([1.0, NAN])) is None
    np.testing.assert_allclose(Fixed(np.array([0.0, 2.0, 2.0])).distribution(np.full(3, NAN)), [0, 0.5, 0.5])


SCORED = [Boltzmann(1.0), Boltzmann(0.5, "mean-abs"), Rank(0.1), TopK(3), Restrict(np.full(6, 1 / 6))]


@pytest.mark.parametrize("priority", SCORED, ids=lambda p: type(p).__name__)
def test_nothing_known_gives_nothing(priority: Priority) -> None:
    assert priority.distribution(np.full(6, NAN)) is None


@pytest.mark.parametrize("priority", SCORED, ids=lambda p: type(p).__name__)
@given(scores=st.lists(st.one_of(st.just(NAN), st.floats(-1e9, 1e9)), min_size=6, max_size=6))
def test_always_a_distribution_over_known(priority: Priority, scores: list[float]) -> None:
    array = np.array(scores)
    p = priority.distribution(array)
    if p is None:
        assert np.isnan(array).all()
        return
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1)
    assert (p[np.isnan(array)] == 0).all()


W = np.array([0.4, 0.3, 0.2, 0.1])


def test_mixture_of_dr() -> None:
    q = Mixture(0.2).mix(np.array([0.0, 0.0, 0.5, 0.5]), W, np.zeros(4, np.int64))
    np.testing.assert_allclose(q, [0.08, 0.06, 0.44, 0.42])


def test_mixture_without_a_target_is_dr() -> None:
    np.testing.assert_array_equal(Mixture(0.2, 0.5).mix(None, W, np.arange(4)), W)


def test_mixture_of_staleness() -> None:
    # Only what the priority may choose (θ 2, 3) can be stale: ages 1 and 3.
    q = Mixture(0.2, 0.25).mix(np.array([0.0, 0.0, 0.5, 0.5]), W, np.array([9, 9, 1, 3]))
    stale, target = np.array([0, 0, 0.25, 0.75]), np.array([0, 0, 0.5, 0.5])
    np.testing.assert_allclose(q, 0.2 * W + 0.8 * (0.75 * target + 0.25 * stale))


def test_mixture_of_staleness_with_nothing_stale() -> None:
    target = np.array([0.0, 0.0, 0.5, 0.5])
    np.testing.assert_allclose(Mixture(0.0, 0.25).mix(target, W, np.array([9, 9, 0, 0])), target)
