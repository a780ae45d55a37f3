"""Suites with goals at other walls beside domain randomisation, each θ alike."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments.walls import walls


def test_each_theta_counts_once_and_only_the_last_evaluation() -> None:
    columns = ["seed", "suite", "policy", "step", "theta_id", "return", "optimal_return", "completion"]
    rows = [
        (7, "dr", "learned", 50, 0, 100.0, 100.0, 1.0),  # an earlier evaluation
        (7, "dr", "learned", 90, 0, 1.0, 10.0, 1.0),
        (7, "dr", "learned", 90, 0, 3.0, 10.0, 1.0),  # θ 0 is drawn twice as often
        (7, "dr", "learned", 90, 1, 8.0, 20.0, 0.5),
        (7, "ends", "learned", 90, 1, 4.0, 20.0, 0.25),
        (7, "5-blocks", "learned", 90, 0, 9.0, 90.0, 0.0),
    ]
    found = walls(pd.DataFrame(rows, columns=columns)).set_index("suite")
    assert list(found.index) == ["dr", "ends"]
    assert found.loc["dr", ["return", "optimal_return", "completion", "episodes"]].tolist() == pytest.approx(
        [5.0, 15.0, 0.75, 3]
    )
    assert found.loc["ends", "return"] == 4.0
