"""Metrics against hand-computed values and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from waker.analysis import metrics

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


def test_the_interval_of_a_mean_is_student_s() -> None:
    x = np.random.default_rng(1).normal(size=5)
    expected = stats.t.interval(0.9, 4, x.mean(), stats.sem(x))
    assert metrics.student_interval(x, 0.9) == pytest.approx((x.mean(), *expected))
    assert metrics.run_interval(x, confidence=0.9) == pytest.approx((x.mean(), *expected))  # the jackknife of a mean
    assert metrics.student_interval([3.0])[1:] == pytest.approx((math.nan, math.nan), nan_ok=True)
    with pytest.raises(ValueError, match="confidence"):
        metrics.student_interval(x, 1.0)


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_few_seeds_are_covered_where_a_percentile_bootstrap_falls_short(runs: int) -> None:
    rng, n = np.random.default_rng(runs), 2000
    x = rng.normal(size=(n, runs))
    covered = np.array([low <= 0 <= high for _, low, high in map(metrics.student_interval, x)]).mean()
    draws = x[np.arange(n)[:, None, None], rng.integers(runs, size=(n, 400, runs))].mean(2)
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    percentile = ((low <= 0) & (high >= 0)).mean()
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / n))
    assert percentile < {3: 0.80, 5: 0.87, 10: 0.93}[runs]


def test_run_intervals_take_tasks_of_a_run_together() -> None:
    # Wholly dependent tasks are one sample: as many copies of it as one likes tell nothing more.
    x = np.random.default_rng(0).normal(size=(6, 1))
    assert metrics.run_interval(np.repeat(x, 5, 1)) == pytest.approx(metrics.run_interval(x))
    # Tasks that cancel in every run leave no spread, however much each has.
    assert metrics.run_interval(np.hstack([x, -x])) == pytest.approx((0.0, 0.0, 0.0))


def test_run_intervals_take_any_statistic_and_confidence() -> None:
    x = np.arange(40.0).reshape(8, 5)
    wide = metrics.run_interval(x, metrics.iqm, confidence=0.99)
    narrow = metrics.run_interval(x, metrics.iqm, confidence=0.5)
    assert wide.point == narrow.point == metrics.iqm(x)
    assert wide.low < narrow.low <= narrow.point <= narrow.high < wide.high
    with pytest.raises(ValueError, match="confidence"):
        metrics.run_interval(x, confidence=1.0)
    with pytest.raises(ValueError, match="shape"):
        metrics.run_interval(np.zeros((2, 2, 2)))


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


def test_rliable_s_published_example() -> None:
    """Scores and values of the test that rliable ships (Agarwal et al. 2021), runs × tasks."""
    x, y = [[1, 2], [2, 2], [1, 1], [2, 1]], [[1, 1], [2, 2], [3, 3]]
    assert (metrics.iqm(x), metrics.iqm(y)) == (1.5, 2.0)
    assert (metrics.mean(x), metrics.mean(y)) == (1.5, 2.0)
    assert metrics.probability_of_improvement(x, y) == pytest.approx(1 / 3, abs=1e-15)


def test_rliable_s_values_of_a_larger_table() -> None:
    """Values are those of rliable 1.2.0: five and four runs of six tasks."""
    n = np.arange(30)
    x, y = np.sin(n * n).reshape(5, 6), np.cos(n * n + 1).reshape(5, 6)[:4]
    assert metrics.iqm(x) == pytest.approx(-0.2736736435346813, abs=1e-12)
    assert metrics.iqm(y) == pytest.approx(0.2507929208997914, abs=1e-12)
    assert metrics.probability_of_improvement(x, y) == pytest.approx(0.325, abs=1e-12)


def test_improvement_interval_solves_newcombe_s_equation() -> None:
    x, y = np.random.default_rng(0).normal(0.5, 1, size=(10, 3)), np.random.default_rng(1).normal(size=(8, 3))
    got = metrics.improvement_interval(x, y)
    assert got.point == metrics.probability_of_improvement(x, y)
    t = stats.t.ppf(0.975, 16)
    for limit in got[1:]:
        a, b = (1 - limit) / (2 - limit), limit / (1 + limit)
        variance = limit * (1 - limit) * (1 + (18 / 2 - 1) * (a + b)) / 80
        assert abs(limit - got.point) == pytest.approx(t * math.sqrt(variance), abs=2e-3)


def test_improvement_of_three_sure_wins_is_not_sure() -> None:
    point, low, high = metrics.improvement_interval([5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    assert (point, high) == (1.0, 1.0)
    assert low < 0.7
    assert np.isnan(metrics.improvement_interval([5.0], [1.0, 2.0]).low)


def covered_improvement(runs: int, tasks: int, shared: float, shift: float, n: int, rng: np.random.Generator) -> float:
    """How often the interval holds the truth for runs whose tasks share the part ``shared`` of their variance."""

    def scores() -> np.ndarray:
        own, together = rng.normal(size=(n, runs, tasks)), rng.normal(size=(n, runs, 1))
        return math.sqrt(shared) * together + math.sqrt(1 - shared) * own

    truth = stats.norm.cdf(shift / math.sqrt(2))
    found = [metrics.improvement_interval(x, y) for x, y in zip(scores() + shift, scores(), strict=True)]
    return float(np.mean([low <= truth <= high for _, low, high in found]))


@pytest.mark.parametrize(("runs", "tasks"), [(3, 3), (5, 5), (10, 3)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_improvement_is_covered_though_tasks_share_a_model(runs: int, tasks: int, shift: float) -> None:
    n = 400
    covered = covered_improvement(runs, tasks, 0.9, shift, n, np.random.default_rng([runs, tasks]))
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / n)
