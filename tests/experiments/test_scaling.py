"""The experiment on the study's curves: what is committed is what its script makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.scaling import RESULTS, answer, ends
from waker.analysis.scaling_curves import read_curves


def test_ends_are_the_last_measurements() -> None:
    rows = pd.DataFrame({"sampler": "dr", "seed": [0, 0, 1], "step": [1, 2, 3], "value": [0.1, 0.2, 0.3]})
    assert ends(rows)["value"].tolist() == [0.2, 0.3]


def test_the_committed_curves_are_of_the_study() -> None:
    rows = read_curves(RESULTS / "curves.csv")
    points = rows[rows["measure"] == "mean"].groupby(["sampler", "seed"]).size()
    assert points["dr"].eq(6).all() and points.drop("dr").eq(4).all()
    assert len(points) == 70
    # The mean share at the end is what the study's own numbers have, but that theirs is a ratio of sums over θ.
    numbers = pd.read_csv(RESULTS.parent / "study" / "main-numbers.csv")
    theirs = numbers[(numbers["task"] == "all") & (numbers["quantity"] == "planned_fraction_of_optimum")]
    merged = rows[rows["measure"] == "mean"].merge(theirs, on=["sampler", "seed", "step"])
    assert len(merged) == 70 and merged["value_x"].corr(merged["value_y"]) > 0.99


@pytest.mark.slow
def test_the_committed_answers_are_made_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_curves(RESULTS / "curves.csv")
    shutil.copy(RESULTS / "curves.csv", tmp_path)
    told = answer(tmp_path, resamples=2)
    capsys.readouterr()
    assert told == "The asymptote of 0 of 42 curves is identified; of 36 comparisons: 36 cannot tell."
    ours, theirs = (pd.read_csv(folder / "fits.csv") for folder in (tmp_path, RESULTS))
    assert len(ours) == 3 * 2 * rows["sampler"].nunique()
    pd.testing.assert_series_equal(ours["asymptote"], theirs["asymptote"], rtol=1e-4)
    pd.testing.assert_frame_equal(
        *(pd.read_csv(f / "forecasts.csv")[["error", "power_error", "better"]] for f in (tmp_path, RESULTS)), rtol=1e-3
    )
