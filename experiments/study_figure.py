"""The figure of study.md's answers: robustness, what was sampled, error and regret, and data saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.study import BASELINE, ERROR, PRIMARY, at_the_end, part_of, parts_in, values
from waker.analysis.quantities import ENDS_GIVEN
from waker.report.style import GREY, colours, style

_MODEL = "worst-θ regret of plans in the model"


def figure(answers: pd.DataFrame, folder: Path) -> Figure:
    """Panels of what there is: of three questions, and of the data that is saved where longer runs were made.

    Args:
        answers: of :func:`experiments.study.answers`.
        folder: of the numbers.
    """
    numbers = {part: part_of(folder, part) for part in parts_in(folder)}
    with style():
        saved = answers[(answers["question"] == "Q7") & (answers["quantity"] == PRIMARY)]
        whole = Figure(figsize=(10.0, 7.2), layout="constrained")
        robust, shares, bound, data = _panels(whole, bool(len(saved)))
        palette = colours(dict.fromkeys(numbers["main"]["sampler"]))
        _robustness(robust, answers[(answers["question"] == "Q1") & (answers["quantity"] == PRIMARY)], numbers, palette)
        _shares(shares, answers[answers["quantity"].isin(["hard_share", "noisy_share"])], palette)
        _bound(bound, pd.read_csv(folder / "checkpoints.csv"), numbers["main"], palette)
        if data is not None:
            _data(data, saved)
        return whole


def _panels(whole: Figure, four: bool) -> tuple[Axes, Axes, Axes, Axes | None]:
    """Two rows of two; of three panels the last has a row of its own."""
    grid = whole.add_gridspec(2, 2)
    first, second = (whole.add_subplot(grid[0, column]) for column in range(2))
    if four:
        return first, second, whole.add_subplot(grid[1, 0]), whole.add_subplot(grid[1, 1])
    return first, second, whole.add_subplot(grid[1, :]), None


def _robustness(panel: Axes, rows: pd.DataFrame, numbers: dict[str, pd.DataFrame], palette: dict[str, str]) -> None:
    panel.axvline(0.0, color=GREY, lw=1)
    theirs = values(numbers["main"], BASELINE, PRIMARY)
    for at, row in enumerate(rows.to_dict("records")):
        name = row["compared"]
        pairs = (values(numbers["main"], name, PRIMARY) - theirs).dropna()
        panel.scatter(pairs, np.full(len(pairs), at - 0.2), s=11, color=palette[name], alpha=0.7, linewidths=0)
        panel.hlines(at, row["low"], row["high"], color=palette[name], lw=2)
        panel.plot(row["value"], at, "o", color=palette[name], ms=5)
    panel.set_yticks(range(len(rows)), list(rows["compared"]))
    panel.set_ylim(len(rows) - 0.5, -0.6)
    panel.set(title="Q1: is it more robust than dr?  (← better)", xlabel=f"{_MODEL}, minus dr's of the same seed")


def _shares(panel: Axes, rows: pd.DataFrame, palette: dict[str, str]) -> None:
    names = list(dict.fromkeys(rows["compared"]))
    noisy = (rows["quantity"] == "noisy_share").any()
    for quantity, filled in (("hard_share", "full"), ("noisy_share", "none"))[: 2 if noisy else 1]:
        of = rows[rows["quantity"] == quantity].set_index("compared").reindex(names)
        for at, name in enumerate(names):
            panel.hlines(at, of["low"][name], of["high"][name], color=palette[name], lw=1.5)
            panel.plot(of["value"][name], at, "o", color=palette[name], fillstyle=filled, ms=6)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.6)
    panel.set_xlim(left=0.0)
    panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    what = "● on θ experts call hard, ○ on slippery θ" if noisy else "on θ experts call hard"
    panel.set(title="Q2, Q3: what is sampled?" if noisy else "Q2: what is sampled?", xlabel=f"share of steps: {what}")


def _bound(panel: Axes, rows: pd.DataFrame, main: pd.DataFrame, palette: dict[str, str]) -> None:
    last = rows["step"].max()
    rows = pd.concat([rows[rows["step"] < last], at_the_end(rows, main)])
    for name, of in rows.groupby("sampler", sort=False):
        early, late = of[of["step"] < last], of[of["step"] == last]
        panel.scatter(early[ERROR], early[PRIMARY], s=9, color=palette[str(name)], alpha=0.25, linewidths=0)
        panel.scatter(late[ERROR], late[PRIMARY], s=22, color=palette[str(name)], linewidths=0, label=str(name))
    panel.legend(fontsize=7)
    panel.set(title="Q4: does the largest error tell the largest regret?", ylabel=_MODEL)
    told = "as sampled, ends given" if PRIMARY + ENDS_GIVEN in set(main["quantity"]) else "as sampled"
    panel.set_xlabel(f"worst-θ model error (pale: before the last step, {told})")


def _data(panel: Axes, rows: pd.DataFrame) -> None:
    panel.set(title="Q7: how much data is saved?", xlabel="agent steps of domain randomisation")
    at = [int(name.split(", ", 1)[1].split()[0].replace(",", "")) for name in rows["compared"]]
    panel.axhline(0.0, color=GREY, lw=1)
    panel.vlines(at, rows["low"], rows["high"], color=colours([BASELINE])[BASELINE], lw=2)
    panel.plot(at, rows["value"], "o", color=colours([BASELINE])[BASELINE])
    panel.set_ylabel("worst-θ regret, minus that of\nwaker-m with 20,000 steps")
