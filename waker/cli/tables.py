"""Comparisons as tables that fit a terminal, for ``compare`` and ``quickstart``."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from waker.analysis.paired import WANTED_POWER
from waker.analysis.quantities import quantity_of
from waker.analysis.reasons import NONE, raised, why_none, why_untested
from waker.analysis.summary import (
    FEW,
    FEW_MARK,
    FEW_TOLD,
    PLUG_IN,
    Shown,
    best,
    counted,
    difference,
    few,
    few_seeds,
    p_value,
    quantities,
    seeds_told,
    shown_value,
    task_order,
)
from waker.names import ALL, printable
from waker.terminal.console import Console

if TYPE_CHECKING:
    import pandas as pd

    from waker.analysis.paired import Over

Column: TypeAlias = tuple[str, str, str]
"""Domain, sampler, explorer."""
_UNBOUNDED = Console(width=100_000)
"""Where tables are measured."""
_NARROW = 20
"""Characters of the first column, and of headings over rows."""
LEADS = "*"
"""Behind the number of a sampler that is shown to be better than every other of its row."""
_LEADS_TOLD = (
    "better than every other at 95 % (intervals apart, or that of paired differences excludes 0; not corrected for the "
    "number of rows)"
)
_NARROW_HEAD = 12
"""Characters of a sampler's name where lines are short."""


def comparison(summary: pd.DataFrame, width: int, only: Sequence[str] | None = None) -> list[Table]:
    """One section a task, one row a quantity, one column a sampler (and explorer, where runs differ in it).

    Args:
        summary: one domain's rows of :func:`waker.analysis.summary.compare`.
        width: of the terminal. Where a line of all samplers is longer, intervals stand below their numbers; where that
            is too wide as well, the samplers are shared out among several tables.
        only: quantities to show, over all tasks together; None = all of them for each task.
    """
    content = _Content.of(summary, only)
    if _width(table := _comparison(content, content.columns, tall=False)) <= width:
        tables = [table]
    else:
        fit = len(content.columns)
        while fit > 1 and any(_width(table) > width for table in _shared_out(content, fit)):
            fit -= 1
        tables = _shared_out(content, fit)
    printed = [one for row in content.rows for one in row.told.values()]
    told = [_caption(summary, printed, any(row.best is not None for row in content.rows))]
    told += [f"{NONE}{raised(at)} {why}" for at, why in enumerate(content.reasons, 1)]
    tables[-1].caption = Text("; ".join(told), style="table.caption")
    return [_unbroken(table, width) for table in tables]


class _Row(NamedTuple):
    """One quantity of one task: what is told of each column, which is best, and why others have no number."""

    task: str
    quantity: str
    told: dict[Column, Shown]
    best: tuple[str, ...] | None
    why: dict[Column, str]


class _Content(NamedTuple):
    """What a comparison says, however it is laid out; ``tasked``: task by task."""

    columns: list[Column]
    rows: list[_Row]
    explorers: bool
    tasked: bool

    @property
    def reasons(self) -> list[str]:
        """Why cells have no number, each reason once: their footnotes."""
        return list(dict.fromkeys(why for row in self.rows for why in row.why.values()))

    @classmethod
    def of(cls, summary: pd.DataFrame, only: Sequence[str] | None) -> _Content:
        columns = list(dict.fromkeys(zip(summary["domain"], summary["sampler"], summary["explorer"], strict=True)))
        rows = []
        for task in task_order(summary) if only is None else [ALL]:
            of_task = summary[summary["task"] == task]
            by_column = dict(iter(of_task.groupby(["domain", "sampler", "explorer"], sort=False)))
            for quantity in quantities(of_task):
                if only is None or quantity in only:
                    told = {
                        c: found for c, part in by_column.items() if (found := shown_value(part, quantity)) is not None
                    }
                    told = {c: found for c, found in told.items() if found.value != NONE}
                    why = {c: why_none(summary, c, task, quantity) for c in columns if c not in told}
                    rows.append(_Row(task, quantity, told, best(of_task, quantity, task), why))
        return cls(columns, rows, summary["explorer"].nunique() > 1, only is None)


def _shared_out(content: _Content, fit: int) -> list[Table]:
    """The tables of at most ``fit`` columns each."""
    columns = content.columns
    return [_comparison(content, columns[at : at + fit], tall=True) for at in range(0, len(columns), fit)]


def _width(table: Table) -> int:
    """Characters of a line where nothing but the first column's headings is broken."""
    return Measurement.get(_UNBOUNDED, _UNBOUNDED.options, table).maximum


