"""Returns and regret by θ with intervals, and by task. Called by the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from waker.analysis.metrics import student_interval
from waker.names import printable
from waker.report import whiskers
from waker.report.style import colours, grid, legend, style, text, titled, uncover

_WIDTH = 3.5  # inches of a panel
_MOST_ROWS = 40
"""θ named one by one up to this; more become a curve from the worst to the best."""
_LONGEST_LABEL = 72
"""Characters of a θ beside a panel, which must leave room for the panel."""


def intervals(rows: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean with Student's 95 % interval for each group of rows.

    Over seeds where there are several (each seed's mean is one number: episodes of one run share its policy), else
    over the episodes of the one run; one number has no interval.

    Args:
        rows: with the columns of ``by``, ``seed`` and ``value``.

    Returns:
        The columns of ``by``, mean, low, high, n (numbers behind the interval), points (the seeds' means; none of one).
    """
    out = []
    for key, group in rows.groupby(by, sort=False, dropna=False):
        per_seed = group.groupby("seed")[value].mean().to_numpy(float)
        several = len(per_seed) > 1
        numbers = per_seed if several else group[value].to_numpy(float)
        point, low, high = student_interval(numbers)
        found = {"mean": point, "low": low, "high": high, "n": len(numbers), "points": per_seed if several else ()}
        out.append({**dict(zip(by, key, strict=True)), **found})
    return pd.DataFrame(out)


def _draw(panel: Axes, placed: pd.DataFrame, at: np.ndarray, colour: str, width: float, size: float) -> None:
    """Interval, mean and the seeds' own dots, one line for each row of ``placed`` (NaN: nothing)."""
    whiskers.draw(panel, at, placed["low"], placed["high"], placed["n"], colour, width, 0.55)
    panel.plot(placed["mean"], at, "o", color=colour, ms=size)
    seeds = [(x, y) for points, y in zip(placed["points"], at, strict=True) if np.ndim(points) for x in points]
    if seeds:
        x, y = zip(*seeds, strict=True)
        panel.scatter(x, y, s=0.45 * size**2, color=colour, alpha=0.6, linewidths=0, zorder=3)


def _limits(table: pd.DataFrame, *more: float) -> tuple[float, float]:
    """The x axis of a panel: see :func:`waker.report.whiskers.limits`; ``more`` is what it shows beside the table."""
    points = [np.ravel(one) for one in table["points"]]
    return whiskers.limits([table["mean"], *points, list(more)], table["low"], table["high"])


def _intervals_told(tables: list[pd.DataFrame]) -> dict[str, Any]:
    """What the legend tells of dashed intervals, where there are any."""
    return whiskers.LEGEND if any(whiskers.few(table["n"]).any() for table in tables) else {}


def by_theta(evaluation: pd.DataFrame, names: list[str], value: str, label: str, least: float | None = None) -> Figure:
    """A panel for each task: one line a θ, a dot and its interval for each group.

    Args:
        evaluation: rows of one suite with group, seed, task, theta_<name>… and ``value``.
        names: θ's names.
        value: the column shown.
        label: of the x axis.
        least: no true value is smaller, so no interval goes on below it and the axis shows it; None = not known.
    """
    rows = evaluation.dropna(subset=[value])
    columns = [f"theta_{n}" for n in names]
    tasks = list(dict.fromkeys(rows["task"]))
    thetas = rows[columns].drop_duplicates().sort_values(columns).reset_index(drop=True)
    with style():
        if too_many(rows, names):
            return _sorted_curves(rows, columns, value, label, tasks)
        palette = colours(rows["group"])
        height = 0.9 + len(thetas) * (0.14 + 0.09 * len(palette))
        figure, panels = grid(len(tasks), 3, _WIDTH, height)
        tables = [intervals(rows[rows["task"] == task], ["group", *columns], value) for task in tasks]
        for panel, task, table in zip(panels, tasks, tables, strict=True):
            if least is not None:
                table["low"] = table["low"].clip(lower=np.minimum(table["mean"], least))
            panel.set_xlim(_limits(table, *([] if least is None else [least])))
            for g, (group, colour) in enumerate(palette.items()):
                placed = thetas.merge(table[table["group"] == group], on=columns, how="left")
                at = np.arange(len(thetas)) + (g - (len(palette) - 1) / 2) * 0.7 / len(palette)
                _draw(panel, placed, at, colour, 1.6, 3.6)
            panel.set_ylim(len(thetas) - 0.4, -0.6)
            titled(panel, task, _WIDTH)
            panel.set_xlabel(label)
            _name_thetas(panel, thetas, names, first=panel in panels[:: min(3, len(panels))])
        legend(figure, palette, **_intervals_told(tables))
        return figure


