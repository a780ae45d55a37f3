"""Figures of a study: paired differences, parts of the regret, performance profiles, sampling shares.

Called by the study's page. Colour is the sampler; small dots are training seeds, lines and bands Student's 95 %
intervals over them. At most two panels stand side by side, so that a narrow window can still be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from waker.analysis.quantities import quantity_of
from waker.analysis.regret_parts import ACTOR, MODEL, TOTAL
from waker.analysis.summary import quantities
from waker.report import whiskers
from waker.report.style import INK, colours, grid, legend, steps_axis, style, text, titled, uncover

_WIDTH = 4.7  # inches of a panel
_LINE = 0.34  # inches of a sampler


def differences_figure(values: pd.DataFrame, tests: pd.DataFrame, baseline: str) -> Figure:
    """A panel for each quantity: the difference of every pair, its mean and interval, one line a group.

    Args:
        values: of one task: group, quantity, difference, one row a pair.
        tests: of the same: group, quantity, difference, low, high, pairs.
        baseline: what was taken off.
    """
    names = quantities(tests)
    groups = list(dict.fromkeys(tests["group"]))
    with style():
        palette = colours([*groups, baseline])
        figure, panels = grid(len(names), 2, _WIDTH, 0.95 + _LINE * len(groups))
        for number, (panel, quantity) in enumerate(zip(panels, names, strict=True)):
            unit = 100.0 if quantity_of(quantity).percent else 1.0
            panel.axvline(0.0, color="#7b8794", lw=1.0)
            here, seen = (rows[rows["quantity"] == quantity] for rows in (tests, values))
            points = [[0.0], here["difference"] * unit, seen["difference"] * unit]
            panel.set_xlim(whiskers.limits(points, here["low"] * unit, here["high"] * unit))
            for at, group in enumerate(groups):
                one = tests[(tests["quantity"] == quantity) & (tests["group"] == group)]
                own = values[(values["quantity"] == quantity) & (values["group"] == group)]["difference"] * unit
                _points(panel, own, at, palette[group])
                ends = one["low"] * unit, one["high"] * unit
                whiskers.draw(panel, [at] * len(one), *ends, one["pairs"], palette[group], 2)
                panel.plot(one["difference"] * unit, [at] * len(one), "o", color=palette[group], ms=5)
            titled(panel, f"{quantity_of(quantity).title}{_direction(quantity)}", _WIDTH)
            panel.set_xlabel(text(f"difference from {baseline}{', percentage points' if unit > 1 else ''}"))
            _lines(panel, groups, named=number % 2 == 0)
        return figure


def _direction(quantity: str) -> str:
    """Which side is better."""
    return {"less": " (← better)", "more": " (better →)"}.get(quantity_of(quantity).better, "")


def _points(panel: Axes, x: pd.Series, at: float, colour: str) -> None:
    """A seed's own value each, just above the line so that the interval hides none."""
    panel.scatter(x, np.full(len(x), at - 0.2), s=11, color=colour, alpha=0.7, linewidths=0, zorder=3)


def _lines(panel: Axes, groups: list[str], named: bool = True) -> None:
    panel.set_yticks(range(len(groups)), [text(group) for group in groups])
    panel.set_ylim(len(groups) - 0.5, -0.6)
    panel.tick_params(axis="y", length=0, labelleft=named)


