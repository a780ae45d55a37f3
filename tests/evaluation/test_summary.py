"""Tables and rank correlations from rows written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from waker.evaluation.metrics import bootstrap_interval
from waker.evaluation.ranking import primary_metric, rank_correlation
from waker.evaluation.summary import (
    ALL,
    best,
    cell,
    compare,
    quantities,
    run_numbers,
    summarise,
    task_order,
)

EMPTY = pd.DataFrame()


def run(sampler: str = "dr", seed: int = 0, step: int = 100) -> dict[str, Any]:
    return {"domain": "d", "sampler": sampler, "explorer": "p2e", "seed": seed, "step": step}


def episode(task: str, theta_id: int, earned: float, number: int, **more: Any) -> dict[str, Any]:
    row = {"task": task, "policy": "learned", "suite": "dr", "theta_id": theta_id, "theta_x": float(theta_id)}
    row |= {"episode_seed": number, "return": earned, "completion": np.nan, "optimal_return": 10.0, "length": 4}
    return row | more


def evaluation(**identity: Any) -> list[dict[str, Any]]:
    """Task a: θ 0 earns 8, 6, θ 1 earns 2, 4. Task b: 10, 10 and 0, 2. Two suite episodes of a: 1 and 3."""
    earned = {("a", 0): (8, 6), ("a", 1): (2, 4), ("b", 0): (10, 10), ("b", 1): (0, 2)}
    rows = [episode(t, i, v, n) for (t, i), pair in earned.items() for n, v in enumerate(pair)]
    rows += [episode("a", -1, v, 5, suite="ood", optimal_return=np.nan) for v in (1, 3)]
    rows += [episode("a", 0, 0.0, n, policy="random") for n in range(2)]
    rows += [episode("a", 0, -99.0, 0, step=50)]
    return [{**run(**identity), **r} for r in rows]


def errors(scale: float = 1.0, **identity: Any) -> list[dict[str, Any]]:
    rows = []
    for step in (50, 100):
        for i in range(3):
            for metric, value in (("one_step_tv", 9.0), ("open_loop_tv_5", scale * (i + 1) * 100 / step)):
                about = {"theta_id": i, "theta_x": float(i), "metric": metric, "value": value}
                rows.append({**run(**identity, step=step), **about})
    return rows


def value(numbers: pd.DataFrame, task: str, quantity: str) -> float:
    found = numbers[(numbers["task"] == task) & (numbers["quantity"] == quantity)]["value"]
    assert len(found) == 1, (task, quantity)
    return float(found.iloc[0])


@pytest.fixture(scope="module")
def numbers() -> pd.DataFrame:
    steps = [{**run(), "theta_id": i, "length": n} for i, n in ((0, 30), (1, 10), (1, 20), (2, 40))]
    return run_numbers(pd.DataFrame(evaluation()), pd.DataFrame(errors()), pd.DataFrame(steps), hard=[1])


@pytest.mark.parametrize(
    ("task", "quantity", "expected"),
    [
        ("a", "mean_return", 5.0),
        ("a", "cvar_0.1", 2.0),  # 0.4 of an episode: the worst
        ("a", "cvar_0.1_unbiased", 3.0),  # θ 1 is chosen on either half and scored 4 and 2 on the other
        ("a", "mean_regret", 5.0),
        ("a", "worst_regret", 7.0),
        ("a", "worst_regret_cross_fit", 7.0),
        ("a", "fraction_of_optimum", 0.5),
        ("a", "return_ood", 2.0),
        ("b", "mean_return", 5.5),
        ("b", "worst_regret", 9.0),
        (ALL, "mean_return", 5.25),
        (ALL, "worst_regret", 9.0),  # the worse of the tasks, not their mean
        (ALL, "mean_regret", 4.75),
        (ALL, "return_ood", 2.0),
        (ALL, "worst_model_error", 3.0),  # open loop goes before one step, the last step before an earlier one
        (ALL, "mean_model_error", 2.0),
        (ALL, "hard_share", 0.3),
    ],
)
def test_numbers_of_one_run(numbers: pd.DataFrame, task: str, quantity: str, expected: float) -> None:
    assert value(numbers, task, quantity) == pytest.approx(expected)


def test_completion_appears_only_where_it_is_reported(numbers: pd.DataFrame) -> None:
    assert "completion" not in set(numbers["quantity"])
    rows = [{**run(), **episode("a", 0, 1.0, n, completion=n / 4)} for n in range(5)]
    assert value(run_numbers(pd.DataFrame(rows), EMPTY, EMPTY), "a", "completion") == pytest.approx(0.5)


def test_theta_outside_a_finite_space_has_no_cvar_over_theta() -> None:
    rows = [{**run(), **episode("a", -1, 1.0, n)} for n in range(3)]
    assert np.isnan(value(run_numbers(pd.DataFrame(rows), EMPTY, EMPTY), "a", "cvar_0.1_unbiased"))


def seeds() -> pd.DataFrame:
    rows = []
    for seed, earned in enumerate((1.0, 2.0, 6.0)):
        rows.append({**run("waker-m", seed), **episode("a", 0, earned, 0)})
        rows.append({**run("dr", seed), **episode("a", 0, 1.0 + 0.1 * seed, 0)})
    return compare(pd.DataFrame(rows), EMPTY, EMPTY)


def test_intervals_over_seeds_are_the_bootstrap_of_the_metrics() -> None:
    summary = seeds()
    row = summary[(summary["sampler"] == "waker-m") & (summary["quantity"] == "mean_return")].iloc[0]
    expected = bootstrap_interval(np.array([1.0, 2.0, 6.0]), np.random.default_rng(1), repetitions=20_000)
    assert row["mean"] == pytest.approx(3.0)
    assert row["low"] == pytest.approx(expected.low, abs=0.05)
    assert row["high"] == pytest.approx(expected.high, abs=0.05)
    assert row["seeds"] == 3


def test_one_seed_has_no_interval(numbers: pd.DataFrame) -> None:
    summary = summarise(numbers)
    assert summary["low"].isna().all()
    assert (summary["seeds"] == 1).all()


def test_best_is_the_largest_return_and_the_smallest_regret() -> None:
    summary = seeds()
    assert best(summary, "mean_return", "a") == ("d", "waker-m", "p2e")
    assert best(summary, "mean_regret", "a") == ("d", "waker-m", "p2e")
    assert best(summary[summary["sampler"] == "dr"], "mean_return", "a") is None


def test_columns_and_tasks_come_in_reading_order(numbers: pd.DataFrame) -> None:
    summary = summarise(numbers)
    order = quantities(summary)
    assert order[:4] == ["mean_return", "cvar_0.1", "cvar_0.1_unbiased", "return_ood"]
    assert set(order) == set(summary["quantity"])
    assert task_order(summary) == [ALL, "a", "b"]


@pytest.mark.parametrize(
    ("quantity", "numbers", "text"),
    [
        ("mean_return", (3.1, 2.95, 3.27), "3.10 [2.95, 3.27]"),
        ("mean_return", (123.4, np.nan, np.nan), "123"),
        ("worst_model_error", (0.0123, np.nan, np.nan), "0.0123"),
        ("hard_share", (0.25, 0.2, 0.31), "25.0 % [20.0, 31.0]"),
        ("mean_return", (0.0, np.nan, np.nan), "0.00"),
        ("mean_return", (np.nan, np.nan, np.nan), "–"),
    ],
)
def test_cells(quantity: str, numbers: tuple[float, float, float], text: str) -> None:
    assert cell(quantity, *numbers) == text


def test_nothing_measured_makes_empty_tables() -> None:
    assert run_numbers(EMPTY, EMPTY, EMPTY).empty
    assert compare(EMPTY, EMPTY, EMPTY).empty


def curriculum(**identity: Any) -> list[dict[str, Any]]:
    estimates = {20: (1.0, 2.0, 3.0), 90: (3.0, 2.0, 1.0), 100: (2.0, 1.0, np.nan)}
    return [
        {**run(**identity, step=step), "theta_id": i, "estimate": e}
        for step, values in estimates.items()
        for i, e in enumerate(values)
    ]


def test_rank_correlation_uses_the_snapshot_at_or_before_the_measurement() -> None:
    found = rank_correlation(pd.DataFrame(curriculum()), pd.DataFrame(errors()))
    table = found.set_index(["step", "metric"])
    assert table.loc[(50, "open_loop_tv_5"), "spearman"] == pytest.approx(1.0)  # snapshot of step 20
    assert table.loc[(100, "open_loop_tv_5"), "spearman"] == pytest.approx(-1.0)  # step 100, θ 2 unknown
    assert table.loc[(100, "open_loop_tv_5"), "theta"] == 2
    assert np.isnan(table.loc[(50, "one_step_tv"), "spearman"])  # a constant error has no order


def test_rank_correlation_keeps_runs_apart() -> None:
    rows = pd.DataFrame(curriculum() + curriculum(seed=1))
    rows.loc[rows["seed"] == 1, "estimate"] *= -1
    found = rank_correlation(rows, pd.DataFrame(errors() + errors(seed=1)))
    at = found[(found["step"] == 50) & (found["metric"] == "open_loop_tv_5")].set_index("seed")["spearman"]
    assert at.to_dict() == pytest.approx({0: 1.0, 1: -1.0})


def test_rank_correlation_of_nothing_is_empty() -> None:
    assert rank_correlation(EMPTY, pd.DataFrame(errors())).empty
    assert rank_correlation(pd.DataFrame(curriculum()), EMPTY).empty


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [
        (["latent_kl_1", "one_step_tv", "open_loop_tv_10"], "open_loop_tv_10"),
        (["latent_kl_1", "one_step_tv"], "one_step_tv"),
        (["latent_kl_1", "observation_nll_1", "observation_nll_10"], "observation_nll_10"),
        (["anything"], "anything"),
        ([], None),
    ],
)
def test_the_metric_that_stands_for_the_error(metrics: list[str], chosen: str | None) -> None:
    assert primary_metric(metrics) == chosen
