"""Figures on a phone: panels below each other, enlarged without a script; and the rows that they are drawn of."""

from __future__ import annotations

import base64
import io
import re
import warnings

import jinja2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from waker.report import blocks
from waker.report.blocks import Download, Picture
from waker.report.curves import error_curves
from waker.report.returns import by_theta
from waker.report.style import NARROW, stacked, style
from waker.report.theta_maps import theta_map


def errors(metrics: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"group": "dr", "seed": 0, "step": s, "theta_id": i, "metric": f"m{m}", "value": 0.1 * i + m}
        for m in range(metrics)
        for s in (1, 2)
        for i in range(3)
    )


def returns() -> pd.DataFrame:
    about = [(g, t, x) for g in ("dr", "waker-m") for t in ("green", "blue", "red", "grey") for x in range(3)]
    return pd.DataFrame({"group": g, "seed": 0, "task": t, "theta_x": x, "return": float(x)} for g, t, x in about)


def test_panels_side_by_side_are_stacked_each_with_its_labels() -> None:
    figure = by_theta(returns(), ["x"], "return", "return")
    assert stacked(figure)
    figure.draw_without_rendering()
    boxes = [panel.get_position() for panel in figure.axes]
    assert figure.get_figwidth() == NARROW
    assert len(boxes) == 4
    assert np.ptp([box.x0 for box in boxes]) == pytest.approx(0.0, abs=1e-6)
    assert all(above.y0 > below.y1 for above, below in zip(boxes, boxes[1:], strict=False))
    for panel in figure.axes:
        labels = [label for label in panel.get_yticklabels() if label.get_text()]
        assert [label.get_text() for label in labels] == ["x 0", "x 1", "x 2"]
        assert all(label.get_visible() for label in labels) and panel.get_xlabel() == "return"
    (legend,) = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == ["dr", "waker-m"]


def test_the_wide_figure_names_theta_in_the_first_column_alone() -> None:
    figure = by_theta(returns(), ["x"], "return", "return")
    figure.draw_without_rendering()
    named = [panel.yaxis.get_tick_params()["labelleft"] for panel in figure.axes[:4]]
    assert named == [True, False, False, True]


def test_maps_keep_their_colours_and_shared_labels() -> None:
    rows = [
        {"theta_a": a, "theta_b": b, "theta_c": c, "group": g, "value": a + b + c}
        for g in ("dr", "waker-m")
        for a in range(3)
        for b in range(3)
        for c in range(2)
    ]
    figure = theta_map(pd.DataFrame(rows), ["a", "b", "c"], "error")
    maps = [panel for panel in figure.axes if panel.get_subplotspec() is not None and panel.get_visible()]
    assert stacked(figure)
    figure.draw_without_rendering()
    assert {panel.get_xlabel() for panel in maps} == {"b"} and {panel.get_ylabel() for panel in maps} == {"a"}
    (bar,) = set(figure.axes) - set(maps)
    assert len(maps) == 4 and bar.get_position().y0 > max(one.get_position().y1 for one in maps)
    assert bar.get_window_extent().width <= figure.bbox.width


def test_a_narrow_figure_is_drawn_once() -> None:
    figure = error_curves(errors(1))
    assert not stacked(figure)
    assert Picture.of(figure, "").narrow == ""
    several = Picture.of(error_curves(errors(2)), "")
    assert several.narrow and several.narrow != several.uri


def test_a_long_title_is_broken_and_not_cut() -> None:
    figure = error_curves(errors(2).assign(metric=lambda rows: rows["metric"] + " of a quantity with a very long name"))
    stacked(figure)
    figure.draw_without_rendering()
    for panel in figure.axes:
        assert "\n" in panel.get_title(loc="left")
        assert panel.title.get_window_extent().x1 <= figure.bbox.x1
        assert panel._left_title.get_window_extent().x1 <= figure.bbox.x1


def drawn(picture: Picture, number: int = 7) -> str:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("waker", "report"), autoescape=True)
    return str(environment.get_template("blocks.html").module.figure(picture, number))


def test_a_click_opens_the_figure_alone_and_another_leads_back() -> None:
    html = drawn(Picture("data:,wide", "what to see", narrow="data:,narrow"))
    assert 'class="zoom" href="#figure-7"' in html and '<figure id="figure-7">' in html
    assert 'class="back" href="#at-7"' in html and '<div id="at-7">' in html
    assert re.search(r'<source media="\(max-width: 640px\)" srcset="data:,narrow">\s*<img src="data:,wide"', html)
    assert "<script" not in html and "onclick" not in html


def test_the_rows_come_with_the_figure() -> None:
    rows = pd.DataFrame({"group": ["dr", "a, b"], "value": [0.123456789, 2.0]})
    html = drawn(Picture("data:,", "", "Return by θ: all", rows=Download.of(rows)))
    name, uri = re.findall(r'download="([^"]+)" href="([^"]+)"', html)[0]
    assert name == "return-by-all.csv" and "its 2 rows" in html
    read = pd.read_csv(io.BytesIO(base64.b64decode(uri.removeprefix("data:text/csv;base64,"))))
    assert read["group"].tolist() == ["dr", "a, b"]
    assert read["value"].tolist() == [0.123457, 2.0]


def test_rows_that_are_too_many_are_told_and_not_put_into_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_BYTES", 100)
    html = drawn(Picture("data:,", "", rows=Download.of(errors(5))))
    assert "download" not in html and "Its 30 rows are too many for the page" in html


def test_a_figure_whose_names_leave_no_room_has_no_version_for_a_phone() -> None:
    with style():
        figure = Figure(figsize=(8.0, 2.5), layout="constrained")
        figure.subplots().set_ylabel("a name\n" * 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Picture.of(figure, "as it is").narrow == ""
