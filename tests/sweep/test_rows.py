"""What a study keeps of a run: its tables, and its learning metrics where they are short."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import waker
from tests.helpers.synthetic import write_run
from waker.sweep import rows
from waker.sweep.rows import keep
from waker.training.loading import without_checkpoint


def kept_of(run: Path, place: Path) -> waker.Rows:
    place.mkdir(parents=True)
    keep(run, place / run.name)
    return waker.rows(place)


def test_short_metrics_are_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = kept_of(run, tmp_path / "rows")
    assert len(found.metrics) == len(waker.rows(run).metrics) > 0


def test_of_long_ones_a_reader_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_METRICS", 10)
    with pytest.warns(UserWarning, match="1 of 1 runs have no learning metrics here"):
        assert kept_of(write_run(tmp_path / "runs"), tmp_path / "rows").metrics.empty


def test_a_folder_of_kept_rows_is_not_taken_for_a_run_that_has_not_saved(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs")
    kept_of(run, tmp_path / "rows")
    assert without_checkpoint(tmp_path / "rows" / run.name).startswith(
        "holds kept rows alone: name the run's own folder; where `waker sweep --keep rows` deleted it"
    )
    (run / "replay").mkdir(exist_ok=True)
    assert without_checkpoint(run) == "has no checkpoint yet: run `waker train` first"
