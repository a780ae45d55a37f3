"""The ablation of waker-r: what is read of a run's episodes, and what is told of the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.waker_r import FIRST, QUANTITIES, RESULTS, favourites, longest, runs_in, summary


def test_favourites_are_counted_by_tenths() -> None:
    episodes = pd.DataFrame(
        {"step": [*range(10, 101, 10), 95, 96, 101], "theta_id": [0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 7]}
    )
    found = favourites(episodes, 100)
    assert [theta for theta, _ in found] == [0, 1, 1, 1, 2, 2, 3, 4, 5, 7]
    assert [share for _, share in found] == [1.0] * 9 + [0.75]


def test_the_longest_stretch_is_of_one_theta() -> None:
    assert longest([3, 3, 1, 1, 1, 3]) == 3
    assert longest([1, 2, 3]) == 1


def test_runs_are_called_by_variant_or_sampler(tmp_path: Path) -> None:
    for run in ("warm/domain/waker-r/plan2explore/seed-1", "domain/dr/plan2explore/seed-1"):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
    assert [name for _, name in runs_in(tmp_path)] == ["dr", "warm"]


def test_differences_are_paired_by_seed() -> None:
    rows = pd.DataFrame({"variant": [FIRST, FIRST, FIRST, "warm", "warm"], "seed": [1, 2, 3, 2, 1]})
    rows = rows.assign(**{name: [1.0, 2.0, 9.0, 2.5, 1.5] for name in QUANTITIES})
    warm = summary(rows).set_index(["variant", "quantity"]).loc[("warm", "favourite")]
    assert (warm["n"], warm["mean"], warm["difference"]) == (2, 2.0, 0.5)
    assert np.isnan(summary(rows).set_index(["variant", "quantity"]).loc[(FIRST, "favourite"), "difference"])


@pytest.mark.skipif(not (RESULTS / "rows.csv").exists(), reason="no rows yet")
def test_the_summary_is_of_the_rows() -> None:
    told = summary(pd.read_csv(RESULTS / "rows.csv"))
    kept = pd.read_csv(RESULTS / "summary.csv")
    pd.testing.assert_frame_equal(told, kept, check_exact=False, rtol=1e-3, atol=1e-9)
