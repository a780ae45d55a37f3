"""Probability of improvement over a baseline, against counts by hand."""

from __future__ import annotations

import math

import pytest

from tests.helpers.rows import numbers
from waker.analysis.improvement import improvements


def test_counts_wins_and_half_of_ties_in_each_task() -> None:
    rows = numbers({"dr": {"a": [1, 2], "b": [5, 5]}, "waker-m": {"a": [2, 3], "b": [5, 9]}})
    found = improvements(rows).iloc[0]
    # a: (2>1, 2=2, 3>1, 3>2) = 3.5 of 4; b: (5=5, 5=5, 9>5, 9>5) = 3 of 4.
    assert found["probability"] == pytest.approx((3.5 / 4 + 3 / 4) / 2)
    assert (found["sampler"], found["seeds"], found["baseline_seeds"], found["tasks"]) == ("waker-m", 2, 2, 2)
    assert found["low"] <= found["probability"] <= found["high"]


def test_lower_regret_is_the_win() -> None:
    rows = numbers({"dr": {"a": [1, 2]}, "waker-m": {"a": [0, 0]}}, "worst_regret")
    assert improvements(rows).iloc[0]["probability"] == 1.0


def test_the_baseline_is_a_choice() -> None:
    rows = numbers({"dr": {"a": [1, 2]}, "waker-m": {"a": [3, 4]}})
    found = improvements(rows, "waker-m").iloc[0]
    assert (found["sampler"], found["probability"]) == ("dr", 0.0)


def test_rows_over_all_tasks_are_not_counted_as_a_task() -> None:
    rows = numbers({"dr": {"a": [1, 2], "all": [9, 9]}, "waker-m": {"a": [3, 4], "all": [0, 0]}})
    assert improvements(rows).iloc[0]["probability"] == 1.0


def test_tasks_without_a_number_in_every_run_are_left_out() -> None:
    rows = numbers({"dr": {"a": [1, 2], "b": [1, math.nan]}, "waker-m": {"a": [3, 4], "b": [0, 0]}})
    found = improvements(rows).iloc[0]
    assert (found["tasks"], found["probability"]) == (1, 1.0)


@pytest.mark.parametrize(
    "values",
    [
        {"dr": {"a": [1]}, "waker-m": {"a": [2, 3]}},
        {"waker-m": {"a": [2, 3]}, "waker-r": {"a": [2, 3]}},
        {"dr": {"a": [1, 2]}, "waker-m": {"b": [2, 3]}},
    ],
    ids=["one seed", "no baseline", "no common task"],
)
def test_nothing_to_say(values: dict[str, dict[str, list[float]]]) -> None:
    assert improvements(numbers(values)).empty
