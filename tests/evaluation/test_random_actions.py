"""What random actions are worth: by hand, by playing them, and on GridHazards."""

from __future__ import annotations

import numpy as np
import pytest

from waker.collection.family import Family
from waker.config.presets import preset
from waker.evaluation.random_actions import random_rows, random_values
from waker_envs.tabular import TabularMDP


def test_a_corridor_by_hand() -> None:
    # State 1 pays 1 for every step from it; action 0 goes to state 0, action 1 to state 1.
    move = np.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    reward = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    table = TabularMDP(np.arange(2), move, reward, 0, 3)
    # From 0: 0 + ½ + ½; from 1: 1 + ½ + ½.
    assert random_values(table) == pytest.approx(np.array([[1.0, 2.0]]))


def test_an_episode_that_ends_earns_nothing_more() -> None:
    move = np.array([[[0.0]], [[1.0]]])  # action 0 ends it
    table = TabularMDP(np.arange(1), move, np.ones((1, 2, 1)), 0, 3)
    assert random_values(table) == pytest.approx(np.array([[1.75]]))


@pytest.mark.slow
def test_random_actions_earn_six_hundredths_of_the_optimum_on_gridhazards() -> None:
    rows = random_rows(Family.of(preset("laptop")))
    shares = np.array([row["return"] / row["optimal_return"] for row in rows])
    assert len(rows) == 18 * 3
    assert shares.mean() == pytest.approx(0.059, abs=1.5e-3)


def test_a_family_without_tables_tells_nothing() -> None:
    config = preset("tiny").with_(env="waker/DoorKey-v0")
    assert random_rows(Family.of(config)) == []
