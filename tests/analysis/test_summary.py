"""Tables and rank correlations from rows written by hand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests.helpers.rows import numbers as numbers_of
from waker.analysis import quantities as quantities_module
from waker.analysis.metrics import student_interval
from waker.analysis.numbers import compare_runs
from waker.analysis.quantities import Quantity, quantity_of
from waker.analysis.ranking import primary_metric, rank_correlation
from waker.analysis.summary import best, cell, quantities, shown_value, summarise, task_order
from waker.cli.tables import comparison
from waker.names import ALL
from waker.report.blocks import summary_table

EMPTY = pd.DataFrame()
CVAR = ("cvar_0.1_theta", "cvar_0.1_theta_plug_in")


def numbers_of_runs(*tables: pd.DataFrame, **sets: Any) -> pd.DataFrame:
    return compare_runs(*tables, **sets).numbers


def compared(*tables: pd.DataFrame) -> pd.DataFrame:
    return summarise(numbers_of_runs(*tables))


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
    return numbers_of_runs(
        pd.DataFrame(evaluation()),
        pd.DataFrame(errors()),
        pd.DataFrame(steps),
        sets={"hard": [1], "noisy": [0, 2], "none": []},
    )


def test_only_what_cannot_leave_its_limits_is_cut_off_there() -> None:
    """The actor's part of a regret is negative where the actor makes up for the model."""
    for quantity, values, low, high in (
        ("actor_share", [-0.2, -0.3, -0.1], -0.4484, 0.0484),
        ("hard_share", [0.9, 1.0, 0.95], 0.8258, 1.0),
        ("noisy_share", [0.9, 1.0, 0.95], 0.8258, 1.0),
        ("estimate_rank", [0.9, 0.2], -1.0, 1.0),
        ("estimate_rank_ceiling", [0.9, 1.0, 0.95], 0.8258, 1.0),
    ):
        row = summarise(numbers_of({"dr": {"a": values}}, quantity)).iloc[0]
        assert (row["low"], row["high"]) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize(
    ("task", "quantity", "expected"),
    [
        ("a", "mean_return", 5.0),
        ("a", "cvar_0.1", 2.0),  # 0.4 of an episode: the worst
        ("a", "cvar_0.1_theta", 3.0),  # θ 1 is chosen on either half and scored 4 and 2 on the other
        ("a", "cvar_0.1_theta_plug_in", 3.0),
        ("a", "mean_regret", 5.0),
        ("a", "worst_regret", 7.0),
        ("a", "worst_regret_split", 7.0),
        ("a", "worst_regret_plug_in", 7.0),
        ("a", "fraction_of_optimum", 0.5),
        ("a", "return_ood", 2.0),
        ("b", "mean_return", 5.5),
        ("b", "worst_regret", 9.0),
        (ALL, "mean_return", 5.25),
        (ALL, "worst_regret", 9.0),  # the worst pair of task and θ, not a mean over tasks
        (ALL, "mean_regret", 4.75),
        (ALL, "return_ood", 2.0),
        (ALL, "worst_model_error_plug_in", 3.0),  # open loop goes before one step, the last step before an earlier one
        (ALL, "mean_model_error", 2.0),
        (ALL, "hard_share", 0.3),
        (ALL, "noisy_share", 0.7),
    ],
)
def test_numbers_of_one_run(numbers: pd.DataFrame, task: str, quantity: str, expected: float) -> None:
    assert value(numbers, task, quantity) == pytest.approx(expected)


def test_completion_appears_only_where_it_is_reported(numbers: pd.DataFrame) -> None:
    assert "completion" not in set(numbers["quantity"])
    rows = [{**run(), **episode("a", 0, 1.0, n, completion=n / 4)} for n in range(5)]
    assert value(numbers_of_runs(pd.DataFrame(rows), EMPTY, EMPTY), "a", "completion") == pytest.approx(0.5)


def test_what_is_worst_is_never_better_than_the_mean() -> None:
    """By halves either θ seems the worse one; over all units both are alike."""
    earned = {0: (10, 1, 10, 1), 1: (1, 10, 1, 10)}
    rows = [{**run(), **episode("a", i, v, n)} for i, values in earned.items() for n, v in enumerate(values)]
    found = numbers_of_runs(pd.DataFrame(rows), EMPTY, EMPTY)
    mean, worst, plug_in = (value(found, "a", q) for q in ("mean_return", *CVAR))
    assert plug_in <= worst <= mean == 5.5
    assert value(found, "a", "worst_regret") >= value(found, "a", "mean_regret")