def _fitting(make: Callable[[bool], Table], width: int) -> Table:
    """The table as it is, or tall where that is too wide."""
    table = make(False)
    return table if _width(table) <= width else make(True)


def _unbroken(table: Table, width: int) -> Table:
    """The table with columns of numbers that are never broken, where they fit: else rich would shrink them as well."""
    if _width(table) <= width:
        for column in table.columns[1:]:
            column.no_wrap = True
    return table


def _comparison(content: _Content, columns: Sequence[Column], tall: bool) -> Table:
    """The table of some columns, its tasks as headings; ``tall`` has intervals and variants below numbers and names."""
    table = Table()
    table.add_column("")
    for _, sampler, explorer in columns:
        table.add_column(_head(sampler, explorer if content.explorers else "", tall), justify="right")
    for task, rows in itertools.groupby(content.rows, lambda row: row.task):
        if content.tasked:
            table.add_row(_heading("all tasks" if task == ALL else printable(task)))
        for row in rows:
            cells = [
                _cell(row.told[column], column == row.best, tall)
                if column in row.told
                else Text(f"{NONE}{raised(1 + content.reasons.index(row.why[column]))}")
                for column in columns
            ]
            table.add_row(_broken(quantity_of(row.quantity).title, tall), *cells)
        table.add_section()
    return table


def _broken(name: str, tall: bool, width: int = _NARROW) -> Text:
    """A printable name as it is; ``tall``: broken into lines that widen no column."""
    return Text("\n".join(_lines(name, width)) or name) if tall else Text(name)


def _lines(name: str, width: int) -> list[str]:
    """A name in lines, broken at spaces and joints (``curriculum.``, ``beta=``), and inside a word that is too long."""
    lines = [""]
    for piece in re.findall(r".+?(?:[\s._=/-]+|$)", name):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [part for line in lines for part in textwrap.wrap(line, width)]


def _heading(name: str) -> Text:
    """The heading of rows."""
    text = _broken(name, True)
    text.stylize("bold italic")
    return text


def _caption(summary: pd.DataFrame, printed: Sequence[Shown], led: bool) -> str:
    """How many seeds, and what the intervals and brackets are, of which some are printed."""
    over = {str(kind) for kind in summary["interval"]}
    lines = ["one seed" if summary["seeds"].max() == 1 else f"mean over seeds ({seeds_told(summary)})"]
    lines += ["[Student's 95 % interval over seeds]"] if "seeds" in over else []
    lines += [FEW_TOLD] if few_seeds(summary) else []
    lines += [f"{LEADS}: {_LEADS_TOLD}"] if led else []
    brackets = [one.bracket for one in printed if one.bracket]
    if any("…" in bracket for bracket in brackets):
        told = "below a worst case: its optimistic … pessimistic estimate"
        lines.append(told + (" [95 % interval over the run's episodes]" if any("[" in b for b in brackets) else ""))
    if any(one.value.endswith(PLUG_IN) for one in printed):
        lines.append(f"{PLUG_IN}: the pessimistic estimate, all that is known from one value a θ")
    return "; ".join(lines)


def differences(tests: pd.DataFrame, baseline: str, over: Over, width: int) -> Table:
    """Paired differences from the baseline over all tasks: one section a quantity, one row a sampler (or explorer).

    Args:
        tests: one domain's rows of :func:`waker.analysis.paired.paired_differences`, of one family.
        baseline: what the others are paired with.
        over: whether it is a sampler or an explorer.
        width: of the terminal; where lines are longer, intervals stand below their differences.
    """
    table = _fitting(lambda tall: _differences(tests, over, tall), width)
    counts = tests["pairs"].unique()
    told = f"difference from {printable(baseline)} in {counted(counts[0], 'pair') if len(counts) == 1 else 'pairs'}"
    told += " of the same seed"
    if _tested(tests):
        told += (
            " [Student's 95 % interval]; p of the paired t test and of the sign-flip permutation test, in parentheses "
            f"corrected by Holm over this table's {counted(tests['tests'].iloc[0], 'test')}; detectable: the true "
            f"difference that the t test finds with probability {WANTED_POWER:g} at this n and spread"
        )
        told += f"; {FEW_TOLD}" if (tests["pairs"].between(2, FEW - 1)).any() else ""
    untested = tests[tests["p_t"].isna()]["pairs"]
    mark = NONE if _tested(tests) else "no test:"
    told += "".join(f"; {mark} {why}" for why in dict.fromkeys(map(why_untested, untested)))
    table.caption = Text(told, style="table.caption")
    return _unbroken(table, width)


