"""Maps over θ: what goes on which axis, and that the numbers shown are the rows' means."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from waker.report.blocks import Picture
from waker.report.theta_maps import HARD_COLOUR, binned, layout, theta_map


def table(group: str = "dr", seed: int = 0, **values: list[float]) -> pd.DataFrame:
    """All combinations of the values, with value = the row's number."""
    points = list(itertools.product(*values.values()))
    rows = pd.DataFrame(points, columns=[f"theta_{n}" for n in values])
    return rows.assign(value=np.arange(float(len(rows))), group=group, seed=seed)


def images(rows: pd.DataFrame, names: list[str]) -> list[np.ndarray]:
    figure = theta_map(rows, names, "value")
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images and axes.get_visible()]


def test_the_two_most_numerous_parameters_span_the_map() -> None:
    rows = table(a=[0, 1], b=[0, 1, 2], c=[0, 1, 2, 3], d=[7])
    found = layout(rows, ["a", "b", "c", "d"])
    assert (found.vertical, found.horizontal, found.rest, found.constant) == ("b", "c", ("a",), ("d",))


def test_ties_go_to_the_earlier_parameters() -> None:
    found = layout(table(a=[0, 1], b=[0, 1], c=[0, 1]), ["a", "b", "c"])
    assert (found.vertical, found.horizontal, found.rest) == ("a", "b", ("c",))


@pytest.mark.parametrize("values", [{"a": [1.0]}, {"a": [0, 1, 2], "b": [5]}])
def test_one_parameter_makes_lines(values: dict[str, list[float]]) -> None:
    figure = theta_map(table(**values), list(values), "value")
    (axes,) = figure.axes
    (line,) = axes.lines
    assert list(line.get_ydata()) == [float(i) for i in range(len(values["a"]))]
    assert axes.get_xlabel() == "a"


def test_lines_average_seeds_and_show_each() -> None:
    rows = pd.concat([table(a=[0, 1]), table(seed=1, a=[0, 1]).assign(value=lambda r: r["value"] + 4)])
    (axes,) = theta_map(rows, ["a"], "value").axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0, 1], [4, 5], [2, 3]]


def test_two_parameters_make_one_heat_map_of_means() -> None:
    rows = pd.concat([table(a=[0, 1], b=[0, 1, 2]), table(seed=1, a=[0, 1], b=[0, 1, 2]).assign(value=0.0)])
    (image,) = images(rows, ["a", "b"])
    assert image.tolist() == [[0, 0.5, 1], [1.5, 2, 2.5]]


def test_values_that_have_no_panel_are_counted() -> None:
    many, few = (table(a=[0, 1, 2, 3], b=[0, 1, 2, 3], c=list(range(n))) for n in (4, 3))
    many = pd.concat([many.assign(theta_d=float(d)) for d in range(4)])
    figure = theta_map(many, ["a", "b", "c", "d"], "value")
    assert len([axes for axes in figure.axes if axes.images and axes.get_visible()]) == 12
    told = figure.get_suptitle().replace("\n", " ")
    assert told == "the first 12 of 16 values of c, d; the tables have all"
    assert not theta_map(few, ["a", "b", "c"], "value").get_suptitle()


def test_groups_and_further_parameters_make_panels() -> None:
    one = table(a=[0, 1], b=[0, 1], c=[3, 4])
    both = pd.concat([one, one.assign(group="waker-m", value=10 + one["value"])])
    found = images(both, ["a", "b", "c"])
    assert [im.tolist() for im in found] == [
        [[0, 2], [4, 6]],
        [[1, 3], [5, 7]],
        [[10, 12], [14, 16]],
        [[11, 13], [15, 17]],
    ]


def test_missing_theta_stay_empty() -> None:
    rows = table(a=[0, 1], b=[0, 1]).iloc[:3]
    (image,) = images(rows, ["a", "b"])
    assert np.ma.getmaskarray(np.ma.masked_invalid(image)).tolist() == [[False, False], [False, True]]