def test_theta_outside_a_finite_space_has_no_cvar_over_theta() -> None:
    rows = [{**run(), **episode("a", -1, 1.0, n)} for n in range(3)]
    assert np.isnan(value(numbers_of_runs(pd.DataFrame(rows), EMPTY, EMPTY), "a", "cvar_0.1_theta"))


def seeds() -> pd.DataFrame:
    rows = []
    for seed, earned in enumerate((1.0, 2.0, 6.0)):
        rows.append({**run("waker-m", seed), **episode("a", 0, earned, 0)})
        rows.append({**run("dr", seed), **episode("a", 0, 1.0 + 0.1 * seed, 0)})
    return compared(pd.DataFrame(rows), EMPTY, EMPTY)


def test_intervals_over_seeds_are_student_s() -> None:
    summary = seeds()
    row = summary[(summary["sampler"] == "waker-m") & (summary["quantity"] == "mean_return")].iloc[0]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(student_interval([1.0, 2.0, 6.0]))
    assert (row["seeds"], row["interval"]) == (3, "seeds")


def test_shares_and_their_intervals_stay_between_0_and_1() -> None:
    rows = [{**run("dr", seed), **episode("a", 0, 1.0, 0, completion=seed / 2)} for seed in range(3)]
    row = compared(pd.DataFrame(rows), EMPTY, EMPTY).set_index(["task", "quantity"]).loc[("a", "completion")]
    assert (row["mean"], row["low"], row["high"]) == (0.5, 0.0, 1.0)


def test_one_seed_has_an_interval_for_its_worst_theta_alone(numbers: pd.DataFrame) -> None:
    summary = summarise(numbers)
    assert (summary["seeds"] == 1).all()
    with_interval = summary[summary["low"].notna()]
    assert set(with_interval["quantity"]) == {"cvar_0.1_theta", "worst_regret"}
    assert set(with_interval["interval"]) == {"episodes"}
    assert ((with_interval["low"] < with_interval["mean"]) & (with_interval["mean"] < with_interval["high"])).all()


def test_a_worst_case_is_shown_once_with_its_bracket() -> None:
    """θ 0 has regrets 9, 0, 0, 3 and θ 1 0, 7, 2, 3: either half chooses the other's milder one."""
    earned = {0: (1, 10, 10, 7), 1: (10, 3, 8, 7)}
    rows = [{**run(), **episode("a", i, v, n)} for i, values in earned.items() for n, v in enumerate(values)]
    summary = compared(pd.DataFrame(rows), EMPTY, EMPTY)
    told = shown_value(summary[summary["task"] == "a"], "worst_regret")
    assert told is not None
    assert told.bracket.startswith("1.25 … 3.00 [")
    assert 1.25 <= float(told.value) <= 3.0
    assert told.interval == ""
    assert [q for q in quantities(summary) if q.startswith("worst_regret")] == ["worst_regret"]


def test_the_optimistic_estimate_stands_first_for_returns_too() -> None:
    earned = {0: (1, 10, 10, 7), 1: (10, 3, 8, 7)}
    rows = [{**run(), **episode("a", i, v, n)} for i, values in earned.items() for n, v in enumerate(values)]
    summary = compared(pd.DataFrame(rows), EMPTY, EMPTY)
    for quantity, bracket in (("worst_regret", "1.25 … 3.00"), ("cvar_0.1_theta", "8.75 … 7.00")):
        told = shown_value(summary[summary["task"] == "a"], quantity)
        assert told is not None
        assert told.bracket.partition(" [")[0] == bracket


def captioned(numbers: pd.DataFrame) -> str:
    return str(comparison(summarise(numbers), 200)[-1].caption)


def test_the_caption_explains_what_is_printed_and_nothing_else(numbers: pd.DataFrame) -> None:
    assert "optimistic … pessimistic" in captioned(numbers)
    assert "(plug-in): " in captioned(numbers)
    errors_alone = numbers[numbers["quantity"].str.contains("model_error")]
    assert "optimistic …" not in captioned(errors_alone)
    assert "(plug-in): " in captioned(errors_alone)
    means = numbers[numbers["quantity"] == "mean_return"]
    assert captioned(means) == "one seed"


def test_a_worst_case_of_which_the_plug_in_alone_is_known_says_so(numbers: pd.DataFrame) -> None:
    told = shown_value(summarise(numbers[numbers["task"] == ALL]), "worst_model_error")
    assert told == ("3.00 (plug-in)", "", "")


