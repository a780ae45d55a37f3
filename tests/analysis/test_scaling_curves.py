"""Shares of the optimum from rows, and files of curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.rows import numbers
from waker.analysis.numbers_file import write_table
from waker.analysis.scaling_curves import (
    CURVES,
    after,
    curve_frame,
    curve_of,
    numbers_curves,
    of_samplers,
    read_curves,
    share_numbers,
)
from waker.analysis.scaling_law import Law, fit_one
from waker.errors import UserError


def measured() -> pd.DataFrame:
    """Two θ with two episodes each, two tasks; θ 1 is bad at the task ``red``."""
    rows = [
        (0, "green", 10.0, 9.0),
        (0, "green", 10.0, 7.0),
        (0, "red", 4.0, 4.0),
        (0, "red", 4.0, 2.0),
        (1, "green", 6.0, 6.0),
        (1, "green", 2.0, 2.0),  # an episode that begins near: its optimum is lower
        (1, "red", 5.0, 1.0),
        (1, "red", 5.0, 0.0),
    ]
    return pd.DataFrame(rows, columns=["theta_size", "task", "optimal_return", "worth"])


def test_shares_by_hand() -> None:
    # Pairs of θ and task: 16/20, 6/8, 8/8, 1/10.
    found = share_numbers(measured())
    assert found["mean"] == pytest.approx((0.8 + 0.75 + 1.0 + 0.1) / 4)
    # Per task the worst tenth of two θ is the worse one: 0.8 of green, 0.1 of red.
    assert found["cvar"] == pytest.approx((0.8 + 0.1) / 2)
    assert found["worst"] == pytest.approx(0.1)


def test_a_theta_where_nothing_can_be_earned_has_no_share() -> None:
    none = pd.DataFrame({"theta_size": [2], "task": ["red"], "optimal_return": [0.0], "worth": [0.0]})
    assert share_numbers(pd.concat([measured(), none])) == share_numbers(measured())
    assert np.isnan(list(share_numbers(none).values())).all()


def test_rows_that_name_no_theta_are_told() -> None:
    with pytest.raises(UserError, match="no column theta_… names one"):
        share_numbers(measured().drop(columns="theta_size"))


def rows(steps: list[int], values: list[list[float]], measure: str = "mean", sampler: str = "dr") -> pd.DataFrame:
    """A curve's rows: one list of values a seed; NaN is left out."""
    found = [
        ("d", sampler, "e", seed, step, np.nan, np.nan, measure, value, 0.05)
        for seed, of in enumerate(values)
        for step, value in zip(steps, of, strict=True)
        if not np.isnan(value)
    ]
    return pd.DataFrame(found, columns=list(CURVES))


def test_a_curve_has_the_points_that_all_seeds_have() -> None:
    curve, told = curve_of(rows([100, 200, 300], [[0.1, 0.2, 0.3], [0.2, 0.3, np.nan]]), "step")
    assert curve is not None
    assert curve.compute.tolist() == [100.0, 200.0]
    assert curve.rewards.tolist() == [[0.1, 0.2], [0.2, 0.3]]
    assert curve.mean == pytest.approx([0.15, 0.25]) and curve.floor == 0.05 and curve.seeds == (0, 1)
    assert told == ["1 of 3 points are left out: seeds 1 lack some"]


def test_measurements_a_few_steps_apart_are_one_point() -> None:
    one, other = rows([10_000, 20_000], [[0.1, 0.2]]), rows([10_006, 20_001], [[0.3, 0.4]]).assign(seed=1)
    curve, told = curve_of(pd.concat([one, other]), "step")
    assert curve is not None and not told
    assert curve.compute.tolist() == [10_003.0, 20_000.5]


@pytest.mark.parametrize("late", [0, 6])
def test_a_hundred_measurements_are_a_hundred_points(late: int) -> None:
    # Behind the fiftieth, neighbours lie less than 2 % apart.
    law, steps = Law(0.05, 0.8, 1.5, 20_000.0), [1_000 * i for i in range(1, 101)]
    of = [rows([s + more for s in steps], [law.at([s + more for s in steps]).tolist()]) for more in (0, late)]
    curve, told = curve_of(pd.concat([of[0], of[1].assign(seed=1)]), "step")
    assert curve is not None and not told
    assert curve.compute.tolist() == [s + late / 2 for s in steps]
    found, _ = fit_one(curve.compute, curve.mean, curve.floor)
    assert found.asymptote == pytest.approx(0.8, abs=1e-3)


def test_a_measurement_that_a_seed_lacks_shifts_no_other() -> None:
    steps = [1_000 * i for i in range(60, 101)]
    values = [float(s) for s in steps]
    curve, told = curve_of(rows(steps, [values, [*values[:10], float("nan"), *values[11:]]]), "step")
    assert curve is not None and told == ["1 of 41 points are left out: seeds 1 lack some"]
    assert curve.compute.tolist() == [*values[:10], *values[11:]]
    assert curve.rewards.tolist() == [curve.compute.tolist()] * 2


