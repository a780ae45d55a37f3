"""Runs are compared like for like: at a common step, over common tasks, by a common metric; and what is not is told."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from waker.analysis.numbers import Comparison, compare_runs, error_sample
from waker.analysis.source_means import pooled
from waker.analysis.steps import choose_steps
from waker.analysis.summary import summarise
from waker.analysis.worst import _jackknife_bias, largest
from waker.errors import UserError
from waker.names import ALL

EMPTY = pd.DataFrame()


def run(sampler: str = "dr", seed: int = 0, step: int = 40, domain: str = "d") -> dict[str, Any]:
    return {"domain": domain, "sampler": sampler, "explorer": "e", "seed": seed, "step": step}


def episodes(
    identity: dict[str, Any], tasks: str, earned: float, number: int = 2, first: int = 0
) -> list[dict[str, Any]]:
    return [
        {
            **identity,
            "task": task,
            "policy": "learned",
            "suite": "dr",
            "theta_id": theta,
            "theta_x": float(theta),
            "episode_seed": first + n,
            "return": earned + ord(task),
            "completion": np.nan,
            "optimal_return": 200.0,
        }
        for task, theta, n in itertools.product(tasks, (0, 1), range(number))
    ]


def errors(identity: dict[str, Any], values: list[float], metric: str = "tv_1", **theta: float) -> list[dict[str, Any]]:
    theta = theta or {"theta_x": 0.0}
    return [{**identity, "theta_id": i, **theta, "metric": metric, "value": v} for i, v in enumerate(values)]


def value(found: Comparison, quantity: str, sampler: str = "dr", seed: int = 0, task: str = ALL) -> float:
    rows = found.numbers
    rows = rows[(rows["sampler"] == sampler) & (rows["seed"] == seed) & (rows["task"] == task)]
    (number,) = rows.loc[rows["quantity"] == quantity, "value"]
    return float(number)


def test_runs_that_stopped_at_other_steps_are_compared_at_the_last_common_one() -> None:
    rows = [r for step in (20, 40) for r in episodes(run(step=step), "a", float(step))]
    rows += [r for step in (20, 40, 80) for r in episodes(run("waker-m", step=step), "a", float(step))]
    found = compare_runs(pd.DataFrame(rows), EMPTY, EMPTY)
    assert value(found, "mean_return") == value(found, "mean_return", "waker-m") == 40 + ord("a")
    assert found.notes == (
        "all runs are compared at step 40, the last at which all were measured (waker-m seed 0: last at 80)",
    )


def test_model_errors_and_data_are_those_of_the_common_step_too() -> None:
    measured = [r for step in (40, 80) for r in errors(run("waker-m", step=step), [step / 100, 0.0])]
    measured += errors(run(step=40), [0.1, 0.2])
    data = [
        {**run(sampler, step=s), "theta_id": s > 40, "length": 1} for sampler in ("dr", "waker-m") for s in (40, 80)
    ]
    found = compare_runs(EMPTY, pd.DataFrame(measured), pd.DataFrame(data), sets={"hard": [1]})
    assert value(found, "worst_model_error_plug_in", "waker-m") == 0.4
    assert value(found, "hard_share", "waker-m") == 0.0


def test_without_a_common_step_runs_are_not_pooled() -> None:
    rows = [r for seed, step in ((0, 40), (1, 80)) for r in episodes(run(seed=seed, step=step), "a", float(step))]
    found = compare_runs(pd.DataFrame(rows), EMPTY, EMPTY)
    assert set(found.numbers["sampler"]) == {"dr @ 40", "dr @ 80"}
    assert (summarise(found.numbers)["seeds"] == 1).all()
    (note,) = found.notes
    assert "not pooled" in note
    assert "dr seed 0: last at 40; dr seed 1: last at 80" in note


def test_the_step_is_a_choice() -> None:
    rows = pd.DataFrame(
        [
            r
            for seed, steps in ((0, (20, 40)), (1, (20, 40, 80)))
            for s in steps
            for r in episodes(run("dr", seed, s), "a", s)
        ]
    )
    assert value(compare_runs(rows, EMPTY, EMPTY, at=20), "mean_return", seed=1) == 20 + ord("a")
    apart = compare_runs(rows, EMPTY, EMPTY, at="last")
    assert value(apart, "mean_return", "dr @ 80", 1) == 80 + ord("a")
    with pytest.raises(UserError, match="not all runs were measured at step 80; dr seed 0: last at 40"):
        compare_runs(rows, EMPTY, EMPTY, at=80)


def test_marks_that_are_passed_within_a_tick_of_all_slots_are_one() -> None:
    """Runs of one schedule measure when all slots have stepped: up to a step a slot later than is due."""
    rows = pd.DataFrame([r for seed, step in ((0, 40), (1, 43)) for r in episodes(run(seed=seed, step=step), "a", 0.0)])
    data = pd.DataFrame([{**run(seed=seed), "theta_id": 0, "length": 1, "slot": 3} for seed in (0, 1)])
    for at in ("common", "last", 40):
        found = compare_runs(rows, EMPTY, data, at=at)  # type: ignore[arg-type]
        assert set(found.numbers["sampler"]) == {"dr"}
        assert found.notes == ()
    apart = compare_runs(rows, EMPTY, data.assign(slot=1))
    assert set(apart.numbers["sampler"]) == {"dr @ 40", "dr @ 43"}
    nearly = pd.concat([rows[rows["step"] == 40].assign(step=40_003), rows[rows["step"] == 43].assign(step=40_000)])
    assert compare_runs(nearly, EMPTY, EMPTY).notes == ()


def test_runs_that_agree_are_left_as_they_are() -> None:
    rows = [r for seed in (0, 1) for r in episodes(run(seed=seed), "ab", 0.0)]
    for at in ("common", "last"):
        found = compare_runs(pd.DataFrame(rows), EMPTY, EMPTY, at=at)  # type: ignore[arg-type]
        assert set(found.numbers["sampler"]) == {"dr"}
        assert found.notes == ()


def test_returns_and_errors_measured_at_different_steps_are_told() -> None:
    steps = choose_steps(pd.DataFrame(episodes(run(), "a", 0.0)), pd.DataFrame(errors(run(step=20), [1.0])), EMPTY)
    assert steps.at[("d", "dr", "e", 0)] == {"evaluation": 40, "model_error": 20}
    told = "compared: evaluation at step 40, model error at step 20; training data up to step 20"
    assert steps.notes == (told,)


def test_a_run_under_way_is_compared_by_what_all_have() -> None:
    """It has model errors but no policies yet: data shares are those up to the common model errors, for all runs."""
    done = [r for step in (20, 40) for r in errors(run(step=step), [step / 100])]
    under_way = errors(run("x", step=20), [0.7])
    data = [{**run(s, step=step), "theta_id": step > 20, "length": 1} for s in ("dr", "x") for step in (20, 30)]
    found = compare_runs(
        pd.DataFrame(episodes(run(), "a", 0.0)), pd.DataFrame(done + under_way), pd.DataFrame(data), sets={"hard": [1]}
    )
    assert value(found, "mean_model_error") == 0.2
    assert value(found, "hard_share") == value(found, "hard_share", "x") == 0.0
    assert value(found, "mean_return") == ord("a")


def test_a_run_without_measurement_is_left_out_by_name() -> None:
    data = pd.DataFrame([{**run(seed=seed), "theta_id": 0, "length": 1} for seed in (0, 1)])
    found = compare_runs(pd.DataFrame(episodes(run(), "a", 0.0)), EMPTY, data, sets={"hard": [0]})
    assert set(found.numbers["seed"]) == {0}
    assert found.notes == ("dr seed 1: not measured yet, left out",)


def test_all_tasks_are_those_of_every_run() -> None:
    rows = episodes(run(), "abcd", 0.0) + episodes(run("waker-m"), "abc", 0.0)
    found = compare_runs(pd.DataFrame(rows), EMPTY, EMPTY)
    assert value(found, "mean_return") == value(found, "mean_return", "waker-m") == ord("b")
    assert value(found, "worst_regret") == value(found, "worst_regret", "waker-m") == 200.0 - ord("a")
    assert value(found, "mean_return", task="d") == ord("d")
    assert found.notes == ("“all tasks” are those of every run, a, b, c: d is missing in waker-m seed 0",)


def test_without_a_common_task_nothing_is_said_of_all() -> None:
    found = compare_runs(pd.DataFrame(episodes(run(), "a", 0.0) + episodes(run("x"), "b", 0.0)), EMPTY, EMPTY)
    assert ALL not in set(found.numbers["task"])
    assert "no task that every run has" in found.notes[0]


def test_a_suite_that_one_task_lacks_in_one_run_is_averaged_over_the_others() -> None:
    rows = pd.DataFrame(episodes(run(), "ab", 0.0) + episodes(run("x"), "ab", 0.0))
    suite = rows.assign(suite="ood")
    suite = suite[(suite["sampler"] == "dr") | (suite["task"] == "a")]
    found = compare_runs(pd.concat([rows, suite]), EMPTY, EMPTY)
    assert value(found, "return_ood") == value(found, "return_ood", "x") == ord("a")


def test_other_evaluation_episodes_are_told() -> None:
    rows = episodes(run(), "a", 0.0) + episodes(run("x"), "a", 0.0, first=7)
    assert compare_runs(pd.DataFrame(rows), EMPTY, EMPTY).notes == (
        "x seed 0: evaluated on other episodes than dr seed 0",
    )


def test_other_numbers_of_updates_are_told() -> None:
    """Policies adapted longer than others, at the same step."""
    rows = pd.DataFrame(episodes(run(), "a", 0.0) + episodes(run("x"), "a", 0.0))
    rows["updates"] = np.where(rows["sampler"] == "x", 900, 300)
    assert compare_runs(rows, EMPTY, EMPTY).notes == ("updates differ: dr seed 0 made 300, x seed 0 made 900",)
    rows["updates"] = np.where(rows["sampler"] == "x", 301, 300)
    assert compare_runs(rows, EMPTY, EMPTY).notes == ()


def test_model_errors_of_two_families_in_one_table() -> None:
    rows = errors(run(), [0.1, 0.3], theta_x=0.0, theta_wind=np.nan)
    rows += errors(run(domain="e"), [0.2, 0.6], theta_x=np.nan, theta_wind=1.0)
    numbers = compare_runs(EMPTY, pd.DataFrame(rows), EMPTY).numbers
    found = numbers.set_index(["domain", "quantity"])["value"]
    assert found["d", "worst_model_error_plug_in"] == 0.3
    assert found["d", "mean_model_error"] == pytest.approx(0.2)
    assert found["e", "mean_model_error"] == pytest.approx(0.4)


def test_model_errors_are_compared_by_a_metric_that_all_runs_have() -> None:
    rows = errors(run(), [0.1], "one_step_tv") + errors(run(), [5.0], "latent_kl_1")
    rows += errors(run("x"), [7.0], "latent_kl_1")
    found = compare_runs(EMPTY, pd.DataFrame(rows), EMPTY)
    assert value(found, "mean_model_error") == 5.0
    assert found.notes == ("model error is latent_kl_1, which all runs have (dr seed 0 had more)",)
    other = compare_runs(EMPTY, pd.DataFrame(errors(run(), [0.1]) + errors(run("x"), [0.1], "mse_1")), EMPTY)
    assert other.numbers.empty
    assert "no metric" in other.notes[0]


def of_sources(values: dict[str, list[float]], theta: int = 0) -> list[dict[str, Any]]:
    each = [(source, n, v) for source, of_source in values.items() for n, v in enumerate(of_source)]
    rows = errors(run(), [v for _, _, v in each], theta_x=float(theta))
    where = {"held_out": "h", "exact_keys": "k", "theta_id": theta}
    return [{**r, **where, "source": s, "episode_seed": n} for r, (s, n, _) in zip(rows, each, strict=True)]


def test_a_model_error_has_one_value_whatever_each_source_s_episodes() -> None:
    rows = pd.DataFrame(of_sources({"random": [0.1] * 8, "tasks": [0.5] * 2}))
    found = compare_runs(EMPTY, rows, EMPTY)
    (of_theta,) = pooled(rows)["value"]
    assert of_theta == pytest.approx(0.3)
    for part in ("worst_model_error", "worst_model_error_plug_in", "worst_model_error_split", "mean_model_error"):
        assert value(found, part) == pytest.approx(of_theta), part


def test_a_source_of_few_episodes_keeps_its_share_when_one_is_left_out() -> None:
    """The mean of one θ has no bias of choice, so a jackknife finds none, however few episodes a source has."""
    rows = pd.DataFrame(of_sources({"random": [0.5, 0.4, 0.6, 0.5, 0.7], "tasks": [0.0, 0.1, 0.2]}))
    sample = error_sample(rows)
    plug_in = float(sample.sums.sum() / sample.counts.sum())
    assert plug_in == pytest.approx((0.54 + 0.1) / 2)
    assert _jackknife_bias(sample, np.ones((1, 1), bool), largest, plug_in) == pytest.approx(0.0, abs=1e-12)


def test_model_errors_of_single_episodes_bracket_the_worst_theta() -> None:
    """All θ alike: the plug-in reads high, and the bracket holds the truth."""
    rng = np.random.default_rng(0)
    rows = [
        {**errors(run(), [rng.normal(0.2, 0.1)])[0], "theta_id": theta, "theta_x": float(theta), "episode_seed": n}
        for theta in range(18)
        for n in range(8)
    ]
    found = compare_runs(EMPTY, pd.DataFrame(rows), EMPTY)
    split, corrected, plug_in = (value(found, f"worst_model_error{part}") for part in ("_split", "", "_plug_in"))
    assert split < corrected < plug_in
    assert plug_in > 0.24
    assert value(found, "worst_model_error_low") < 0.2 < value(found, "worst_model_error_high")


def test_the_policy_s_exact_value_is_the_primary_figure() -> None:
    rows = pd.DataFrame(episodes(run(), "a", 0.0)).assign(exact_value=[50.0, 50.0, np.nan, 90.0])
    found = compare_runs(rows, EMPTY, EMPTY)
    assert value(found, "mean_return") == pytest.approx((50 + 50 + ord("a") + 90) / 4)
    assert value(found, "mean_regret") == pytest.approx(200 - (50 + 50 + ord("a") + 90) / 4)
    assert value(found, "cvar_0.1") == ord("a")  # of outcomes, luck included
    assert value(found, "exact_share") == 0.75


def test_over_tasks_the_worst_regret_is_not_the_largest_of_chosen_numbers() -> None:
    """All pairs of task and θ alike with regret 5."""
    rng = np.random.default_rng(0)
    split, largest = [], []
    for _ in range(15):
        rows = pd.DataFrame(episodes(run(), "abcde", 0.0, number=6))
        found = compare_runs(rows.assign(**{"return": 195.0 + 2 * rng.normal(size=len(rows))}), EMPTY, EMPTY)
        split.append(value(found, "worst_regret_split"))
        largest.append(max(value(found, "worst_regret_split", task=task) for task in "abcde"))
    assert np.mean(split) == pytest.approx(5.0, abs=4 * np.std(split) / np.sqrt(15))
    assert np.mean(largest) > 5.5
