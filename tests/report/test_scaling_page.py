"""The page of curves: every domain, sampler and explorer is there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from waker.analysis.scaling_curves import CURVES
from waker.analysis.scaling_law import Law
from waker.analysis.scaling_study import Scaling, scaling_of
from waker.report.scaling_page import curves_figure, named, write_scaling_page

GROUPS = [("hills", "dr", "plan2explore"), ("hills", "dr", "rnd"), ("rooms", "dr", "rnd")]


def found(groups: list[tuple[str, str, str]]) -> Scaling:
    """Curves of one seed and of five to seven points."""
    rows = [
        (*group, 0, step, np.nan, np.nan, "mean", float(Law(0.05, 0.8, 2.0, 3_000.0).at(step)), 0.05)
        for more, group in enumerate(groups)
        for step in range(1_000, 6_000 + 1_000 * more, 1_000)
    ]
    return scaling_of(pd.DataFrame(rows, columns=list(CURVES)), axes=["step"], resamples=0)


def test_every_group_is_a_row_of_the_page(tmp_path: Path) -> None:
    write_scaling_page(found(GROUPS), tmp_path / "page.html")
    html = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", (tmp_path / "page.html").read_text()))
    assert "hills, dr (plan2explore) 5 1 hills, dr (rnd) 6 1 rooms, dr (rnd) 7 1" in html


def test_explorers_have_colours_and_names_of_their_own() -> None:
    curves = found(GROUPS[:2])
    figure = curves_figure(curves, list(curves.curves), "agent steps")
    drawn = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len({to_hex(line.get_color()) for line in drawn}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dr (plan2explore)", "dr (rnd)"]


def test_names_are_as_short_as_can_be() -> None:
    keys = [(*group, "mean", "step") for group in GROUPS]
    assert list(named(keys[:1]).values()) == ["dr"]
    assert list(named([keys[1], keys[2]]).values()) == ["hills, dr", "rooms, dr"]
