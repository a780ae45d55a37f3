"""Policies of finished runs on GridCleanUp: those they have, and others trained on what they have learned."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments import pushes
from waker.cli import main
from waker.config.presets import grid
from waker.training.loading import load_run

LEARNER = "--train.task-policies after --adapt.method lookahead --adapt.horizon 1 --explorer random"
BOARD = "--model.latent cells --model.reward-sees transition --model.encoder-units 8 --model.head-units 8 8"
SHORT = "--evaluation.episodes 1 --evaluation.suite-episodes 1"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("boards")
    options = [*LEARNER.split(), *BOARD.split(), *SHORT.split(), "--runs", str(runs)]
    assert main(["train", "--env", "GridCleanUp", "--preset", "tiny", "--sampler", "dr", *options]) == 0
    return next(runs.glob("gridcleanup/dr/random/seed-*"))


def test_other_policies_learn_on_the_same_model_and_heads(run: Path) -> None:
    loaded = load_run(run, print)
    assert loaded.agent.adapter is not None
    before = {name: weight.clone() for name, weight in loaded.agent.adapter.heads.state_dict().items()}
    made = [pushes.adapted_again(loaded, updates, grid().adapt) for updates in (0, 1, 1)]
    for name, weight in loaded.agent.adapter.heads.state_dict().items():
        assert torch.equal(weight, before[name])
    untrained, once, again = (list(player.policies.actor.parameters()) for player in made)  # type: ignore[attr-defined]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, untrained, strict=True))


def test_rows_of_both_stand_in_files_of_their_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pushes, "EPISODES", 6)
    for part, *options in (["learned"], ["again", "--updates", "1"], ["again", "--updates", "1", "--discount", "0.5"]):
        monkeypatch.setattr(sys, "argv", ["pushes", part, str(run), "--out", str(tmp_path), *options])
        pushes.main()
    learned, again = (pd.read_csv(tmp_path / f"{part}.csv") for part in ("learned", "again"))
    assert set(again["discount"]) == {0.85, 0.5}
    assert set(learned["updates"]) == {3}
    assert set(learned["discount"]) == {0.95}
    for rows in (learned, again[again["discount"] == 0.5]):
        assert rows.groupby(["actions", "task"])["episodes"].sum().eq(6).all()
        assert rows["completion"].between(0, 1).all()
        assert (rows.loc[rows["blocks"] == 0, "completion"] == 1).all()
