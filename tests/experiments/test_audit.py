"""The experiment of audits: rows are kept a head at a time, and seeds are what its intervals are over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from experiments import audit as study


def test_an_interval_is_over_training_seeds_and_not_over_their_fits() -> None:
    """Seed 20 has fits of .1 and .3, seed 21 two of .4: .3 ± t(1) · .1, as the seeds' means are .2 and .4."""
    about = {"part": "resistance", "name": "resisted", "how": "head", "shift": 0.0, "queries": 100}
    values = [(20, 0.1), (20, 0.3), (21, 0.4), (21, 0.4)]
    row = study.summary(pd.DataFrame([{**about, "seed": seed, "value": value} for seed, value in values])).iloc[0]
    half = student.ppf(0.975, 1) * 0.1
    assert row["seeds"] == 2
    np.testing.assert_allclose(row[["mean", "low", "high"]].astype(float), [0.3, 0.3 - half, 0.3 + half])


def test_heads_are_written_as_they_are_made_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = SimpleNamespace(
        run=SimpleNamespace(name="a/b/seed-20"),
        config=SimpleNamespace(seed=20),
        step=7,
        replay=lambda note: None,
        family=SimpleNamespace(spec=SimpleNamespace(tasks=("green",))),
    )
    made: list[tuple[int, int]] = []
    fails = {(100, 1)}

    def fitted(loaded: Any, replay: Any, answers: tuple[int, int], seed: int) -> Any:
        if answers in fails:
            raise RuntimeError("killed")
        made.append(answers)
        return SimpleNamespace(offset=0.0, scale=1.0), None

    def numbers(found: Any) -> list[dict[str, Any]]:
        return [{"part": "constant", "name": "constant", "value": float(len(made))}]

    monkeypatch.setattr(study, "load_run", lambda folder, note: run)
    monkeypatch.setattr(study, "find_head", lambda *given: None)
    monkeypatch.setattr(study, "answered", lambda replay, n, seed, task: (n, seed))
    monkeypatch.setattr(study, "fitted", fitted)
    monkeypatch.setattr(study, "numbers", numbers)
    monkeypatch.setattr(study, "audit", lambda *given: SimpleNamespace(constant=None))
    asked = [str(tmp_path), "--queries", "100", "200", "--seeds", "2", "--out", str(tmp_path)]
    with pytest.raises(RuntimeError, match="killed"):
        study.main(asked)
    assert made == [(100, 0)]
    kept = pd.read_csv(tmp_path / "audit.csv")
    assert kept[["how", "fit", "shift"]].to_numpy().tolist() == [["rewards", 0, 0.0], ["head", 0, 0.0], ["head", 0, -2]]
    fails.clear()
    study.main(asked)
    assert made == [(100, 0), (100, 1), (200, 0), (200, 1)]  # each once
    rows = pd.read_csv(tmp_path / "audit.csv")
    assert len(rows) == 1 + 4 * 2
    pd.testing.assert_frame_equal(rows.iloc[:3], kept)
    assert (tmp_path / "audit-summary.csv").is_file()