def too_many(rows: pd.DataFrame, names: list[str]) -> bool:
    """Whether there are more θ than can be named one by one."""
    return len(rows[[f"theta_{n}" for n in names]].drop_duplicates()) > _MOST_ROWS


def _name_thetas(panel: Axes, thetas: pd.DataFrame, names: list[str], first: bool) -> None:
    rows = (", ".join(f"{n} {v:g}" for n, v in zip(names, row, strict=True)) for row in thetas.to_numpy())
    shown = [printable(row, _LONGEST_LABEL) for row in rows]
    panel.set_yticks(range(len(thetas)), shown, fontsize=7.2)
    panel.tick_params(axis="y", length=0, labelleft=first)  # shown of the others where panels are stacked


def _sorted_curves(rows: pd.DataFrame, columns: list[str], value: str, label: str, tasks: list[str]) -> Figure:
    """Means of all θ from the smallest to the largest: its left end is the robustness of a policy."""
    palette = colours(rows["group"])
    figure, panels = grid(len(tasks), 3, _WIDTH, 2.4)
    for panel, task in zip(panels, tasks, strict=True):
        for group, colour in palette.items():
            chosen = rows[(rows["task"] == task) & (rows["group"] == group)]
            for _, one in chosen.groupby("seed"):
                means = np.sort(one.groupby(columns)[value].mean().to_numpy(float))
                panel.plot(np.linspace(0, 100, len(means)), means, color=colour, lw=1.4)
        titled(panel, task, _WIDTH)
        panel.set_xlabel("θ from the least to the most (%)")
        panel.set_ylabel(label)
    uncover(figure)
    legend(figure, palette)
    return figure


def by_suite(evaluation: pd.DataFrame, value: str, label: str) -> Figure:
    """A panel for each task: mean and interval in each suite for each group; the random policy as a grey bar.

    Args:
        evaluation: rows with group, seed, task, suite, policy and ``value``.
    """
    rows = evaluation.dropna(subset=[value])
    learned = rows[rows["policy"] == "learned"]
    tasks, suites = list(dict.fromkeys(learned["task"])), list(dict.fromkeys(learned["suite"]))
    with style():
        palette = colours(learned["group"])
        figure, panels = grid(len(tasks), 3, _WIDTH, 0.9 + len(suites) * (0.3 + 0.14 * len(palette)))
        tables = [intervals(learned[learned["task"] == task], ["group", "suite"], value) for task in tasks]
        for panel, task, table in zip(panels, tasks, tables, strict=True):
            chance = rows[(rows["policy"] == "random") & (rows["task"] == task)].groupby("suite")[value].mean()
            panel.set_xlim(_limits(table, 0.0, *chance))
            for g, (group, colour) in enumerate(palette.items()):
                placed = table[table["group"] == group].set_index("suite").reindex(suites)
                at = np.arange(len(suites)) + (g - (len(palette) - 1) / 2) * 0.6 / len(palette)
                _draw(panel, placed, at, colour, 2, 4.5)
            for y, suite in enumerate(suites):
                if suite in chance:
                    panel.vlines(chance[suite], y - 0.38, y + 0.38, color="#9aa5b1", lw=1.4, ls=(0, (2, 1.5)))
            # Suites have a word of their own: one is called as the sampler dr is.
            panel.set_yticks(range(len(suites)), [f"suite {text(suite)}" for suite in suites])
            panel.set_ylim(len(suites) - 0.5, -0.5)
            titled(panel, task, _WIDTH)
            panel.set_xlabel(label)
        legend(figure, palette, **{"random policy": {"ls": ":", "lw": 1.4}, **_intervals_told(tables)})
        return figure
