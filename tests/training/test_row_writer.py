"""A run's rows by their one road: each with its identity, replaced where they were measured before."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers import dummies
from waker.collection.family import Family
from waker.config.presets import tiny
from waker.evaluation.records import Measurement
from waker.loggers import make_sink
from waker.storage.files import SaveFailed
from waker.storage.run_folder import RunFolder
from waker.storage.tables import read_rows, write_rows
from waker.training import row_writer
from waker.training.row_writer import Metrics, RowWriter, Times, write_space


def row(task: str, value: float, policy: str = "learned") -> dict[str, Any]:
    return {"task": task, "policy": policy, "return": value}


def error(value: float) -> dict[str, Any]:
    return {"theta_id": 0, "metric": "m", "value": value}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, dummies.config())


def opened(run: RunFolder) -> RowWriter:
    """As `waker evaluate` takes up a folder."""
    rows = RowWriter(run)
    rows.mend(pytest.fail)
    return rows


def measured(run: RunFolder, step: int, found: Measurement) -> None:
    rows = opened(run)
    rows.measured(found, step, step // 10)
    rows.save()


def test_every_row_begins_with_its_identity(run: RunFolder) -> None:
    rows = opened(run)
    rows.episode({"step": 7, "length": 3}, 2)
    rows.snapshot({}, 8, 2)  # of a curriculum that keeps no θ
    for _ in range(2):
        rows.snapshot({"theta_id": np.arange(2), "probability": np.full(2, 0.5)}, 8, 3)
    rows.measured(Measurement([row("a", 1.0)], [error(2.0)]), 9, 4)
    assert rows.save()["tables"]["curriculum"] == {"rows": 2, "generation": 0}
    for name, at in {"episodes": (7, 2), "curriculum": (8, 3), "evaluation": (9, 4), "model_error": (9, 4)}.items():
        found = read_rows(run.path / f"{name}.parquet")
        assert (found[list(run.columns)] == pd.Series(run.columns)).all().all()
        assert (found["step"].iloc[0], found["updates"].iloc[0]) == at


def test_measuring_again_replaces_the_step_s_tasks_and_policies(run: RunFolder) -> None:
    first = Measurement([row("a", 1.0), row("b", 2.0), row("a", 3.0, "random")], [error(1.0), error(2.0)])
    measured(run, 80, first)
    measured(run, 160, first)
    measured(run, 160, Measurement([row("a", 7.0), row("a", 8.0)], [error(9.0)]))
    found = read_rows(run.path / "evaluation.parquet")
    assert found.loc[found["step"] == 80, "return"].tolist() == [1.0, 2.0, 3.0]
    assert found.loc[found["step"] == 160, "return"].tolist() == [2.0, 3.0, 7.0, 8.0]
    found = read_rows(run.path / "model_error.parquet")
    assert found[["step", "value"]].to_numpy().tolist() == [[80, 1.0], [80, 2.0], [160, 9.0]]


def test_rows_that_still_wait_are_replaced_as_well(run: RunFolder) -> None:
    rows = opened(run)
    for value in (1.0, 2.0):
        rows.measured(Measurement([row("a", value)]), 80, 8)
    rows.save()
    assert read_rows(run.path / "evaluation.parquet")["return"].tolist() == [2.0]


def test_rows_are_added_to_what_is_there(run: RunFolder) -> None:
    """A folder of parts, or a single file of an earlier version."""
    write_rows(run.path / "evaluation.parquet", [{**row("a", 1.0), "step": 80}])
    pd.DataFrame([{**error(1.0), "step": 80}]).to_parquet(run.path / "model_error.parquet")
    measured(run, 160, Measurement([row("a", 2.0)], [error(2.0)]))
    assert read_rows(run.path / "evaluation.parquet")["return"].tolist() == [1.0, 2.0]
    assert read_rows(run.path / "model_error.parquet")["value"].tolist() == [1.0, 2.0]


def test_a_measurement_of_nothing_leaves_everything(run: RunFolder) -> None:
    measured(run, 80, Measurement([row("a", 1.0)], [], {"real": np.zeros(3)}))
    measured(run, 80, Measurement())
    assert len(read_rows(run.path / "evaluation.parquet")) == 1
    with np.load(run.path / "filmstrip.npz", allow_pickle=False) as archive:
        assert (archive["real"] == 0).all()


def test_the_theta_space_is_described_beside_the_rows(tmp_path: Path) -> None:
    family = Family.of(tiny())
    write_space(tmp_path, family)
    described = json.loads((tmp_path / "theta_space.json").read_text())
    assert described["names"] == list(family.space.names)
    assert len(described["points"]) == len(described["weights"])
    with pytest.raises(SaveFailed, match="cannot save the θ space in"):
        write_space(tmp_path / "nowhere", family)


def test_metrics_are_means_since_the_last_row(tmp_path: Path) -> None:
    shown: list[Any] = []
    progress = dummies.Quiet()
    progress.metrics = shown.append  # type: ignore[method-assign]
    metrics = Metrics(make_sink((), tmp_path, "r", {}), lambda key: ("a", "b"), progress, tmp_path)
    for value in (1.0, 2.0, 6.0):
        metrics.means.add({"loss": value})
    metrics.write(10, 3, {"more": 5.0})
    metrics.means.add({"loss": float("inf")})
    metrics.write(20, 4)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 10, "updates": 3, "loss": 3.0, "more": 5.0}, {"step": 20, "updates": 4, "loss": None}]
    assert shown == [{"loss": 3.0}, {"loss": float("inf")}]
    assert [line.split(",")[0] for line in progress.notes] == ["loss is not finite at step 20"]
    metrics.sink.close()


def test_times_are_those_of_all_legs_without_what_is_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"wall": 100.0, "cpu": 50.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["wall"])
    monkeypatch.setattr(row_writer, "processor_seconds", lambda: clock["cpu"])
    others = {"cpu": 3.0}
    times = Times(lambda: others["cpu"])
    times.start({"seconds": 10.0, "cpu_seconds": 4.0}, 5)
    clock.update(wall=102.0, cpu=53.0)
    others["cpu"] = 4.0
    with times.excluded():
        clock.update(wall=103.0, cpu=60.0)
    assert times.state_dict() == {"seconds": 13.0, "cpu_seconds": 8.0}
    assert times.speed(11) == 2.0
    clock["wall"] = 107.0
    assert times.speed(12) == 0.25