def parts_figure(values: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Mean regret of each group as the model's part and, below it, the actor's part from there to the whole regret.

    Each part has a height of its own, so that a negative one is seen; dots: every seed's whole regret.

    Args:
        values: group, part, value, one row a run.
        means: group, part, mean, low, high, seeds.
    """
    groups = list(dict.fromkeys(means["group"]))
    with style():
        figure, (panel,) = grid(1, 1, 1.6 * _WIDTH, 1.0 + 1.6 * _LINE * len(groups))
        palette = colours(groups)
        whole = means[means["part"] == TOTAL]
        points = [[0.0], means[means["part"].isin((MODEL, TOTAL))]["mean"], values[values["part"] == TOTAL]["value"]]
        panel.set_xlim(whiskers.limits(points, whole["low"], whole["high"]))
        panel.axvline(0.0, color="#7b8794", lw=1.0)
        for at, group in enumerate(groups):
            of_group = means[means["group"] == group].set_index("part")
            model, actor = float(of_group["mean"][MODEL]), float(of_group["mean"][ACTOR])
            panel.barh(at - 0.2, model, 0.26, color=palette[group], lw=0)
            look: dict[str, Any] = {"facecolor": "white", "edgecolor": palette[group], "hatch": "////", "lw": 1.0}
            panel.barh(at + 0.06, actor, 0.26, left=model, **look)
            low, high, seeds = (float(of_group[name][TOTAL]) for name in ("low", "high", "seeds"))
            whiskers.draw(panel, at + 0.32, low, high, seeds, INK, 1.4)
            own = values[(values["group"] == group) & (values["part"] == TOTAL)]["value"]
            panel.scatter(own, np.full(len(own), at + 0.32), s=13, color=INK, linewidths=0, zorder=3)
        panel.set_xlabel("mean regret: the model's part (full), then the actor's part (hatched)")
        _lines(panel, groups)
        return figure


def profiles_figure(profiles: pd.DataFrame) -> Figure:
    """Performance profiles with their pointwise bands, a panel for each quantity.

    Args:
        profiles: group, quantity, threshold, share, low, high.
    """
    names = list(dict.fromkeys(profiles["quantity"]))
    with style():
        palette = colours(profiles["group"])
        figure, panels = grid(len(names), 2, 1.2 * _WIDTH, 3.3)
        for panel, quantity in zip(panels, names, strict=True):
            for group, rows in profiles[profiles["quantity"] == quantity].groupby("group", sort=False):
                look: dict[str, Any] = {"color": palette[group], "step": "post"}
                panel.fill_between(rows["threshold"], rows["low"], rows["high"], alpha=0.15, lw=0, **look)
                panel.step(rows["threshold"], rows["share"], where="post", color=palette[group], lw=1.8)
            titled(panel, quantity_of(quantity).title, 1.2 * _WIDTH)
            panel.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="share of runs × tasks above τ")
            panel.set_xlabel("τ")
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        uncover(figure)
        legend(figure, palette)
        return figure


def shares_figure(shares: pd.DataFrame) -> Figure:
    """Share of episodes through training with a band over seeds, a panel for each group of θ.

    Args:
        shares: group_of_runs, begin, end, parameter, group, mean, low, high.
    """
    kinds = list(shares[["parameter", "group"]].drop_duplicates().itertuples(index=False, name=None))
    with style():
        palette = colours(shares["group_of_runs"])
        figure, panels = grid(len(kinds), 2, _WIDTH, 2.0)
        for panel, (parameter, group) in zip(panels, kinds, strict=True):
            rows = shares[(shares["parameter"] == parameter) & (shares["group"] == group)]
            for name, line in rows.groupby("group_of_runs", sort=False):
                at = (line["begin"] + line["end"]) / 2.0
                panel.fill_between(at, line["low"], line["high"], color=palette[name], alpha=0.15, lw=0)
                panel.plot(at, line["mean"], "-o", color=palette[name], lw=1.6, ms=2.5)
            titled(panel, _group_title(parameter, group), _WIDTH)
            panel.set_ylim(0.0, 1.08 * min(1.0, max(0.05, float(rows[["mean", "high"]].max(axis=None)))))
            panel.set_xlim(left=0.0)
            panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            steps_axis(panel)
        uncover(figure)
        legend(figure, palette)
        return figure


def _group_title(parameter: str, group: str) -> str:
    return f"{parameter.removeprefix('theta_')} = {group}" if group else parameter
