"""Curves, intervals and film strips show the rows' numbers."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from waker.analysis.metrics import student_interval
from waker.report.curves import error_curves, learning_curves, metric_columns, rank_curves
from waker.report.film import film_strip
from waker.report.returns import by_suite, by_theta, intervals
from waker.report.style import colours, data_uri, grid, in_lines, legend, number, style, tick, titled


def metrics() -> pd.DataFrame:
    rows = []
    for seed in (0, 1):
        for updates in (10, 20, 30):
            loss = updates * (1.0 + seed)
            rows.append(
                {"step": updates, "updates": updates, "zeta": loss, "model_loss": loss, "time/seconds": updates}
            )
    return pd.DataFrame(rows).assign(group="dr", seed=np.repeat([0, 1], 3), constant=1.0, word="x")


def test_known_metrics_come_first_and_clocks_and_constants_are_left_out() -> None:
    assert metric_columns(metrics()) == ["model_loss", "zeta"]


def test_learning_curves_draw_each_seed_and_their_mean_over_steps() -> None:
    axes = learning_curves(metrics(), ["model_loss"]).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[10, 20, 30]] * 3
    assert [list(line.get_ydata()) for line in axes.lines] == [[10, 20, 30], [20, 40, 60], [15, 30, 45]]


def test_seeds_logged_at_other_steps_are_interpolated_where_both_have_been() -> None:
    rows = metrics()
    rows.loc[rows["seed"] == 1, "step"] += 5
    mean = learning_curves(rows, ["model_loss"]).axes[0].lines[-1]
    assert list(mean.get_xdata()) == [15, 20, 25, 30]
    assert list(mean.get_ydata()) == [17.5, 25, 32.5, 40]


def test_error_curves_show_mean_and_worst_theta() -> None:
    rows = [
        {"group": "dr", "seed": 0, "step": s, "theta_id": i, "metric": "one_step_tv", "value": v}
        for s in (1, 2)
        for i, v in enumerate((0.1, 0.5))
    ]
    lines = error_curves(pd.DataFrame(rows)).axes[0].lines
    assert [line.get_ydata().tolist() for line in lines] == [[0.3, 0.3], [0.5, 0.5]]


def test_one_measurement_has_a_dot_and_a_diamond_beside_each_other_over_its_step() -> None:
    rows = [
        {"group": g, "seed": 0, "step": 1201, "theta_id": i, "metric": "one_step_tv", "value": v}
        for g in ("dr", "waker-m")
        for i, v in enumerate((0.1, 0.5))
    ]
    figure = error_curves(pd.DataFrame(rows))
    (panel,) = figure.axes
    assert [line.get_marker() for line in panel.lines] == ["o", "o", "D", "D"]
    assert [line.get_markerfacecolor() for line in panel.lines[2:]] == ["white"] * 2
    assert [line.get_xdata()[0] for line in panel.lines] == pytest.approx([1200.89, 1201.11] * 2)
    assert not any(line.get_clip_on() for line in panel.lines)  # none is cut at the panel's edge
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1,201"]
    told = {entry.get_text(): handle.get_marker() for entry, handle in entries(figure)}
    assert (told["mean over θ"], told["worst θ"]) == ("o", "D")


def entries(figure: Figure) -> list[tuple[Any, Any]]:
    """Text and line of each entry of the legend."""
    (legend,) = figure.legends
    return list(zip(legend.get_texts(), legend.get_lines(), strict=True))


def test_curves_of_one_step_have_one_tick() -> None:
    rows = [{"group": "dr", "seed": 0, "step": 1201, "metric": "m", "spearman": 0.5, "ceiling": np.nan}]
    (panel,) = rank_curves(pd.DataFrame(rows)).axes
    assert list(panel.get_xticks()) == [1201]


def test_a_number_at_an_axis_is_whole_by_itself() -> None:
    assert [tick(v) for v in (0.0005, 1201, -0.25, 5e-7, 2e6, 0.1 + 0.2)] == [
        "0.0005",
        "1,201",
        "−0.25",
        "5e−7",
        "2e6",
        "0.3",
    ]
    figure = learning_curves(metrics().assign(zeta=lambda rows: rows["zeta"] * 1e-5), ["zeta"])
    figure.draw_without_rendering()
    assert figure.axes[0].yaxis.get_offset_text().get_text() == ""


def test_a_long_title_is_in_lines_and_whole() -> None:
    with style():
        figure, (panel,) = grid(1, 1, 4.7, 2.0)
        titled(panel, "mean regret on denser, plan in the model (← better)", 4.7)
        figure.draw_without_rendering()
    lines = panel.get_title(loc="left").splitlines()
    assert " ".join(lines) == "mean regret on denser, plan in the model (← better)"
    assert len(lines) == 2 and max(map(len, lines)) <= 36
    assert in_lines("mean regret: the model's part (← better)", 4.7).splitlines()[1] == "(← better)"


def test_a_line_behind_another_of_the_same_values_is_wider() -> None:
    same = metrics()[metrics()["seed"] == 0]
    rows = pd.concat([same.assign(group=group) for group in ("dr", "waker-m", "waker-r")])
    rows = pd.concat([rows, same.assign(group="else", zeta=lambda r: 40 - r["zeta"])])
    widths = [line.get_linewidth() for line in learning_curves(rows, ["zeta"]).axes[0].lines]
    assert widths == pytest.approx([1.6 + 2 * 1.8, 1.6 + 1.8, 1.6, 1.6])


def test_rank_curves_show_their_ceiling_where_it_is_known() -> None:
    rows = [
        {"group": "dr", "seed": 0, "step": s, "metric": m, "spearman": 0.5, "ceiling": c, "theta": 9}
        for s in (1, 2)
        for m, c in (("one_step_tv", 0.9), ("latent_kl_1", np.nan))
    ]
    panels = rank_curves(pd.DataFrame(rows)).axes
    dotted = [[line.get_ydata() for line in panel.lines if line.get_linestyle() == ":"] for panel in panels]
    assert [[list(line) for line in lines] for lines in dotted] == [[[0.9, 0.9]], []]


def test_intervals_are_over_seeds_where_there_are_several() -> None:
    rows = pd.DataFrame({"group": "dr", "seed": [0] * 50 + [1] * 50, "value": [0.0] * 50 + [1.0] * 50})
    (row,) = intervals(rows, ["group"], "value").to_dict("records")
    assert (row["mean"], row["n"], list(row["points"])) == (0.5, 2, [0.0, 1.0])
    assert (row["low"], row["high"]) == pytest.approx(student_interval([0.0, 1.0])[1:])
    (row,) = intervals(rows.assign(seed=0), ["group"], "value").to_dict("records")
    assert row["n"] == 100
    assert row["low"] == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)
    assert row["high"] == pytest.approx(0.5 + 1.96 * 0.05, abs=0.02)


def test_the_worst_theta_of_error_curves_is_corrected_where_episodes_are_known() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.2, size=(12, 6))
    rows = [
        {"group": "dr", "seed": 0, "step": 1, "theta_id": i, "metric": "one_step_tv", "episode_seed": n, "value": v}
        for (i, n), v in np.ndenumerate(values)
    ]
    mean, worst = (line.get_ydata()[0] for line in error_curves(pd.DataFrame(rows)).axes[0].lines)
    assert mean == pytest.approx(values.mean())
    assert mean < worst < values.mean(1).max()


def test_the_seeds_behind_a_mean_are_drawn() -> None:
    rows = pd.concat([episodes(2), episodes(2).assign(seed=1, **{"return": 5.0})])
    a, b = (c for c in by_suite(rows, "return", "return").axes[0].collections if len(c.get_offsets()) > 1)
    assert sorted(x for x, _ in a.get_offsets().tolist()) == [0.5, 5.0]
    assert sorted(x for x, _ in b.get_offsets().tolist()) == [1.5, 5.0]


def test_one_number_has_no_interval() -> None:
    (row,) = intervals(pd.DataFrame({"group": ["dr"], "seed": [0], "value": [2.0]}), ["group"], "value").to_dict(
        "records"
    )
    assert row["mean"] == 2.0
    assert np.isnan(row["low"])


def episodes(thetas: int) -> pd.DataFrame:
    rows = [
        {"group": g, "seed": 0, "task": t, "suite": "dr", "policy": p, "theta_x": float(x), "return": x + (g == "b")}
        for g in "ab"
        for t in ("stand", "walk")
        for p in ("learned", "random")
        for x in range(thetas)
    ]
    return pd.DataFrame(rows)


def test_returns_by_theta_name_each_theta_and_place_its_mean() -> None:
    figure = by_theta(episodes(3), ["x"], "return", "return")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["stand", "walk"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x 0", "x 1", "x 2"]
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[0, 1, 2], [1, 2, 3]]


def test_returns_of_very_many_theta_become_sorted_curves() -> None:
    shuffled = episodes(100).sample(frac=1.0, random_state=0)
    figure = by_theta(shuffled[shuffled["group"] == "a"], ["x"], "return", "return")
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == [float(i) for i in range(100)]


def test_suites_show_learned_policies_and_the_random_one_apart() -> None:
    rows = episodes(3)
    rows.loc[rows["policy"] == "random", "return"] = -5.0
    axes = by_suite(rows, "return", "return").axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1.0], [2.0]]
    assert any(np.allclose(c.get_segments()[0][:, 0], -5.0) for c in axes.collections if c.get_segments())


def test_the_axis_of_regret_begins_at_zero_and_long_intervals_are_cut() -> None:
    rows = [
        {"group": "a", "seed": 0, "task": "t", "theta_x": float(x), "regret": regret}
        for x in range(3)
        for regret in (2.0 * x, 2.0 * x + 4)
    ]
    figure = by_theta(pd.DataFrame(rows), ["x"], "regret", "regret", 0.0)
    (panel,) = figure.axes
    left, right = panel.get_xlim()  # means 2, 4, 6; the intervals of two episodes reach ±25
    assert (left, right) == pytest.approx((-0.45, 9.45))
    (dashed,) = [c for c in panel.collections if hasattr(c, "get_segments")]
    assert [s[:, 0].tolist() for s in dashed.get_segments()] == [pytest.approx([0.0, right])] * 3
    assert [text.get_text() for text, _ in entries(figure)] == ["a", "interval of fewer than 5 numbers"]


def test_film_strips_leave_out_frames_after_the_end() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 5, 6, 6, 3)).astype(np.uint8)
    film = {"real": pictures, "imagined": pictures, "context": np.array(2), "length": np.array([5, 3])}
    figure = film_strip({**film, "theta": np.array([[1.0], [2.5]]), "names": np.array(["gap"])})
    (panel,) = figure.axes
    assert len(panel.images) == (5 + 5) + (3 + 5)
    shown = {text.get_text() for text in figure.texts}
    assert {"gap = 1", "gap = 2.5", "real", "model", "episode over"} <= shown
    assert (np.asarray(panel.images[0].get_array()) * 255).round().astype(int).tolist() == pictures[0, 0].tolist()


def test_a_sampler_keeps_its_colour_whatever_else_is_shown() -> None:
    alone, together = colours(["waker-m"]), colours(["new-one", "dr", "waker-m"])
    assert alone["waker-m"] == together["waker-m"]
    assert len(set(together.values())) == 3


def test_data_uris_hold_the_picture() -> None:
    figure = learning_curves(metrics(), ["zeta"])
    svg = data_uri(figure)
    assert svg.startswith("data:image/svg+xml;base64,")
    assert b"</svg>" in base64.b64decode(svg.partition(",")[2])
    png = data_uri(figure, "png")
    assert base64.b64decode(png.partition(",")[2]).startswith(b"\x89PNG")
    assert data_uri(learning_curves(metrics(), ["zeta"])) == svg


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0712, "0.071"), (12.34, "12"), (1.2e-5, "1e-5"), (3e6, "3e6"), (np.nan, "")]
)
def test_short_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_a_suite_is_not_taken_for_the_sampler_of_its_name() -> None:
    rows = pd.DataFrame(
        {"group": "dr", "seed": seed, "task": "a", "suite": suite, "policy": "learned", "return": 1.0}
        for seed in (0, 1)
        for suite in ("dr", "fresh")
    )
    figure = by_suite(rows, "return", "return")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["suite dr", "suite fresh"]
    assert figure.legends[0].get_texts()[0].get_text() == "dr"


@pytest.mark.parametrize("width", [3.5, 5.6, 10.0])
def test_legends_are_no_wider_than_their_figure(width: float) -> None:
    names = ["dr", "waker-m (replayed credit)", "reweighting-oracle", "gradual-expansion", "hardest-oracle", "waker-r"]
    with style():
        figure, _ = grid(1, 1, width, 2.0)
        legend(figure, colours(names))
        figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().width <= figure.bbox.width


def test_a_figure_is_drawn_once_into_the_file_that_savefig_writes() -> None:
    rows = metrics().assign(group="one of a long name", other=lambda r: r["zeta"] ** 3)

    def figure() -> tuple[Figure, list[object]]:
        made, drawn = learning_curves(rows, ["model_loss", "zeta", "other"]), list[object]()
        made.axes[0].add_artist(Counted(drawn))
        return made, drawn

    plain, drawn_plainly = figure()
    file = io.BytesIO()
    with style():
        plain.savefig(file, format="svg", metadata={"Date": None})
    ours, drawn = figure()
    assert base64.b64decode(data_uri(ours).partition(",")[2]) == file.getvalue()
    assert (len(drawn), len(drawn_plainly)) == (1, 2)
    assert "draw" not in vars(ours)


class Counted(Artist):
    """Notes that it is drawn; it has no extent of its own."""

    def __init__(self, drawn: list[object]) -> None:
        super().__init__()
        self.drawn = drawn

    def draw(self, renderer: object) -> None:
        self.drawn.append(renderer)