def test_columns_and_tasks_come_in_reading_order(numbers: pd.DataFrame) -> None:
    summary = summarise(numbers)
    order = quantities(summary)
    assert order[:4] == ["mean_return", "cvar_0.1", "cvar_0.1_theta", "return_ood"]
    assert set(summary["quantity"]) - set(order) == {
        f"{quantity}_{part}"
        for quantity in ("cvar_0.1_theta", "worst_regret", "worst_model_error")
        for part in ("plug_in", "split")
    }
    assert task_order(summary) == [ALL, "a", "b"]


@pytest.mark.parametrize(
    ("quantity", "numbers", "text"),
    [
        ("mean_return", (3.1, 2.95, 3.27), "3.10 [2.95, 3.27]"),
        ("mean_return", (123.4, np.nan, np.nan), "123"),
        ("worst_model_error", (0.0123, np.nan, np.nan), "0.0123"),
        ("hard_share", (0.25, 0.2, 0.31), "25.0 % [20.0, 31.0]"),
        ("noisy_share", (0.25, 0.2, 0.31), "25.0 % [20.0, 31.0]"),
        ("return_my_share", (0.25, 0.2, 0.31), "0.250 [0.200, 0.310]"),
        ("mean_return", (0.0, np.nan, np.nan), "0.00"),
        ("mean_return", (np.nan, np.nan, np.nan), "–"),
    ],
)
def test_cells(quantity: str, numbers: tuple[float, float, float], text: str) -> None:
    assert cell(quantity, *numbers) == text


def test_a_set_without_theta_has_no_share(numbers: pd.DataFrame) -> None:
    assert "none_share" not in set(numbers["quantity"])


def test_shares_of_a_family_s_sets_read_as_that_of_hard_theta() -> None:
    rows = [
        {**run(sampler, seed=seed), "task": ALL, "quantity": quantity, "value": value}
        for sampler, values in (("a", (0.01, 0.02, 0.9)), ("b", (0.5, 0.6, 0.7)))
        for seed, value in enumerate(values)
        for quantity in ("exact_share", "noisy_share", "hard_share", "return_my_share")
    ]
    summary = summarise(pd.DataFrame(rows))
    assert quantities(summary) == ["return_my_share", "hard_share", "noisy_share", "exact_share"]
    assert [quantity_of(q).title for q in quantities(summary)[1:3]] == ["data on hard θ", "data on noisy θ"]
    noisy = summary[(summary["quantity"] == "noisy_share") & (summary["sampler"] == "a")].iloc[0]
    assert noisy["low"] == 0.0  # Student's would be −0.96
    assert noisy["high"] == 1.0
    assert best(summary, "noisy_share", ALL) is None


def test_nothing_measured_makes_empty_tables() -> None:
    assert numbers_of_runs(EMPTY, EMPTY, EMPTY).empty
    assert compared(EMPTY, EMPTY, EMPTY).empty


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


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert cell("worst_regret", 0.356, -1e-9, 2.0) == "0.356 [0.000, 2.000]"
    assert cell("actor_share", -1e-6) == "0.0 %"
    assert cell("actor_share", -0.01) == "-1.0 %"


def test_a_new_quantity_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry with a function of episodes reaches numbers, the terminal's table and the page."""
    steps = Quantity("mean_length", "mean length", "less", "episodes", lambda dr: float(dr["length"].mean()))
    monkeypatch.setattr(quantities_module, "TABLE", (*quantities_module.TABLE, steps))
    monkeypatch.setattr(
        quantities_module, "_PLACE", {**quantities_module._PLACE, "mean_length": len(quantities_module._PLACE)}
    )
    summary = compared(pd.DataFrame(evaluation() + evaluation(sampler="waker-m")), EMPTY, EMPTY)
    assert quantities(summary)[-1] == "mean_length"
    printed = Console(width=200, record=True, file=io.StringIO())
    for table in comparison(summary, 200):
        printed.print(table)
    assert "mean length" in printed.export_text()
    cells = [row[0].text for row in summary_table(summary, ALL, "").rows]
    assert "mean length ↓" in cells


def test_names_decide_what_a_quantity_is() -> None:
    assert quantity_of("return_far_share").title == "return on far_share"
    assert not quantity_of("return_far_share").percent
    assert quantity_of("planned_regret_far_share").better == "less"
    assert quantity_of("noisy_share").better == "neither"
    assert quantity_of("of_another_version") == Quantity("of_another_version", "of another version", "unknown")
