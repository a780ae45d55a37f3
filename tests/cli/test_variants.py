"""Variants of a sampler: runs with a name of their own, and comparisons that tell settings apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny import RUN, TINY, refused
from waker.analysis.data import load_runs
from waker.cli import main
from waker.curriculum.labels import called, sampler_name, variant_label
from waker.storage.sealed import read_yaml, write_yaml


def copied(finished: Path, runs: Path, name: str = "", **settings: object) -> None:
    """A run as if it had been trained with a name, or with other settings of its section ``train``."""
    folder = runs / (RUN.parts[0] + f"/waker-m{'+' * bool(name)}{name}/plan2explore/seed-0")
    shutil.copytree(finished / RUN, folder)
    record = read_yaml(folder / "config.yaml")
    record["config"]["name"] = name
    record["config"]["train"].update(settings)
    write_yaml(folder / "config.yaml", record)


def test_a_named_run_lies_and_is_called_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--runs", str(tmp_path), "--env", "GridHazards"]
    assert main(["train", *TINY, *place, "--name", "c2"]) == 0
    run = tmp_path / "gridhazards/waker-m+c2/plan2explore/seed-0"
    assert (run / "config.yaml").is_file()
    (loaded,) = load_runs([tmp_path])
    assert loaded.sampler == "waker-m [c2]"
    capsys.readouterr()
    assert main(["compare", str(tmp_path)]) == 0
    assert "waker-m [c2]" in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_variants_stand_in_one_table(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied(finished, tmp_path)
    copied(finished, tmp_path, "small")
    assert main(["compare", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "waker-m [small]" in shown
    assert main(["report", str(tmp_path)]) == 0


def test_settings_tell_variants_apart(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied(finished, tmp_path / "a", batch=3)
    copied(finished, tmp_path / "b", batch=5)
    assert "cannot be told apart" in refused(["compare", str(tmp_path)], capsys)
    assert main(["compare", str(tmp_path), "--by", "train.batch"]) == 0
    shown = capsys.readouterr().out
    assert "[batch=3]" in shown and "[batch=5]" in shown
    error = refused(["compare", str(tmp_path), "--by", "train.batches"], capsys)
    assert "unknown setting of these runs: 'train.batches'; did you mean 'train.batch'" in error


def test_labels_of_variants() -> None:
    label = variant_label("waker-m (replayed credit)", "c2")
    assert label == "waker-m (replayed credit) [c2]"
    assert sampler_name(label) == "waker-m"
    assert called("waker-m", [label, "dr", "waker-m [x=1, y=2]"]) == [label, "waker-m [x=1, y=2]"]
    assert variant_label("dr", "") == "dr"
