"""The table of policies in GridHazards: means over θ, the worst θ, and what the actor misses of its model's plan."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments.actors import RESULTS, table


def test_the_committed_rows_make_the_numbers_of_the_page() -> None:
    exact = table(pd.read_csv(RESULTS / "exact.csv"))
    assert exact["mean over θ"].eq(99.8).all()
    assert (exact["worst θ"].min(), exact["worst θ"].max()) == (98.7, 99.2)
    learned = table(pd.read_csv(RESULTS / "learned.csv")).set_index(["method", "seed", "refit"])
    assert learned.loc[("plan", 40, False), "mean over θ"] == 97.9
    assert learned.loc[("lookahead", 40, True), "actor's part"] == pytest.approx(0.8)
    assert learned.loc[("own", 41, True), "actor's part"] == 2.7
    assert pd.isna(learned.loc[("plan", 40, False), "actor's part"])
