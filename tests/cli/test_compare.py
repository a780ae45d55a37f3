"""``waker compare`` and the report say what was compared with what, from whole run folders."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.synthetic import write_run
from waker.analysis.data import load_runs
from waker.cli import main
from waker.cli.verbs.compare import show
from waker.report.page import render
from waker.storage.tables import read_rows, write_rows
from waker.terminal.console import Console

pytestmark = pytest.mark.usefixtures("undrawn")


def compared(root: Path, *more: str) -> pd.DataFrame:
    assert main(["compare", str(root), *more]) == 0
    return pd.read_csv(root / "comparison.csv")


class Gone(io.StringIO):
    """An output whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_who_goes_takes_no_file_along(tmp_path: Path) -> None:
    write_run(tmp_path, "dr", 0)
    page = tmp_path / "study.html"
    with pytest.raises(BrokenPipeError):
        show([tmp_path], Console(file=Gone()), csv=tmp_path / "own.csv", page=page)
    assert page.stat().st_size and (tmp_path / "own.csv").stat().st_size


def measured_at(folder: Path, *steps: int) -> None:
    """Make the run's evaluation and model errors those of several steps, with returns that tell the step."""
    rows = read_rows(folder / "evaluation.parquet")
    again = pd.concat([rows.assign(step=s, **{"return": rows["return"] * 0 + s / 1000}) for s in steps])
    write_rows(folder / "evaluation.parquet", again.to_dict("records"))
    errors = read_rows(folder / "model_error.parquet")
    errors = errors[errors["step"] == errors["step"].max()]
    write_rows(folder / "model_error.parquet", pd.concat([errors.assign(step=s) for s in steps]).to_dict("records"))


def test_runs_at_different_last_steps_are_compared_at_a_common_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured_at(write_run(tmp_path, "dr", 0), 10_000, 20_000)
    measured_at(write_run(tmp_path, "dr", 1), 10_000)
    numbers = compared(tmp_path)
    mean = numbers[(numbers["quantity"] == "mean_return") & (numbers["task"] == "all")].iloc[0]
    assert (mean["mean"], mean["seeds"]) == (10.0, 2)
    told = " ".join(capsys.readouterr().out.split())
    assert "compared at step 10,000" in told
    assert "dr seed 0: last at 20,000" in told
    assert "compared at step 10,000" in render(load_runs([tmp_path]))


def test_without_a_common_step_seeds_are_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured_at(write_run(tmp_path, "dr", 0), 20_000)
    measured_at(write_run(tmp_path, "dr", 1), 10_000)
    numbers = compared(tmp_path)
    assert set(numbers["sampler"]) == {"dr @ 20000", "dr @ 10000"}
    assert (numbers["seeds"] == 1).all()
    assert "not pooled" in capsys.readouterr().out
    page = render(load_runs([tmp_path]))
    assert "not pooled" in page
    summary = page[page.index('<section id="summary"') : page.index('<section id="curriculum"')]
    assert re.findall(r"dr @ \d+", summary)[:2] == ["dr @ 20000", "dr @ 10000"]


def test_the_step_may_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured_at(write_run(tmp_path, "dr", 0), 10_000, 20_000)
    measured_at(write_run(tmp_path, "dr", 1), 10_000)
    assert set(compared(tmp_path, "--at", "last")["sampler"]) == {"dr @ 20000", "dr @ 10000"}
    assert set(compared(tmp_path, "--at", "10000")["sampler"]) == {"dr"}
    for asked, told in (("20000", "dr seed 1: last at 10,000"), ("noon", "--at is common, last or a step, not 'noon'")):
        assert main(["compare", str(tmp_path), "--at", asked]) != 0
        assert told in capsys.readouterr().err


def test_other_task_sets_and_settings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "dr", 0)
    other = write_run(tmp_path, "waker-m", 0)
    rows = read_rows(other / "evaluation.parquet")
    write_rows(other / "evaluation.parquet", rows[rows["task"] != "red"].to_dict("records"))
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("waker/gridhazards-v0", "waker/other-v0"))
    numbers = compared(tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "those of every run, green, blue: red is missing in waker-m seed 0" in told
    assert "the runs differ in env" in told
    ours = numbers[(numbers["sampler"] == "dr") & (numbers["quantity"] == "mean_return")].set_index("task")["mean"]
    assert ours["all"] == pytest.approx((ours["green"] + ours["blue"]) / 2)


def test_settings_of_a_run_left_out_are_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "dr", 0)
    other = write_run(tmp_path, "waker-m", 0)
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("waker/gridhazards-v0", "waker/other-v0"))
    for table in ("evaluation", "model_error"):
        shutil.rmtree(other / f"{table}.parquet")
    compared(tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "waker-m seed 0: not measured yet, left out" in told
    assert "the runs differ in" not in told


def test_seeds_are_told_for_each_sampler_where_they_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sampler, seed in (("dr", 0), ("dr", 1), ("waker-m", 0)):
        write_run(tmp_path, sampler, seed)
    compared(tmp_path)
    assert "(dr 2, waker-m 1)" in " ".join(capsys.readouterr().out.split())
    assert "Seeds: dr 2, waker-m 1." in render(load_runs([tmp_path]))


def test_runs_alike_need_no_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "dr", seed)
    compared(tmp_path)
    assert "Note" not in capsys.readouterr().out
