"""Metrics against hand-computed values and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from waker.evaluation import metrics
from waker.evaluation.metrics import Episodes, WorstTheta

floats = st.floats(-1e6, 1e6)


def test_cvar_of_a_hundred_episodes_is_the_mean_of_ten() -> None:
    x = np.random.default_rng(0).permutation(100).astype(float)
    assert metrics.cvar(x) == pytest.approx(4.5)
    assert metrics.cvar(x, largest=True) == pytest.approx(94.5)


@pytest.mark.parametrize(
    ("x", "alpha", "expected"),
    [
        ([1, 2, 3, 4, 5], 0.5, (1 + 2 + 0.5 * 3) / 2.5),  # n·α = 2.5: half of the third
        ([4, 1, 3], 0.1, 1.0),  # n·α < 1: the worst
        ([4, 1, 3], 1.0, 8 / 3),  # everything
        ([7], 0.1, 7.0),
        ([0, 0, 10, 10], 0.75, 10 / 3),
        ([-math.inf, 0, 1, 2], 0.25, -math.inf),
        ([0, 1, 2, math.inf], 0.5, 0.5),  # what lies outside the tail does not matter
    ],
)
def test_cvar_by_hand(x: list[float], alpha: float, expected: float) -> None:
    assert metrics.cvar(x, alpha) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(x=st.lists(floats, min_size=1, max_size=30), alpha=st.floats(0.01, 1.0))
def test_cvar_is_the_minimum_over_reweightings(x: list[float], alpha: float) -> None:
    """Its dual: the least mean under weights of at most 1/(n·α); Rockafellar & Uryasev's primal must reach it."""
    values = np.array(x)
    primal = max(v - np.maximum(v - values, 0).mean() / alpha for v in values)
    assert metrics.cvar(x, alpha) == pytest.approx(primal, rel=1e-6, abs=1e-4)
    assert metrics.cvar(x, alpha) == pytest.approx(-metrics.cvar(-values, alpha, largest=True), abs=1e-9)


@pytest.mark.parametrize("function", [metrics.mean, metrics.cvar, metrics.iqm])
def test_missing_values_are_not_hidden(function) -> None:  # type: ignore[no-untyped-def]
    assert math.isnan(function([1.0, math.nan, 2.0]))
    with pytest.raises(ValueError, match="no values"):
        function([])


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1])
def test_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        metrics.cvar([1.0], alpha)


IDS = [4, 2, 4, 7, 2, 2]
X = [1.0, 6.0, 3.0, 2.0, 0.0, 0.0]  # means: θ 2 → 2, θ 4 → 2, θ 7 → 2


def test_theta_means() -> None:
    got = metrics.theta_means(IDS, [1.0, 6.0, 3.0, 5.0, 0.0, 0.0])
    assert got.theta_id.tolist() == [2, 4, 7]
    assert got.mean.tolist() == [2.0, 2.0, 5.0]
    assert got.episodes.tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="2 entries but there are 1 values"):
        metrics.theta_means([1, 2], [1.0])


def test_worst_theta() -> None:
    assert metrics.worst_theta(IDS, [1.0, 6.0, 3.0, 5.0, 0.0, -3.0]) == WorstTheta(2, 1.0)
    assert metrics.worst_theta(IDS, [1.0, 6.0, 3.0, 5.0, 0.0, -3.0], largest=True) == WorstTheta(7, 5.0)
    assert metrics.worst_theta(IDS, X) == WorstTheta(2, 2.0)  # of equals, the lowest id
    worst = metrics.worst_theta([0, 1], [0.0, math.nan])
    assert worst.theta_id == 1
    assert math.isnan(worst.value)


def test_cvar_selected_by_hand() -> None:
    select = Episodes(np.array([0, 0, 1, 1, 2, 3]), np.array([9.0, 9.0, 1.0, 3.0, 0.0, 5.0]))
    score = Episodes(np.array([3, 2, 1, 1, 0]), np.array([100.0, 10.0, 4.0, 6.0, 50.0]))
    # Worst first by the selection: θ 2 (0; weight 1/6), θ 1 (2; 2/6), θ 3 (5; 1/6), θ 0 (9; 2/6); fresh 10, 5, 100, 50.
    assert metrics.cvar_selected(select, score, 1 / 6) == pytest.approx(10.0)
    assert metrics.cvar_selected(select, score, 1 / 3) == pytest.approx((10 / 6 + 5 / 6) / (1 / 3))
    assert metrics.cvar_selected(select, score, 1.0) == pytest.approx((10 + 2 * 5 + 100 + 2 * 50) / 6)
    assert metrics.cvar_selected(select, score, 1 / 3, largest=True) == pytest.approx(50.0)


def test_cvar_selected_leaves_out_theta_of_one_set_only() -> None:
    select = Episodes(np.array([0, 1, 9]), np.array([1.0, 2.0, -50.0]))
    score = Episodes(np.array([0, 1, 8]), np.array([1.0, 2.0, -50.0]))
    assert metrics.cvar_selected(select, score, 0.5) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no θ in common"):
        metrics.cvar_selected(select, Episodes(np.array([5]), np.array([1.0])))


