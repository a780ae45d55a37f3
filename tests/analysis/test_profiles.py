"""Interquartile means, profiles and probabilities of improvement, against their definitions written out plainly."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.rows import numbers
from waker.analysis.improvement import improvements
from waker.analysis.metrics import student_interval
from waker.analysis.profiles import THRESHOLDS, interquartile_means, performance_profile, profiles

SCORES = np.random.default_rng(3).random((5, 4)).round(2)
"""(R, K)"""
OTHER = np.random.default_rng(4).random((3, 4)).round(1)


def rows(scores: np.ndarray, sampler: str = "dr", quantity: str = "fraction_of_optimum") -> pd.DataFrame:
    return numbers({sampler: {f"task {k}": scores[:, k].tolist() for k in range(scores.shape[1])}}, quantity)


def test_a_profile_counts_runs_and_tasks_above_the_threshold() -> None:
    taus = [0.0, 0.25, float(SCORES[2, 1]), 1.0]
    found = performance_profile(SCORES, taus)
    for share, tau in zip(found.share, taus, strict=True):
        above = sum(1 for run in SCORES for score in run if score > tau)  # equal is not above
        assert share == above / 20
    by_run = [sum(score > 0.25 for score in run) / 4 for run in SCORES]
    interval = student_interval(by_run)
    assert (found.low[1], found.high[1]) == pytest.approx((max(interval.low, 0), min(interval.high, 1)))


def test_profiles_of_samplers() -> None:
    both = pd.concat([rows(SCORES), rows(OTHER, "waker-m"), rows(100 * OTHER, "waker-m", "mean_return")])
    found = profiles(both)
    assert set(found["quantity"]) == {"fraction_of_optimum"}  # returns have another scale in every task
    theirs = found[found["sampler"] == "waker-m"]
    assert theirs["threshold"].tolist() == THRESHOLDS.tolist()
    assert theirs["share"].tolist() == [(tau < OTHER).mean() for tau in THRESHOLDS]
    assert (theirs["seeds"].iloc[0], theirs["tasks"].iloc[0]) == (3, 4)


def test_the_interquartile_mean_is_of_all_runs_and_tasks_together() -> None:
    """⌊20 / 4⌋ = 5 scores are cut from each end, whatever run or task they are of."""
    found = interquartile_means(rows(SCORES)).iloc[0]
    middle = sorted(SCORES.ravel())[5:15]
    assert found["iqm"] == pytest.approx(sum(middle) / 10)
    assert found["iqm"] == pytest.approx(stats.trim_mean(SCORES.ravel(), 0.25))
    assert found["low"] < found["iqm"] < found["high"]


def test_the_interval_of_the_interquartile_mean_leaves_out_whole_runs() -> None:
    found = interquartile_means(rows(SCORES)).iloc[0]
    without = [stats.trim_mean(np.delete(SCORES, run, 0).ravel(), 0.25) for run in range(5)]
    error = math.sqrt(4 / 5 * sum((x - np.mean(without)) ** 2 for x in without))
    assert found["high"] - found["iqm"] == pytest.approx(stats.t.ppf(0.975, 4) * error)


def test_the_probability_of_improvement_is_mann_whitneys_in_each_task() -> None:
    both = pd.concat([rows(SCORES, "waker-m", "mean_return"), rows(OTHER, "dr", "mean_return")])
    found = improvements(both).iloc[0]
    wins = [
        sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in SCORES[:, k] for y in OTHER[:, k]) / 15 for k in range(4)
    ]
    u = [stats.mannwhitneyu(SCORES[:, k], OTHER[:, k], alternative="greater").statistic / 15 for k in range(4)]
    assert found["probability"] == pytest.approx(np.mean(wins))
    assert found["probability"] == pytest.approx(np.mean(u))


def test_tasks_that_a_run_lacks_are_left_out_of_all() -> None:
    lacking = OTHER.copy()
    lacking[1, 2] = math.nan
    found = interquartile_means(pd.concat([rows(SCORES), rows(lacking, "waker-m")])).set_index("sampler")
    assert found["tasks"].tolist() == [3, 3]
    assert found["iqm"]["dr"] == pytest.approx(stats.trim_mean(SCORES[:, [0, 1, 3]].ravel(), 0.25))


def test_one_run_has_no_interval() -> None:
    found = interquartile_means(rows(SCORES[:1])).iloc[0]
    assert math.isnan(found["low"])
    assert profiles(rows(SCORES[:1]))["low"].isna().all()
    assert interquartile_means(numbers({"dr": {"all": [0.5]}}, "fraction_of_optimum")).empty
