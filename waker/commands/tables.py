"""Comparisons as tables that fit a terminal, for ``compare`` and ``quickstart``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from waker.evaluation.summary import ALL, PLUG_IN, Shown, best, quantities, seeds_told, shown, task_order, title
from waker.names import printable

if TYPE_CHECKING:
    import pandas as pd

HEADLINES = (
    "mean_return",
    "cvar_0.1",
    "cvar_0.1_theta",
    "fraction_of_optimum",
    "worst_regret",
    "worst_model_error",
    "hard_share",
)
"""What ``quickstart`` prints over all tasks."""


def comparison(summary: pd.DataFrame, only: Sequence[str] | None = None) -> Table:
    """One section a task, one row a quantity, one column a sampler (and explorer, where runs differ in it).

    Args:
        summary: one domain's rows of :func:`waker.evaluation.summary.compare`.
        only: quantities to show, over all tasks together; None = all of them for each task.
    """
    explorers = summary["explorer"].nunique() > 1
    table = Table()
    if only is None:
        table.add_column("task")
    table.add_column("")
    columns = list(dict.fromkeys(zip(summary["domain"], summary["sampler"], summary["explorer"], strict=True)))
    for _, sampler, explorer in columns:
        table.add_column(_text(f"{sampler} ({explorer})" if explorers else sampler), justify="right")
    printed: list[Shown] = []
    for task in task_order(summary) if only is None else [ALL]:
        rows = summary[summary["task"] == task]
        wanted = [q for q in quantities(rows) if only is None or q in only]
        for at, quantity in enumerate(wanted):
            winner = best(summary, quantity, task)
            told = [_told(rows, quantity, column) for column in columns]
            printed += [one for one in told if one is not None]
            cells = [_cell(one, column == winner) for one, column in zip(told, columns, strict=True)]
            lead = [] if only is not None else [_text("" if at else "all tasks" if task == ALL else printable(task))]
            table.add_row(*lead, _text(title(quantity)), *cells)
        table.add_section()
    table.caption = _caption(summary, printed)
    return table


def _caption(summary: pd.DataFrame, printed: Sequence[Shown]) -> str:
    """How many seeds, and what the intervals and brackets are, of which some are printed."""
    over = {str(kind) for kind in summary["interval"]}
    lines = ["one seed" if summary["seeds"].max() == 1 else f"mean over seeds ({seeds_told(summary)})"]
    lines += ["[Student's 95 % interval over seeds]"] if "seeds" in over else []
    brackets = [one.bracket for one in printed if one.bracket]
    if any("…" in bracket for bracket in brackets):
        told = "below a worst case: its optimistic … pessimistic estimate"
        lines.append(told + (" [95 % interval over the run's episodes]" if any("[" in b for b in brackets) else ""))
    if any(one.value.endswith(PLUG_IN) for one in printed):
        lines.append(f"{PLUG_IN}: the pessimistic estimate, all that is known from one value a θ")
    return "; ".join(lines)


def improvement(better: pd.DataFrame, baseline: str) -> Table:
    """Probability of improvement over the baseline, one row a sampler (and explorer), one column a quantity.

    Args:
        better: one domain's rows of :func:`waker.evaluation.improvement.improvements`.
        baseline: the sampler beaten.
    """
    explorers = better["explorer"].nunique() > 1
    told = f"probability that a run beats one of {printable(baseline)}, mean over tasks [95 % interval over whole runs]"
    table = Table(caption=Text(told, style="table.caption"))
    table.add_column("")
    shown = list(dict.fromkeys(better["quantity"]))
    for quantity in shown:
        table.add_column(_text(title(quantity)), justify="right")
    for (sampler, explorer), rows in better.groupby(["sampler", "explorer"], sort=False):
        by_quantity = rows.set_index("quantity")[["probability", "low", "high"]]
        cells = [
            "{:.2f} [{:.2f}, {:.2f}]".format(*by_quantity.loc[quantity]) if quantity in by_quantity.index else "–"
            for quantity in shown
        ]
        table.add_row(_text(f"{sampler} ({explorer})" if explorers else str(sampler)), *map(Text, cells))
    return table


def _text(name: str) -> Text:
    """A name as it is: to rich, brackets and colons in plain strings are markup."""
    return Text(printable(name) if name else "")


def _told(rows: pd.DataFrame, quantity: str, column: tuple[str, str, str]) -> Shown | None:
    domain, sampler, explorer = column
    found = rows[(rows["domain"] == domain) & (rows["sampler"] == sampler) & (rows["explorer"] == explorer)]
    return shown(found, quantity)


def _cell(told: Shown | None, wins: bool) -> Text:
    if told is None:
        return Text("–")
    text = f"{told.value} {told.interval}".strip()
    below = f"\n{told.bracket}".replace(" [", "\n[") if told.bracket else ""
    return Text.assemble((text, "bold" if wins else ""), below)
