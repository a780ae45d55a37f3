"""Regret against the best return known, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from waker.analysis.best_known import BEST_KNOWN, with_best_known
from waker.analysis.numbers import compare_runs
from waker.names import ALL, DR_SUITE

NOTHING = pd.DataFrame()


def played(returns: dict[tuple[str, int], dict[int, Sequence[float]]], **other: Any) -> pd.DataFrame:
    """Rows of one task: returns of the episodes of each run (sampler, seed) and θ."""
    rows = [
        {"domain": "d", "sampler": sampler, "explorer": "e", "seed": seed, "suite": DR_SUITE, "task": "push"}
        | {"theta_id": theta, "theta_size": float(theta), "episode_seed": 100 * theta + i, "step": 10}
        | {"return": value, "optimal_return": np.nan, "completion": np.nan, "policy": "learned"}
        for (sampler, seed), thetas in returns.items()
        for theta, values in thetas.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**other)


def references(rows: pd.DataFrame) -> dict[int, float]:
    found = with_best_known(rows, rows["return"].to_numpy(float))
    assert found.drop(columns=BEST_KNOWN).equals(rows)
    return found.groupby("theta_id")[BEST_KNOWN].agg(lambda column: column.iloc[0]).to_dict()


def test_the_best_run_of_a_theta_is_its_reference() -> None:
    rows = played({("dr", 0): {0: [1.0, 1.0], 1: [8.0, 8.0]}, ("m", 0): {0: [3.0, 3.0], 1: [2.0, 2.0]}})
    assert references(rows) == {0: 3.0, 1: 8.0}


def test_it_is_chosen_on_one_half_and_valued_on_the_other() -> None:
    """The first half takes dr (9 against 4), which has 1 on the second; the second takes m (4), which has 4."""
    rows = played({("dr", 0): {0: [9.0, 1.0]}, ("m", 0): {0: [4.0, 4.0]}})
    assert references(rows) == {0: (1.0 + 4.0) / 2.0}  # the largest mean would be 5


def test_noise_alone_makes_no_regret() -> None:
    """Runs that are all alike have none in the mean; against the largest of their means it would be 0.7 here."""
    rng = np.random.default_rng(0)
    rows = played({("dr", seed): {theta: rng.normal(size=4).tolist() for theta in range(300)} for seed in range(8)})
    found = list(references(rows).values())
    assert len(found) == 300
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


@pytest.mark.parametrize(
    "other", [{"optimal_return": 5.0}, {"suite": "harder"}, {"theta_id": -1}], ids=["optimum", "suite", "continuous"]
)
def test_where_there_is_none(other: dict[str, Any]) -> None:
    rows = played({("dr", 0): {0: [1.0, 1.0]}, ("m", 0): {0: [3.0, 3.0]}}, **other)
    assert np.isnan(list(references(rows).values())).all()


def test_one_run_or_one_episode_is_too_few() -> None:
    assert np.isnan(references(played({("dr", 0): {0: [1.0, 1.0]}}))[0])
    assert np.isnan(references(played({("dr", 0): {0: [1.0]}, ("m", 0): {0: [3.0]}}))[0])


def test_runs_are_compared_by_it() -> None:
    rows = played({("dr", 0): {0: [1.0, 1.0], 1: [8.0, 8.0]}, ("m", 0): {0: [3.0, 3.0], 1: [2.0, 2.0]}})
    numbers = compare_runs(rows, NOTHING, NOTHING).numbers
    value = numbers.set_index(["sampler", "task", "quantity"])["value"]
    assert value["dr", ALL, "best_known_mean_regret"] == 1.0
    assert value["m", ALL, "best_known_mean_regret"] == 3.0
    assert value["dr", ALL, "best_known_worst_regret"] == 2.0
    assert value["m", "push", "best_known_worst_regret"] == 6.0
    assert not {"mean_regret", "worst_regret"} & set(numbers["quantity"])


def test_where_an_optimum_is_known_it_does_not_appear() -> None:
    rows = played({("dr", 0): {0: [1.0, 1.0]}, ("m", 0): {0: [3.0, 3.0]}}, optimal_return=5.0)
    assert not {q for q in compare_runs(rows, NOTHING, NOTHING).numbers["quantity"] if q.startswith("best_known")}
