"""Whole runs under the explorers that have networks: from the command line, and bit for bit after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_resume import outcome
from waker.cli import main
from waker.storage.run_folder import read_config

SETTINGS = {"rnd": ["--explorer.settings", "size=7", "width=9"], "latent-disagreement": []}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def run(root: Path, name: str, *steps: int) -> Path:
    """A run that was ended at each of ``steps``, and asked for more."""
    for last in steps:
        words = ["train", "--preset", "tiny", "--explorer", name, *SETTINGS[name], "--runs", str(root)]
        assert main([*words, "--train.steps", str(last), "--train.save-every", "20", "--evaluation.every", "0"]) == 0
    (path,) = (found.parent for found in root.rglob("config.yaml"))
    return path


def learned(path: Path) -> dict[str, Any]:
    return {key: repr(value) for key, value in outcome(path)["state"].items() if key.startswith("/agent")}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_learns_what_it_explores_by_and_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole, halves = run(tmp_path / "whole", name, 128), run(tmp_path / "halves", name, 96, 128)
    assert learned(whole) == learned(halves)
    assert any(key.startswith("/agent/exploration_optimizer") for key in learned(whole))
    assert '"explorer_loss"' in (whole / "metrics.jsonl").read_text()
    assert read_config(whole).explorer.name == name
    assert bool(read_config(whole).explorer.settings) == (name == "rnd")
