"""Rows that are added to a file: those of one part do not take the place of another's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.kept_rows import with_others

IDENTITY = ("method", "sampler", "seed", "updates")


def rows(method: str, seed: int, updates: int, *shares: float) -> pd.DataFrame:
    return pd.DataFrame({"method": method, "seed": seed, "updates": updates, "share": shares})


def test_rows_of_the_same_method_seed_and_updates_are_replaced_and_all_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    first = rows("lookahead", 1, 700, 0.1, 0.2)
    pd.testing.assert_frame_equal(with_others(path, first, IDENTITY), first)
    kept = pd.concat([first, rows("lookahead", 1, 1_600, 0.3), rows("rollouts", 1, 700, 0.4)], ignore_index=True)
    kept.to_csv(path, index=False)
    again = pd.concat([rows("lookahead", 1, 700, 0.5, 0.6), rows("lookahead", 2, 700, 0.7)], ignore_index=True)
    found = with_others(path, again, IDENTITY)
    assert found["share"].tolist() == [0.3, 0.4, 0.5, 0.6, 0.7]
