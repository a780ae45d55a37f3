"""Lines through training: metrics of the learner, world-model error, rank correlation. Called by the page.

Colour is the sampler; one seed is a thin line, the mean of several a thick one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from waker.analysis.numbers import error_sample
from waker.analysis.source_means import sources_of
from waker.analysis.worst import worst_of
from waker.report.captions import error_title
from waker.report.style import GREY, apart, colours, grid, legend, one_step, steps_axis, style, titled, uncover

_WIDTH = 3.5  # inches of a panel
_KINDS = {"mean": ("-", "o"), "worst": ("--", "D")}
"""The line and the marker of the mean over θ and of the worst θ."""
_NAMES = {"mean": "mean over θ", "worst": "worst θ"}
_DOTS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "o": lambda colour: {"marker": "o"},
    "D": lambda colour: {"marker": "D", "markerfacecolor": "white", "markeredgecolor": colour, "markeredgewidth": 1.4},
}
"""How markers are drawn: a full dot, an open diamond."""
_NOT_METRICS = {"step", "updates", "seed"}
_NOT_PREFIXES = ("time/", "replay/")
_FIRST = ("model_loss", "model_kl", "credit", "intrinsic", "ensemble_loss", "reward_loss", "continue_loss")


def metric_columns(metrics: pd.DataFrame) -> list[str]:
    """Numeric metric columns that vary, the best known first."""
    found = [
        c
        for c in metrics.columns
        if c not in _NOT_METRICS
        and not c.startswith(_NOT_PREFIXES)
        and pd.api.types.is_numeric_dtype(metrics[c])
        and metrics[c].nunique() > 1
    ]

    def rank(column: str) -> tuple[int, int]:
        name = column.rsplit("/", 1)[-1]
        known = [i for i, first in enumerate(_FIRST) if name.startswith(first)]
        return (known[0] if known else len(_FIRST), found.index(column))

    return sorted(found, key=rank)


def learning_curves(metrics: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """A panel for each metric, over nominal agent steps (:func:`waker.analysis.marks.learner_steps`).

    Args:
        metrics: step, group, seed and the columns.
        columns: metrics to draw.
    """
    with style():
        figure, panels = grid(len(columns), 3, _WIDTH, 2.1)
        palette = colours(metrics["group"])
        for panel, column in zip(panels, columns, strict=True):
            _draw(panel, metrics.dropna(subset=[column]), column, palette)
            titled(panel, column.replace("_", " "), _WIDTH)
            steps_axis(panel)
        uncover(figure)
        legend(figure, palette)
        return figure


def error_curves(model_error: pd.DataFrame) -> Figure:
    """Held-out world-model error through training: mean over θ (solid) and worst θ (dashed), a panel for each metric.

    Args:
        model_error: step, group, seed, theta_id, theta_<name>…, metric, value: rows of θ, or of their episodes.
    """
    metrics = sorted(model_error["metric"].unique(), key=lambda m: ("tv" not in m, m))
    return _mean_and_worst({error_title(m): model_error[model_error["metric"] == m] for m in metrics})


def source_curves(model_error: pd.DataFrame) -> Figure:
    """:func:`error_curves` of one metric, a panel for each source of held-out episodes.

    Args:
        model_error: rows with ``source``.
    """
    names = sources_of(model_error)
    return _mean_and_worst({name: model_error[model_error["source"] == name] for name in names})


def _mean_and_worst(panels_rows: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel for each entry's rows: their mean over θ (solid) and their worst θ (dashed) through training.

    Of one measurement alone dots (mean) and open diamonds (worst), the groups beside each other.
    """
    with style():
        figure, panels = grid(len(panels_rows), 3, _WIDTH, 2.2)
        palette = colours(pd.concat([rows["group"] for rows in panels_rows.values()]))
        steps = {step for rows in panels_rows.values() for step in rows["step"]}
        beside = apart(palette) if len(steps) == 1 else {}
        for panel, (title, of_panel) in zip(panels, panels_rows.items(), strict=True):
            rows = _over_theta(of_panel)
            rows["step"] += rows["group"].map(beside) if beside else 0
            for kind, (look, marker) in _KINDS.items():
                _draw(panel, rows, kind, palette, look, dot=marker)
            titled(panel, title, _WIDTH)
            panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
            steps_axis(panel)
            if beside:
                one_step(panel, next(iter(steps)))
        uncover(figure)
        legend(figure, palette, **{name: _entry(kind, bool(beside)) for kind, name in _NAMES.items()})
        return figure


