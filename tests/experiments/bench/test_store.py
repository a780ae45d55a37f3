"""Records on disk, and what has moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.bench.store import COUNTED, MEASURED, Baseline, figures, machine_key, moved, save_json
from waker.errors import UserError
from waker.storage.files import SaveFailed

HERE = {"device": "Processor A", "threads": 1, "torch": "2.13.0"}
THERE = {"device": "Processor B", "threads": 2, "torch": "2.13.0"}


def record(**changes: float) -> dict[str, Any]:
    """A record; ``changes`` by figure."""
    value = {"gflop": 50.0, "operations": 1000, "fraction": 0.5, "time": 4.0, "peak": 400.0, "drawing": 2.0}
    value |= {"learner": 0.9} | changes
    return {
        "workload": "tiny",
        "update": {
            "gflop": value["gflop"],
            "operations": value["operations"],
            "fraction_of_peak": value["fraction"],
            "peak_library": "oneDNN",
            "time_per_operation": value["time"],
        },
        "memory": {"peak_mb": value["peak"]},
        "drawing": {"ms": value["drawing"], "copy_ms": 1.0, "batch_mb": 9.8},
        "loop": {"shares": {"learner": value["learner"]}},
    }


def test_every_compared_figure_is_one_of_the_records() -> None:
    assert set(figures(record())) == set(COUNTED + MEASURED)


def test_a_loop_that_was_not_run_and_a_small_batch_are_not_compared() -> None:
    short = record() | {"loop": None, "drawing": {"ms": 0.1, "copy_ms": 0.01, "batch_mb": 0.1}}
    assert set(COUNTED + MEASURED) - set(figures(short)) == {"loop.outside", "drawing.copies"}
    assert moved(record(), short, COUNTED + MEASURED) == []


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        ({"gflop": 55.1}, "update.gflop"),
        ({"operations": 899}, "update.operations"),
        ({"fraction": 0.44}, "update.fraction_of_peak"),
        ({"fraction": 0.56}, "update.fraction_of_peak"),
        ({"time": 4.5}, "update.time_per_operation"),
        ({"peak": 450.0}, "memory.peak_mb"),
        ({"drawing": 2.3}, "drawing.copies"),
        ({"learner": 0.88}, "loop.outside"),
    ],
)
def test_what_moves_by_more_than_a_tenth_is_told(change: dict[str, float], figure: str) -> None:
    (move,) = moved(record(), record(**change), COUNTED + MEASURED)
    assert move.figure == figure
    assert abs(move.change) > 0.1


def test_what_moves_by_less_is_not() -> None:
    changed = record(gflop=54.9, operations=901, fraction=0.46, time=4.39, peak=361.0, drawing=2.19, learner=0.905)
    assert moved(record(), changed, COUNTED + MEASURED) == []


def test_a_baseline_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "baseline.json"
    baseline = Baseline(path)
    baseline.put(record(), HERE)
    baseline.save()
    again = Baseline(path)
    assert again.records == {"Processor A, 1 thread": {"tiny": record()}}
    assert again.compare(record(), HERE) == ([], None)


def test_a_figure_that_is_no_longer_measured_is_told(tmp_path: Path) -> None:
    baseline = Baseline(tmp_path / "baseline.json")
    baseline.put(record(), HERE)
    moves, line = baseline.compare(record() | {"loop": None}, HERE)
    assert moves == []
    assert line == "tiny: loop.outside not measured this time: not compared"


def test_a_fraction_of_another_yardstick_is_not_compared_and_told(tmp_path: Path) -> None:
    earlier = record(fraction=0.9)
    del earlier["update"]["peak_library"]
    baseline = Baseline(tmp_path / "baseline.json")
    baseline.put(earlier, HERE)
    moves, line = baseline.compare(record(fraction=0.4, time=8.0), HERE)
    assert [move.figure for move in moves] == ["update.time_per_operation"]
    assert line == "tiny: stored with torch's own products for the peak: that fraction is not compared"


def test_another_machine_compares_only_what_is_counted(tmp_path: Path) -> None:
    baseline = Baseline(tmp_path / "baseline.json")
    baseline.put(record(), HERE)
    moves, line = baseline.compare(record(operations=2000, fraction=0.1), THERE)
    assert [move.figure for move in moves] == ["update.operations"]
    assert line is not None
    assert "was never measured on a Processor B, 2 threads" in line
    assert "Processor A" in line


def test_a_workload_nobody_measured_is_told(tmp_path: Path) -> None:
    moves, line = Baseline(tmp_path / "none.json").compare(record(), HERE)
    assert moves == []
    assert line is not None
    assert "never measured" in line


def test_threads_are_part_of_a_machines_kind() -> None:
    assert machine_key(HERE) != machine_key(HERE | {"threads": 2})


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_baseline_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"baseline\.json cannot be read"):
        Baseline(path)


def test_json_is_plain(tmp_path: Path) -> None:
    save_json(tmp_path / "out.json", {"θ": [1, 2.5, None]})
    assert json.loads((tmp_path / "out.json").read_text()) == {"θ": [1, 2.5, None]}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveFailed, match="cannot save the figures"):
        save_json(tmp_path / "file" / "out.json", {})
