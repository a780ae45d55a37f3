"""Rows of fits: what was left out of a curve is told beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from waker.analysis.scaling_curves import CURVES
from waker.analysis.scaling_law import Law
from waker.analysis.scaling_study import scaling_of


def rows(measured: dict[int, list[int]]) -> pd.DataFrame:
    """Measurements of each seed at some thousands of steps."""
    law = Law(0.05, 0.8, 2.0, 4_000.0)
    found = [
        ("d", "dr", "e", seed, 1_000 * i, np.nan, np.nan, "mean", float(law.at(1_000 * i)) + 0.001 * seed, 0.05)
        for seed, of in measured.items()
        for i in of
    ]
    return pd.DataFrame(found, columns=list(CURVES))


def test_an_early_end_is_told_where_the_curve_is() -> None:
    found = scaling_of(rows({0: [*range(1, 19)], 1: [*range(1, 19)], 2: [1, 2, 3]}), axes=["step"], resamples=10)
    (fit,) = found.fits.to_dict("records")
    assert fit["identified"] and (fit["points"], fit["seeds"]) == (18, 2)
    assert fit["why"] == "seed 2 is left out: 3 measurements, the median seed has 18"
    assert found.notes == (f"dr: {fit['why']}",)


def test_more_measurements_are_advised_only_where_they_are_what_lacks() -> None:
    def why(measured: dict[int, list[int]]) -> str:
        return str(scaling_of(rows(measured), axes=["step"], resamples=0).fits["why"].item())

    assert why({0: [1, 2, 3], 1: [1, 2, 3]}) == "a curve needs 4 points and has 3; evaluate more often"
    odd, other = [1, 2, 3, 4, 6, 8], [1, 2, 3, 5, 7, 9]
    assert why({0: odd, 1: other}) == (
        "a curve needs 4 points and has 3; 6 of 9 points are left out: seeds 0, 1 lack some"
    )