def test_very_many_values_are_binned_within_their_range() -> None:
    x = np.linspace(0, 10, 500)
    rows = pd.DataFrame({"theta_x": x, "theta_n": np.repeat([1.0, 2.0], 250), "value": x})
    found = binned(rows, ["x", "n"])
    assert found["theta_x"].unique().tolist() == pytest.approx([0.5 + i for i in range(10)])
    assert (abs(found["theta_x"] - x) <= 0.5 + 1e-9).all()
    assert found["theta_n"].equals(rows["theta_n"])


def test_hard_cells_are_framed_and_no_others() -> None:
    rows = table(a=[0, 1], b=[0, 1, 2], c=[5, 6])
    hard = pd.DataFrame({"theta_a": [1.0], "theta_b": [2.0], "theta_c": [6.0]})
    figure = theta_map(rows, ["a", "b", "c"], "value", hard=hard)
    panels = [axes for axes in figure.axes if axes.images and axes.get_visible()]
    framed = [[patch.get_xy() for patch in axes.patches] for axes in panels]
    assert len(panels) == 2  # c = 5 and c = 6 beside each other, or a's
    ((x, y),) = [place for places in framed for place in places]
    row, column = round(y), round(x)
    (panel,) = [axes for axes, places in zip(panels, framed, strict=True) if places]
    assert np.asarray(panel.images[0].get_array())[row, column] == 11.0  # a = 1, b = 2, c = 6 is the last row
    assert not [patch for axes in theta_map(rows, ["a", "b", "c"], "value").axes for patch in axes.patches]


def test_many_maps_share_the_page_s_width_and_are_seen_at_once() -> None:
    names, rows = ["a", "b", "c"], table(a=[0, 1, 2, 3, 4], b=[0, 1, 2, 3, 4], c=[0, 1, 2, 3, 4])
    figure = theta_map(pd.concat([rows.assign(group=g) for g in ("dr", "waker-m", "waker-r")]), names, "value")
    panels = [axes for axes in figure.axes if axes.images and axes.get_visible()]
    width, height = figure.get_size_inches()
    assert len(panels) == 15 and 7.1 < width <= 12 and height <= 9
    figure.draw_without_rendering()
    lefts = {round(panel.get_position().x0, 3) for panel in panels}
    assert len(lefts) >= 3
    (bar,) = [axes for axes in figure.axes if axes not in panels and axes.get_visible()]
    assert bar.get_window_extent().height <= 2.7 * figure.dpi
    assert all(panel.get_title(loc="left").splitlines()[1].startswith("c = ") for panel in panels)
    lowest = [panel for panel in panels if panel.get_xlabel()]
    assert {round(panel.get_position().x0, 3) for panel in lowest} == lefts
    assert Picture.of(figure, "").wide


def test_panels_of_a_last_line_that_is_not_full_leave_no_column_without_its_axis() -> None:
    rows = table(a=list(range(8)), b=list(range(8)), c=[0, 1, 2])
    figure = theta_map(rows, ["a", "b", "c"], "value")
    panels = [axes for axes in figure.axes if axes.images and axes.get_visible()]
    figure.draw_without_rendering()
    columns = {round(panel.get_position().x0, 3) for panel in panels}
    named = [panel for panel in panels if panel.get_xlabel() == "b"]
    assert {round(panel.get_position().x0, 3) for panel in named} == columns
    assert all(any(label.get_visible() for label in panel.get_xticklabels()) for panel in named)


def test_a_parameter_of_few_values_is_named_at_each() -> None:
    (axes,) = theta_map(table(a=[1, 2, 3]), ["a"], "value").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]


def test_hard_values_of_one_parameter_have_a_line() -> None:
    hard = pd.DataFrame({"theta_a": [2.0, 9.0], "theta_b": [5.0, 5.0]})
    (axes,) = theta_map(table(a=[0, 1, 2], b=[5]), ["a", "b"], "value", hard=hard).axes
    assert [list(line.get_xdata()) for line in axes.lines if line.get_color() == HARD_COLOUR] == [[2.0, 2.0]]
