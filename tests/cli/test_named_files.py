"""Files and folders that options name: what cannot be written or is none of them is told before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.synthetic import write_run
from tests.helpers.tiny import TINY, refused
from waker.cli import main

WRITERS = {
    "report": ["report", "runs", "--out"],
    "compare, page": ["compare", "runs", "--page"],
    "compare, numbers": ["compare", "runs", "--csv"],
    "scaling, page": ["scaling", "runs", "--page"],
    "scaling, curves": ["scaling", "runs", "--csv"],
    "audit, page": ["audit", "runs", "--features", "features.py", "--out"],
    "audit, numbers": ["audit", "runs", "--features", "features.py", "--json"],
    "ask": ["ask", "runs", "--out"],
    "answer": ["answer", "queries.csv", "--teacher", "oracle", "--task", "green", "--out"],
    "envs show": ["envs", "show", "GridHazards", "--out"],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one run below ``runs``, and a file."""
    write_run(tmp_path / "runs")
    (tmp_path / "file.csv").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_a_file_that_cannot_be_written_is_told_before_any_work(
    words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of the files that the work would read is there."""
    for reader in ("waker.analysis.data.read_yaml", "waker.storage.run_folder.read_yaml"):
        monkeypatch.setattr(reader, lambda path: pytest.fail("work has begun"))
    assert main([*words, "file.csv/out.csv"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("waker: cannot save the ") and f"{place}/file.csv is no folder" in told
    (place / "folder.csv").mkdir()
    assert "must be a file, and " in refused([*words, "folder.csv"], capsys)


FOLDERS = {
    "train": (["train", *TINY, "--runs"], "--runs"),
    "quickstart": (["quickstart", *TINY, "--runs"], "--runs"),
    "sweep, runs": (["sweep", "study.yaml", "--runs"], "--runs"),
    "sweep, rows": (["sweep", "study.yaml", "--rows"], "--rows"),
    "compiled": (["train", *TINY, "--train.compile-cache"], "train.compile_cache"),
}


@pytest.mark.parametrize(("words", "option"), FOLDERS.values(), ids=FOLDERS)
def test_a_file_in_place_of_a_folder_is_told_with_its_option(
    words: list[str], option: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "study.yaml").write_text("{domains: {GridHazards: }, samplers: [dr], seeds: 0}")
    before = sorted(place.iterdir())
    assert refused([*words, "file.csv"], capsys) == f"waker: {option} file.csv is a file\n"
    assert refused([*words, "file.csv/new"], capsys) == f"waker: {option} file.csv/new: file.csv is a file\n"
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("verb", ["report", "evaluate", "adapt", "ask", "audit"])
def test_a_file_is_no_run(verb: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, "file.csv", *(["--features", "features.py"] if verb == "audit" else [])]
    assert "file.csv is a file, and a run is a folder" in refused(words, capsys)


@pytest.mark.parametrize("verb", ["ask", "audit"])
def test_of_several_runs_one_must_be_named(verb: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(place / "runs", sampler="dr")
    words = [verb, "runs", *(["--features", "features.py"] if verb == "audit" else [])]
    told = refused(words, capsys)
    assert "runs holds 2 runs, and one is wanted: " in told and "/dr/" in told and "/waker-m/" in told