def test_cvar_selected_has_no_selection_bias() -> None:
    """All θ alike with mean 0: every choice is pure luck, and the fresh score must not inherit it."""
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(20), 5)
    scored, naive = [], []
    for _ in range(400):
        select, fresh = rng.normal(size=100), rng.normal(size=100)
        scored.append(metrics.cvar_selected(Episodes(ids, select), Episodes(ids, fresh), 0.1))
        naive.append(metrics.cvar_selected(Episodes(ids, select), Episodes(ids, select), 0.1))
    assert abs(np.mean(scored)) < 4 * np.std(scored) / math.sqrt(400)
    assert np.mean(naive) < -0.5


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=40))
def test_spearman_is_scipy_s(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    got = metrics.spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_leaves_out_pairs_with_nan() -> None:
    nan = math.nan
    assert metrics.spearman([1, nan, 2, 3, 4], [10, 0, 20, nan, 15]) == pytest.approx(
        stats.spearmanr([1, 2, 4], [10, 20, 15]).statistic
    )
    assert math.isnan(metrics.spearman([1, nan], [nan, 2]))
    assert math.isnan(metrics.spearman([], []))
    with pytest.raises(ValueError, match="x has 1 values but y has 2"):
        metrics.spearman([1], [1, 2])


@given(st.lists(floats, min_size=1, max_size=40))
def test_iqm_is_the_trimmed_mean(x: list[float]) -> None:
    assert metrics.iqm(x) == pytest.approx(float(stats.trim_mean(x, 0.25)), rel=1e-9, abs=1e-9)


def test_bootstrap_interval_is_scipy_s_percentile_interval() -> None:
    x = np.random.default_rng(1).normal(size=12)
    got = metrics.bootstrap_interval(x, np.random.default_rng(2), repetitions=5000)
    reference = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3))
    assert got.point == pytest.approx(x.mean())
    assert got.low == pytest.approx(reference.confidence_interval.low, abs=0.04)
    assert got.high == pytest.approx(reference.confidence_interval.high, abs=0.04)


def test_bootstrap_resamples_runs_inside_each_task_only() -> None:
    # No spread inside a task: whatever differs between tasks, the interval is a point.
    scores = np.tile([1.0, 100.0, -7.0], (5, 1))
    got = metrics.bootstrap_interval(scores, np.random.default_rng(0), repetitions=200)
    assert got == pytest.approx((94 / 3,) * 3)


def test_bootstrap_draws_tasks_independently() -> None:
    # Two tasks of ±1 in opposite order: drawn together the mean is always 0, drawn apart it spreads.
    got = metrics.bootstrap_interval([[1.0, -1.0], [-1.0, 1.0]], np.random.default_rng(0), repetitions=500)
    assert got == (0.0, -1.0, 1.0)


def test_bootstrap_takes_any_statistic_and_confidence() -> None:
    x = np.arange(40.0).reshape(8, 5)
    rng = np.random.default_rng(0)
    wide = metrics.bootstrap_interval(x, rng, metrics.iqm, repetitions=500, confidence=0.99)
    narrow = metrics.bootstrap_interval(x, rng, metrics.iqm, repetitions=500, confidence=0.5)
    assert wide.point == narrow.point == metrics.iqm(x)
    assert wide.low < narrow.low <= narrow.point <= narrow.high < wide.high
    with pytest.raises(ValueError, match="confidence"):
        metrics.bootstrap_interval(x, rng, confidence=1.0)
    with pytest.raises(ValueError, match="shape"):
        metrics.bootstrap_interval(np.zeros((2, 2, 2)), rng)


@settings(deadline=None)
@given(x=st.lists(st.integers(0, 5), min_size=1, max_size=8), y=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_probability_of_improvement_is_mann_whitney_s(x: list[int], y: list[int]) -> None:
    u = stats.mannwhitneyu(x, y, method="asymptotic").statistic
    assert metrics.probability_of_improvement(x, y) == pytest.approx(u / (len(x) * len(y)))


def test_probability_of_improvement_averages_tasks() -> None:
    x, y = [[1.0, 5.0], [3.0, 5.0]], [[2.0, 0.0], [2.0, 5.0], [2.0, 9.0]]
    assert metrics.probability_of_improvement(x, y) == pytest.approx((0.5 + 0.5) / 2)
    assert math.isnan(metrics.probability_of_improvement([1.0, math.nan], [0.0]))
    with pytest.raises(ValueError, match="1 tasks but y has 2"):
        metrics.probability_of_improvement([1.0], [[1.0, 2.0]])


def test_improvement_interval() -> None:
    rng = np.random.default_rng(0)
    sure = metrics.improvement_interval([5.0, 6.0, 7.0], [1.0, 2.0], rng, repetitions=200)
    assert sure == (1.0, 1.0, 1.0)
    x, y = rng.normal(0.5, 1, size=(10, 3)), rng.normal(size=(8, 3))
    got = metrics.improvement_interval(x, y, rng, repetitions=500)
    assert got.point == metrics.probability_of_improvement(x, y)
    assert 0.3 < got.low < got.point < got.high < 1.0
    assert got.high - got.low > 0.1