def _entry(kind: str, single: bool) -> dict[str, Any]:
    """How the legend draws the mean or the worst."""
    look, marker = _KINDS[kind]
    return {"ls": "", **_DOTS[marker](GREY)} if single else {"ls": look}


def _over_theta(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns group, seed, step, mean and worst over θ of one metric; the worst is corrected where it can be."""
    found = []
    for (group, seed, step), part in rows.groupby(["group", "seed", "step"], sort=False):
        sample = error_sample(part)
        bracket = worst_of(sample, np.random.default_rng(0), repetitions=0)
        worst = bracket.plug_in if np.isnan(bracket.corrected) else bracket.corrected
        mean = float((sample.sums.sum(1) / sample.counts.sum(1)).mean())
        found.append({"group": group, "seed": seed, "step": step, "mean": mean, "worst": worst})
    return pd.DataFrame(found)


def rank_curves(ranks: pd.DataFrame) -> Figure:
    """Spearman's correlation of estimate and true error through training, a panel for each metric.

    Dotted: the ceiling that the measurement sets, where it is known.

    Args:
        ranks: rows of :func:`waker.analysis.ranking.rank_correlation` with group and seed.
    """
    with style():
        metrics = sorted(ranks["metric"].unique(), key=lambda m: ("tv" not in m, m))
        figure, panels = grid(len(metrics), 3, _WIDTH, 2.1)
        palette = colours(ranks["group"])
        for panel, metric in zip(panels, metrics, strict=True):
            rows = ranks[ranks["metric"] == metric].dropna(subset=["spearman"])
            _draw(panel, rows, "spearman", palette, points=True)
            _draw(panel, rows.dropna(subset=["ceiling"]), "ceiling", palette, ":")
            panel.axhline(0, color="#9aa5b1", lw=0.8)
            panel.set_ylim(-1.05, 1.05)
            titled(panel, error_title(metric), _WIDTH)
            steps_axis(panel)
        uncover(figure)
        dotted = {"ceiling": {"ls": ":"}} if ranks["ceiling"].notna().any() else {}
        legend(figure, palette, **dotted)
        return figure


def _draw(
    panel: Axes,
    rows: pd.DataFrame,
    column: str,
    palette: dict[str, str],
    look: str = "-",
    points: bool = False,
    dot: str = "o",
) -> None:
    """One line a seed and their mean, for each group. A line of one point becomes a ``dot``."""
    for group, of_group in rows.groupby("group", sort=False):
        colour = palette[group]
        seeds = [one.sort_values("step") for _, one in of_group.groupby("seed")]
        several = len(seeds) > 1
        for one in seeds:
            marker = dot if points or len(one) == 1 else ""
            weight: dict[str, Any] = (
                {"lw": 0.8, "alpha": 0.4, "ms": 2.5} if several else {"lw": 1.6, "alpha": 1.0, "ms": 3.5}
            )
            # Dots may lie on the panel's edge, which would cut them in half.
            dots = _DOTS[marker](colour) if marker else {}
            panel.plot(one["step"], one[column], look, color=colour, clip_on=not marker, **{**dots, **weight})
        if several:
            steps, mean = _mean_line(seeds, column)
            dots = _DOTS[dot](colour) if len(steps) == 1 else {}
            panel.plot(steps, mean, look, color=colour, clip_on=not dots, **{**dots, "lw": 2, "ms": 5})


def _mean_line(seeds: Sequence[pd.DataFrame], column: str) -> tuple[np.ndarray, np.ndarray]:
    """The seeds' mean wherever every seed has been, seeds interpolated between their own points."""
    first = max(float(one["step"].iloc[0]) for one in seeds)
    last = min(float(one["step"].iloc[-1]) for one in seeds)
    steps = np.unique(np.concatenate([one["step"].to_numpy(float) for one in seeds]))
    steps = steps[(steps >= first) & (steps <= last)]
    values = [np.interp(steps, one["step"].to_numpy(float), one[column].to_numpy(float)) for one in seeds]
    return steps, np.mean(values, axis=0)


def share_curves(rows: pd.DataFrame) -> Figure:
    """A share between 0 and 1 through training.

    Args:
        rows: step, group, seed, share.
    """
    with style():
        figure, (panel,) = grid(1, 1, 5.6, 2.6)
        palette = colours(rows["group"])
        _draw(panel, rows, "share", palette)
        uncover(figure)
        panel.set_ylim(0, max(0.05, 1.15 * float(rows["share"].max())))
        panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        steps_axis(panel)
        legend(figure, palette)
        return figure
