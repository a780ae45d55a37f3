"""Intervals: the axis is that of the points, what goes on beyond it is cut with an arrow, few numbers are dashed."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from waker.report import whiskers


def test_the_axis_holds_short_intervals_whole() -> None:
    assert whiskers.limits([[1.0, 3.0]], [0.5, 2.5], [1.5, 3.5]) == pytest.approx((0.5 - 0.15, 3.5 + 0.15))


def test_the_axis_follows_long_intervals_for_half_a_span_of_the_points() -> None:
    assert whiskers.limits([[0.0], [1.0, 3.0]], [-60.0, 0.9], [80.0, np.nan]) == pytest.approx((-1.8, 4.8))


@pytest.mark.parametrize(("points", "ends"), [([[2.0]], (1.9, 2.1)), ([[0.0]], (-0.05, 0.05)), ([[np.nan]], (0, 1))])
def test_one_point_alone_has_an_axis(points: list[list[float]], ends: tuple[float, float]) -> None:
    assert whiskers.limits(points, [np.nan], [np.nan]) == pytest.approx(ends)


def test_what_goes_on_beyond_the_axis_is_cut_with_an_arrow_and_few_numbers_are_dashed() -> None:
    panel = Figure().subplots()
    panel.set_xlim(0.0, 10.0)
    whiskers.draw(panel, [1, 2, 3], [2.0, -60.0, np.nan], [4.0, 80.0, np.nan], [7, 2, 1], "black", 1.0)
    whole, dashed = (c for c in panel.collections if isinstance(c, LineCollection))
    assert [s.tolist() for s in whole.get_segments()] == [[[2.0, 1.0], [4.0, 1.0]]]
    assert [s.tolist() for s in dashed.get_segments()] == [[[0.0, 2.0], [10.0, 2.0]]]
    assert whole.get_linestyle()[0][1] is None and dashed.get_linestyle()[0][1] is not None
    arrows = [c.get_offsets().tolist() for c in panel.collections if isinstance(c, PathCollection)]
    assert arrows == [[[0.0, 2.0]], [[10.0, 2.0]]]
