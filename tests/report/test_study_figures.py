"""Figures of a study: parts of the regret, and paired differences whose intervals are long."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from waker.analysis.regret_parts import ACTOR, MODEL, TOTAL
from waker.report.study_figures import differences_figure, parts_figure


def test_a_negative_actor_s_part_has_a_bar_of_its_own_height() -> None:
    parts = {TOTAL: 6.0, MODEL: 9.0, ACTOR: -3.0}
    means = pd.DataFrame(
        {"group": "dr", "part": part, "mean": value, "low": value - 1, "high": value + 1, "seeds": 5}
        for part, value in parts.items()
    )
    values = means.rename(columns={"mean": "value"})
    (panel,) = parts_figure(values, means).axes
    model, actor = (bar for bar in panel.patches if isinstance(bar, Rectangle))
    assert (model.get_x(), model.get_width()) == (0.0, 9.0)
    assert actor.get_x() + actor.get_width() == 6.0 and actor.get_hatch()
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in (model, actor))
    assert spans[0][1] <= spans[1][0] + 1e-9  # neither lies over the other
    left, right = panel.get_xlim()
    assert left < 0 and right > 9


def test_pairs_are_seen_beside_intervals_of_two_seeds() -> None:
    tests = pd.DataFrame(
        {"group": ["a"], "quantity": "mean_regret", "difference": 2.0, "low": -60.0, "high": 64.0, "pairs": 2}
    )
    values = pd.DataFrame({"group": "a", "quantity": "mean_regret", "difference": [1.0, 3.0]})
    (panel,) = differences_figure(values, tests, "dr").axes
    assert panel.get_xlim() == pytest.approx((-1.5 - 0.3, 4.5 + 0.3))