def _tested(tests: pd.DataFrame) -> bool:
    """Whether anything was tested: of one pair nothing is."""
    return bool(tests["tests"].iloc[0])


def _differences(tests: pd.DataFrame, over: Over, tall: bool) -> Table:
    alike = "explorer" if over == "sampler" else "sampler"
    several = tests[alike].nunique() > 1
    table = Table()
    tested = ["p of t", "p of flips", "detectable"] if _tested(tests) else []
    columns = ["difference", *tested, *(["pairs"] if tests["pairs"].nunique() > 1 else [])]
    for name in ("", *columns):
        table.add_column(name, justify="right" if name else "left")
    for quantity, rows in tests.groupby("quantity", sort=False):
        table.add_row(_heading(quantity_of(str(quantity)).title))
        for row in rows.to_dict("records"):
            between = "\n" if tall else " "
            name = str(quantity)
            told = difference(name, row["difference"], row["low"], row["high"])
            told = (told[0], f"{told[1]}{few(row['pairs'])}" if told[1] else "")
            cells = [between.join(filter(None, told))]
            if tested:
                cells += [_p_values(row, p, between) for p in ("p_t", "p_permutation")]
                cells.append(difference(name, row["detectable"])[0].removeprefix("+"))
            cells += [str(row["pairs"])] if "pairs" in columns else []
            table.add_row(_head(row[over], row[alike] if several else "", tall), *map(Text, cells))
        table.add_section()
    return table


def _p_values(row: Mapping[str, Any], p: str, between: str) -> str:
    """``0.012 (0.34)``: a p value and the corrected one; – where nothing was tested."""
    return NONE if np.isnan(row[p]) else f"{p_value(row[p])}{between}({p_value(row[f'{p}_holm'])})"


def improvement(better: pd.DataFrame, baseline: str, width: int) -> Table:
    """Probability of improvement over the baseline, one row a sampler (and explorer), one column a quantity.

    Args:
        better: one domain's rows of :func:`waker.analysis.improvement.improvements`.
        baseline: the sampler beaten.
        width: of the terminal; where lines are longer, intervals stand below their numbers.
    """
    table = _fitting(lambda tall: _improvement(better, tall), width)
    told = f"probability that a run beats one of {printable(baseline)}, mean over tasks [95 % interval over whole runs]"
    short = better.groupby(["sampler", "explorer"])["quantity"].nunique() < better["quantity"].nunique()
    told += f"; {NONE} fewer than two seeds with a common task" if short.any() else ""
    told += f"; {FEW_TOLD}" if few(better[["seeds", "baseline_seeds"]].min(axis=None)) else ""
    table.caption = Text(told, style="table.caption")
    return _unbroken(table, width)


def _improvement(better: pd.DataFrame, tall: bool) -> Table:
    explorers = better["explorer"].nunique() > 1
    table = Table()
    table.add_column("")
    shown = list(dict.fromkeys(better["quantity"]))
    for quantity in shown:
        table.add_column(_broken(quantity_of(quantity).title, tall), justify="right")
    for (sampler, explorer), rows in better.groupby(["sampler", "explorer"], sort=False):
        by_quantity = rows.set_index("quantity")
        cells = [
            _probability(by_quantity.loc[quantity]) if quantity in by_quantity.index else "–" for quantity in shown
        ]
        texts = [Text(cell.replace(" [", "\n[") if tall else cell) for cell in cells]
        table.add_row(_head(str(sampler), str(explorer) if explorers else "", tall), *texts)
    return table


def _probability(row: pd.Series) -> str:
    """``0.83 [0.51, 0.95]``, with the mark of few seeds."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*row[["probability", "low", "high"]]) + few(
        row[["seeds", "baseline_seeds"]].min()
    )


def _head(sampler: str, explorer: str, tall: bool) -> Text:
    """A sampler's name, with the explorer where that is told; ``tall`` over several lines."""
    return _broken(printable(f"{sampler} ({explorer})" if explorer else sampler), tall, _NARROW_HEAD)


def _cell(told: Shown, wins: bool, tall: bool) -> Text:
    interval, marked = told.interval, tall and told.interval.endswith(FEW_MARK)
    if marked:  # beside the number, where there is room
        interval = interval.removesuffix(FEW_MARK)
    text = f"{told.value}{LEADS if wins else ''}{FEW_MARK if marked else ''} {interval}".strip()
    if tall:
        text = text.replace(" [", "\n[").replace(f" {PLUG_IN}", f"\n{PLUG_IN}")
    below = f"\n{told.bracket}".replace(" [", "\n[") if told.bracket else ""
    return Text.assemble((text, "bold" if wins else ""), below)
