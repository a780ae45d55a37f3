"""One bit or one cut in a file of a run folder: every verb gives what it gives undamaged, or names the file.

A seeded sample over all kinds of files; ``tests.helpers.damage`` has what a longer search needs.
"""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from experiments.faults.damage import files_by_kind
from tests.helpers.damage import Fault, Trial, draw
from tests.helpers.tiny import RUN
from waker.analysis.data import load_run
from waker.cli import main
from waker.errors import BLEMISHED

TRAIN = ["train", "--preset", "tiny", "--train.task-policies", "after"]
READ_BY = {
    "adapted/*/checkpoints/*/manifest.json": "adapt",
    "adapted/*/checkpoints/*/state.pt": "adapt",
    "adapted/*/metrics.jsonl": "adapt",
    "adapted/*/metrics.sums": "adapt",
    "adapted/*/tasks.yaml": "adapt",
    "checkpoints/*/manifest.json": "train",
    "checkpoints/*/state.pt": "evaluate",
    "config.yaml": "train",
    "curriculum.parquet/*": "train",
    "episodes.parquet/*": "compare",
    "evaluation.parquet/*": "evaluate",
    "filmstrip.npz": "compare",
    "metrics.jsonl": "compare",
    "metrics.sums": "train",
    "model_error.parquet/*": "compare",
    "replay/*": "adapt",
    "theta_space.json": "compare",
}
"""Kinds of files, and a verb for which each matters."""


@pytest.fixture(scope="module")
def trial(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The finished run with policies that were adapted."""
    root = tmp_path_factory.mktemp("damage")
    shutil.copytree(finished / RUN, root / "whole")
    assert main(["adapt", str(root / "whole"), "--updates", "2"]) == 0
    return Trial(root / "whole", root / "runs", RUN, TRAIN)


def test_every_kind_of_file_is_known(trial: Trial) -> None:
    assert sorted(files_by_kind(trial.source)) == sorted(READ_BY)


@pytest.mark.parametrize("how", ["flip", "cut"])
@pytest.mark.parametrize("kind", READ_BY)
def test_damage_is_told_or_changes_nothing(trial: Trial, kind: str, how: str) -> None:
    fault = draw(trial.source, kind, how, np.random.default_rng(zlib.crc32(f"{kind} {how}".encode())))
    assert trial.verdict(READ_BY[kind], fault) in ("told", "same")


def test_the_judge_sees_a_silent_difference(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its sums, a digit of a metric row is another digit."""
    digit = (trial.source / "metrics.jsonl").read_bytes().index(b'"step": ') + len(b'"step": ')
    fault = Fault(Path("metrics.jsonl"), "flip", 8 * digit)
    monkeypatch.setattr("waker.storage.metrics_file._checked", lambda content, sums: (content.splitlines(True), ""))
    assert trial.verdict("train", fault).startswith("SILENT train after Fault(file=")


def test_what_was_lost_is_on_the_page_and_below_the_table(
    trial: Trial, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trial.source, folder)
    fault = draw(folder, "evaluation.parquet/*", "flip", np.random.default_rng(1))
    fault.do(folder)
    assert main(["evaluate", str(folder), "--episodes", "1", "--suite-episodes", "1"]) == BLEMISHED
    assert f"{fault.file.name} is damaged (its SHA-256 is another)" in capsys.readouterr().out
    assert main(["compare", str(folder)]) == BLEMISHED
    assert "of evaluation.parquet are lost (damaged and set aside: _lost-" in capsys.readouterr().out
    assert "of evaluation.parquet are lost (damaged and set aside: _lost-" in load_run(folder).notes[-1]
