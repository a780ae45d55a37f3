"""Figures of an audit: imprints, the four classes, edits. Called by its page."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from waker.preferences.imprint import POOLED, WITHIN
from waker.report.style import GREY, INK, grid, legend, style, text

_SHOWN = {"head": "#d9480f", "true": "#1971c2", "before": "#9aa5b1"}
_CLASSES = ("#2b8a3e", "#8ce99a", "#ffa94d", "#c92a2a")


def imprint_figure(rows: pd.DataFrame) -> Figure:
    """A line a feature, a dot and its interval for each reward; pooled and within rooms side by side."""
    features = list(dict.fromkeys(rows["feature"]))
    shown = {reward: colour for reward, colour in _SHOWN.items() if (rows["reward"] == reward).any()}
    with style():
        figure, panels = grid(2, 2, 4.2, 0.9 + 0.34 * len(features))
        for panel, effects, title in zip(panels, (POOLED, WITHIN), ("all steps", "within rooms"), strict=True):
            for number, (reward, colour) in enumerate(shown.items()):
                of = rows[(rows["effects"] == effects) & (rows["reward"] == reward)].set_index("feature").loc[features]
                at = np.arange(len(features)) + 0.22 * (number - (len(shown) - 1) / 2)
                panel.hlines(at, of["low"], of["high"], color=colour, lw=1.6, alpha=0.6)
                panel.plot(of["estimate"], at, "o", color=colour, ms=4)
            panel.axvline(0.0, color=INK, lw=0.8)
            panel.set_yticks(range(len(features)), [text(feature) for feature in features])
            panel.set_ylim(len(features) - 0.4, -0.6)
            panel.set_title(title)
            panel.set_xlabel("standard deviations of the reward")
        legend(figure, shown)
    return figure


def classes_figure(rows: pd.DataFrame) -> Figure:
    """A bar for each source of pairs, cut into the four classes."""
    kinds, classes = list(dict.fromkeys(rows["pairs"])), list(dict.fromkeys(rows["class"]))
    palette = dict(zip(classes, _CLASSES, strict=True))
    with style():
        figure, (panel,) = grid(1, 1, 6.4, 1.1 + 0.45 * len(kinds))
        for at, kind in enumerate(kinds):
            left = 0.0
            for name, colour in palette.items():
                share = 100 * float(rows.loc[(rows["pairs"] == kind) & (rows["class"] == name), "share"].iloc[0])
                panel.barh(at, share, left=left, color=colour, height=0.6)
                left += share
        panel.set_yticks(range(len(kinds)), kinds)
        panel.set_ylim(len(kinds) - 0.4, -0.6)
        panel.set_xlabel("% of the answers with a choice")
        legend(figure, palette)
    return figure


def edits_figure(rows: pd.DataFrame) -> Figure:
    """A line an edit of both segments: the share of right pairs that turn wrong, and that without an edit."""
    of = rows[rows["side"] == "both"].reset_index(drop=True)
    with style():
        figure, (panel,) = grid(1, 1, 6.4, 1.0 + 0.36 * len(of))
        at = np.arange(len(of))
        panel.hlines(at, 100 * of["low"], 100 * of["high"], color=_SHOWN["head"], lw=1.6, alpha=0.6)
        panel.plot(100 * of["share"], at, "o", color=_SHOWN["head"], ms=4.5)
        panel.plot(100 * of["redrawn"], at, "x", color=GREY, ms=5)
        panel.set_yticks(at, [text(edit) for edit in of["edit"]])
        panel.set_ylim(len(of) - 0.4, -0.6)
        panel.set_xlim(left=0.0)
        panel.set_xlabel("% of the right pairs that turn wrong")
    return figure