def test_a_run_that_was_ended_early_takes_no_points_from_the_others() -> None:
    values = [i / 20 for i in range(18)]
    steps = [1_000 * (i + 1) for i in range(18)]
    curve, told = curve_of(rows(steps, [values, values, values[:3] + [float("nan")] * 15]), "step")
    assert curve is not None and curve.seeds == (0, 1) and curve.compute.tolist() == steps
    assert told == ["seed 2 is left out: 3 measurements, the median seed has 18"]


def test_one_longer_run_does_not_drop_the_others() -> None:
    steps, nan = [1_000 * (i + 1) for i in range(18)], float("nan")
    short = [0.1] * 6 + [nan] * 12
    curve, told = curve_of(rows(steps, [short, short, short, [0.1] * 18]), "step")
    assert curve is not None and curve.seeds == (0, 1, 2, 3) and len(curve.compute) == 6
    assert told == ["12 of 18 points are left out: seeds 0, 1, 2 lack some"]


def test_one_point_is_no_wider_than_a_fiftieth() -> None:
    # Each lies within 1.5 % of the one before, the third not within 2 % of the first.
    parts = [rows([step], [[0.1]]).assign(seed=seed) for seed, step in enumerate((10_000, 10_150, 10_300))]
    curve, told = curve_of(pd.concat(parts), "step")
    assert curve is None and told == ["2 of 2 points are left out: seeds 0, 1, 2 lack some"]


def test_without_flop_there_is_no_curve_of_it() -> None:
    assert curve_of(rows([100], [[0.1]]), "flop") == (None, [])


def test_the_first_measurements_can_be_left_out() -> None:
    assert after(rows([100, 200], [[0.1, 0.2]]), 100)["step"].tolist() == [200]


def test_samplers_are_chosen_by_name() -> None:
    both = pd.concat([rows([100], [[0.1]]), rows([100], [[0.2]], sampler="waker-m")])
    assert set(of_samplers(both, ["waker-m"])["sampler"]) == {"waker-m"}
    with pytest.raises(UserError, match="no curve of sampler 'plr'; there are dr, waker-m"):
        of_samplers(both, ["plr"])


def test_a_file_of_curves_reads_as_it_was_written(tmp_path: Path) -> None:
    written = rows([100, 200], [[0.1, 0.2], [0.3, 1 / 3]])
    write_table(tmp_path / "curves.csv", written)
    pd.testing.assert_frame_equal(read_curves(tmp_path / "curves.csv"), written, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: "", "lacks the columns domain, sampler"),
        (lambda text: text.splitlines()[0] + "\n", "holds no curves"),
        (lambda text: text.replace("0.25", "fast"), "row 2: value is 'fast', not a number"),
        (lambda text: text.replace("0.25", ""), "row 2: value is '', not a number"),
        (lambda text: text.replace("0.25", "inf"), "row 2: value is 'inf', not a number"),
        (lambda text: text.replace("mean", "median"), "'median' is no measure; there are mean, cvar, worst"),
        (lambda text: text.replace(",100,", ",0,"), "step 0 is not above 0"),
        (lambda text: text.replace(",floor", ""), "lacks the column floor"),
        (lambda text: text + "d,dr\n", "row 3: 2 fields instead of 10"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, change: object, told: str) -> None:
    write_table(tmp_path / "curves.csv", rows([100, 200], [[0.1, 0.25]]))
    text = (tmp_path / "curves.csv").read_text()
    (tmp_path / "curves.csv").write_text(change(text))  # type: ignore[operator]
    with pytest.raises(UserError, match=told) as error:
        read_curves(tmp_path / "curves.csv")
    assert "\n" not in str(error.value)


def test_one_measurement_is_not_counted_twice() -> None:
    twice = pd.concat([rows([100], [[0.1]])] * 2)
    with pytest.raises(UserError, match="two rows of d, dr, e, seed 0 at step 100"):
        curve_frame(twice.to_dict("records"))


def test_a_studys_numbers_are_points_of_one_step(tmp_path: Path) -> None:
    table = numbers({"dr": {"all": [0.5, 0.6], "green": [0.1, 0.1]}}, "planned_fraction_of_optimum")
    write_table(tmp_path / "numbers.csv", table.assign(run="r", step="20007", commit="c"))
    found = pd.DataFrame(numbers_curves(tmp_path / "numbers.csv", 0.06))
    assert found[["seed", "step", "value", "floor"]].to_numpy().tolist() == [
        [0, 20007, 0.5, 0.06],
        [1, 20007, 0.6, 0.06],
    ]
    assert set(found["measure"]) == {"mean"}
    write_table(tmp_path / "no-numbers.csv", table.assign(run="r", step="", commit="c"))
    with pytest.raises(UserError, match="does not tell the step"):
        numbers_curves(tmp_path / "no-numbers.csv", 0.0)
    other = table.assign(quantity="mean_return", run="r", step="1", commit="c")
    write_table(tmp_path / "other-numbers.csv", other)
    with pytest.raises(UserError, match="has no share of the optimum"):
        numbers_curves(tmp_path / "other-numbers.csv", 0.0)
