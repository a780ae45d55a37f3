"""The ceiling of a rank correlation, on measurements whose reliability is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from waker.analysis.metrics import spearman
from waker.analysis.ranking import rank_correlation
from waker.analysis.reliability import by_episode, ceiling, reliability, spearman_brown

THETAS = 400


def measured(noise: float, episodes: int, seed: int, thetas: int = THETAS) -> tuple[np.ndarray, np.ndarray]:
    """True values of θ, normal with variance 1, and episodes (θ, episodes) whose noise has this deviation."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(thetas)
    return truth, truth[:, None] + noise * rng.standard_normal((thetas, episodes))


def rank(pearson: float) -> float:
    """Spearman's correlation of normal variables with this one of Pearson's."""
    return 6 / math.pi * math.asin(pearson / 2)


@pytest.mark.parametrize("episodes", [2, 3, 8])
@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
def test_reliability_and_ceiling_are_those_of_the_known_noise(noise: float, episodes: int) -> None:
    share = 1 / (1 + noise**2 / episodes)  # of the measurement's variance that is the truth's
    found = [measured(noise, episodes, seed) for seed in range(6)]
    assert np.mean([reliability([values]) for _, values in found]) == pytest.approx(rank(share), abs=0.04)
    best = np.mean([spearman(truth, values.mean(1)) for truth, values in found])  # a perfect estimate's correlation
    assert best == pytest.approx(rank(math.sqrt(share)), abs=0.04)
    assert np.mean([ceiling([values]) for _, values in found]) == pytest.approx(best, abs=0.05)


def test_it_is_the_agreement_of_two_whole_measurements() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(THETAS)
    first, second = (truth[:, None] + 1.5 * rng.standard_normal((THETAS, 6)) for _ in range(2))
    again = stats.spearmanr(first.mean(1), second.mean(1)).statistic
    assert reliability([first]) == pytest.approx(again, abs=0.05)
    assert reliability([second]) == pytest.approx(again, abs=0.05)


def test_halves_of_a_mixture_are_halves_of_each_source() -> None:
    """What sources differ in is no noise: each has errors of its own, and no half may be of one source alone."""
    rng = np.random.default_rng(1)
    sources = [rng.standard_normal(THETAS)[:, None] + 0.5 * rng.standard_normal((THETAS, 4)) for _ in range(3)]
    share = 1 / (1 + 0.25 / 4)
    assert reliability(sources) == pytest.approx(rank(share), abs=0.04)
    mixed = np.concatenate(sources, 1)
    assert reliability([mixed]) < rank(share) - 0.1


def test_missing_episodes_are_left_out() -> None:
    _, values = measured(1.0, 8, 0)
    values[:, 5:] = np.nan
    assert reliability([values]) == pytest.approx(rank(5 / 6), abs=0.04)
    values[: THETAS // 2, 1:] = np.nan  # of these, no second half
    assert reliability([values]) == pytest.approx(rank(5 / 6), abs=0.06)


def test_pure_noise_has_no_ceiling_above_zero_but_by_chance() -> None:
    found = [ceiling([np.random.default_rng(seed).standard_normal((THETAS, 8))]) for seed in range(8)]
    assert np.mean(found) < 0.3


def test_what_was_measured_once_has_no_known_ceiling() -> None:
    assert np.isnan(ceiling([]))
    assert np.isnan(ceiling([np.ones((10, 1))]))
    assert np.isnan(ceiling([np.random.default_rng(0).random((10, 8)), np.random.default_rng(1).random((10, 1))]))
    assert np.isnan(ceiling([np.ones((10, 4))]))  # a constant has no order
    assert np.isnan(ceiling([np.full((10, 4), np.nan)]))


@pytest.mark.parametrize(
    ("r", "m", "whole"), [(0.5, 2, 2 / 3), (0.6, 3, 1.8 / 2.2), (1, 2, 1), (0, 2, 0), (-0.3, 2, 0)]
)
def test_spearman_brown_by_hand(r: float, m: float, whole: float) -> None:
    assert spearman_brown(r, m) == pytest.approx(whole)


def rows(values: np.ndarray, **columns: object) -> pd.DataFrame:
    theta, episode = np.indices(values.shape)
    table = {"theta_id": theta.ravel(), "episode_seed": 1000 * theta.ravel() + episode.ravel(), "value": values.ravel()}
    return pd.DataFrame({**table, "step": 10, "metric": "one_step_tv", **columns})


def test_rank_correlations_stand_beside_their_ceiling() -> None:
    truth, values = measured(2.0, 4, 0)
    curriculum = pd.DataFrame({"step": 10, "theta_id": np.arange(THETAS), "estimate": truth})
    found = rank_correlation(curriculum, rows(values)).iloc[0]
    assert found["spearman"] == pytest.approx(rank(math.sqrt(0.5)), abs=0.05)
    assert found["ceiling"] == pytest.approx(found["spearman"], abs=0.08)
    # The ceiling is of the θ that are compared, here those whose errors hardly differ.
    middle = np.argsort(abs(truth))[:100]
    few = rank_correlation(curriculum[curriculum["theta_id"].isin(middle)], rows(values)).iloc[0]
    assert few["theta"] == 100
    assert few["ceiling"] < found["ceiling"] - 0.2


def test_rows_of_means_have_no_known_ceiling() -> None:
    """As runs have that were measured before rows were of episodes."""
    truth, values = measured(1.0, 1, 0, 20)
    older = rows(values).drop(columns="episode_seed")
    curriculum = pd.DataFrame({"step": 10, "theta_id": np.arange(20), "estimate": truth})
    found = rank_correlation(curriculum, older).iloc[0]
    assert found["spearman"] == pytest.approx(spearman(truth, values[:, 0]))
    assert np.isnan(found["ceiling"])
    assert by_episode(older.assign(source="random"), range(20)) == []
