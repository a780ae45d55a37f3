"""What is gone from a finished run's folder is told by comparisons and reports: it does not look like never made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from experiments.faults.damage import flip
from tests.helpers.tiny import RUN, TINY, refused
from waker.analysis.data import load_run
from waker.cli import main
from waker.errors import BLEMISHED
from waker.evaluation.records import Measurement
from waker.storage.manifest import checkpoint_paths, read_manifest, write_manifest
from waker.storage.tables import read_rows, write_rows

pytestmark = pytest.mark.usefixtures("undrawn")

TABLES = ("curriculum", "episodes", "evaluation", "model_error")
FILES = ("metrics.jsonl", "theta_space.json", "filmstrip.npz", "config.yaml")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A run folder of the test's own."""
    shutil.copytree(finished / RUN, tmp_path / "run")
    return tmp_path / "run"


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What compare says, whether it does its work or refuses, and what a report has to say of the run."""
    main(["compare", str(folder)])
    return "".join(capsys.readouterr()), " ".join(load_run(folder).lost)


def told_on_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What compare and a report really say."""
    main(["compare", str(folder)])
    compared = "".join(capsys.readouterr())
    page = folder.parent / "page.html"
    main(["report", str(folder), "--out", str(page)])
    return compared, "".join(capsys.readouterr()) + (page.read_text() if page.exists() else "")


def test_a_whole_run_has_lost_nothing(folder: Path) -> None:
    assert load_run(folder).lost == ()


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "emptied"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table(table: str, emptied: bool, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / f"{table}.parquet"
    write_rows(file, read_rows(file).to_dict("records"))  # as `waker evaluate` does: of another generation
    shutil.rmtree(file)
    if emptied:
        file.mkdir()
    for said in told(folder, capsys):
        assert f"ost: all rows of {table}.parquet (" in said


@pytest.mark.parametrize("file", FILES)
def test_a_file(file: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / file).unlink()
    for said in told(folder, capsys):
        assert "ost: " in said and file in said


def test_metrics_with_their_sums(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.sums").unlink()
    (folder / "metrics.jsonl").write_bytes(b"")
    for said in told(folder, capsys):
        assert "ost: all rows of metrics.jsonl" in said
    (folder / "metrics.jsonl").write_bytes(rows[: rows.index(b"\n") + 1])
    for said in told(folder, capsys):
        assert "ost: rows of metrics.jsonl (" in said


def test_settings_and_metrics_at_once_leave_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.yaml", "metrics.jsonl"):
        (folder / name).unlink()
    for said in told_on_the_page(folder.parent, capsys):
        assert "ost: config.yaml" in said and "ost: all rows of metrics.jsonl" in said


def test_rows_of_an_evaluation_without_a_checkpoint_are_not_a_start(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every evaluation is made after a save: to start again would drop what was measured without a word."""
    shutil.copytree(finished, tmp_path / "runs")
    folder = tmp_path / "runs" / RUN
    shutil.rmtree(folder / "checkpoints")
    rows = read_rows(folder / "evaluation.parquet")
    train = ["train", *TINY, "--train.task-policies", "after", "--runs", str(tmp_path / "runs")]
    told = refused(train, capsys)
    assert "has rows of evaluation and model_error, but no checkpoint: put checkpoints/ back, or remove" in told
    assert read_rows(folder / "evaluation.parquet").equals(rows)


def test_a_description_of_the_parameters_that_lacks_something_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ({}, {"names": ["size"]}, {"names": 3, "hard_ids": []}):
        (folder / "theta_space.json").write_text(json.dumps(content))
        assert "theta_space.json is damaged: it lacks" in refused(["compare", str(folder)], capsys)


def test_whoever_goes_on_without_something_says_so_with_the_exit_code(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs")
    folder = tmp_path / "runs" / RUN
    train = ["train", *TINY, "--task-policies", "after", "--runs", str(tmp_path / "runs")]
    assert main(train) == 0
    flip(next((folder / "episodes.parquet").glob("part-*")), 4_000)
    assert main(train) == BLEMISHED
    assert "going on without its rows" in capsys.readouterr().err
    assert main(train) == 0  # nothing more is lost
    flip(next((folder / "curriculum.parquet").glob("part-*")), 4_000)
    monkeypatch.setattr("waker.evaluation.records.measure", lambda *args, **named: Measurement())
    assert main(["evaluate", str(folder)]) == BLEMISHED
    assert main(["evaluate", str(folder)]) == 0
    assert main(["compare", str(folder)]) == BLEMISHED  # tells it each time, as its numbers are without it
    newest = checkpoint_paths(folder / "checkpoints")[0]
    (newest / "state.pt").unlink()
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == BLEMISHED
    assert f"{newest.name} is not usable" in capsys.readouterr().out


def test_manifests_of_earlier_versions(folder: Path) -> None:
    """They do not know metrics and files; what can be known without is told."""
    for path in checkpoint_paths(folder / "checkpoints"):
        kept = {key: value for key, value in read_manifest(path).items() if key not in ("metrics", "files")}
        write_manifest(path, kept)
    assert load_run(folder).lost == ()
    (folder / "theta_space.json").unlink()
    (folder / "metrics.jsonl").unlink()
    lost = " ".join(load_run(folder).lost)
    assert "lost: theta_space.json" in lost and "lost: all rows of metrics.jsonl" in lost
