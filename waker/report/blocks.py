"""What a page is made of: figures, tables and sections, before they become HTML. Called by the page's sections."""

from __future__ import annotations

import base64
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote

import pandas as pd
from matplotlib.figure import Figure

from waker.analysis.quantities import quantity_of
from waker.analysis.reasons import NONE, why_none
from waker.analysis.steps import GROUP
from waker.analysis.summary import best, quantities, shown_value
from waker.names import ALL, printable
from waker.report.style import HALF, colours, data_uri, stacked, style

MOST_BYTES = 200_000
"""Of the rows of one figure inside a page."""


@dataclass(frozen=True)
class Source:
    """Which rows something was made of, in words, and a file beside the page that has its numbers."""

    rows: str
    file: str

    @property
    def shown(self) -> str:
        """The file's name as text."""
        return printable(self.file)

    @property
    def link(self) -> str:
        """The file as a relative address, whatever bytes its name has."""
        return f"./{quote(os.fsencode(self.file))}"


@dataclass(frozen=True)
class Download:
    """The rows behind a figure as a CSV file inside the page.

    Attributes:
        uri: of the file; empty where it would be larger than :data:`MOST_BYTES`.
        rows: how many there are.
    """

    uri: str
    rows: int

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Download:
        """All columns of ``rows``, numbers with six digits."""
        text = rows.to_csv(index=False, float_format="%.6g").encode(errors="surrogateescape")
        uri = f"data:text/csv;base64,{base64.b64encode(text).decode()}" if len(text) <= MOST_BYTES else ""
        return cls(uri, len(rows))


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI, with what to see in it.

    Attributes:
        narrow: the same with its panels below each other, for a phone; empty where it is narrow already, or where its
            names leave no room for panels.
        rows: what it is drawn of.
        wide: it takes the page's whole width where others stand two by two.
    """

    uri: str
    caption: str
    title: str = ""
    source: Source | None = None
    narrow: str = ""
    rows: Download | None = None
    wide: bool = False

    @classmethod
    def of(
        cls,
        figure: Figure,
        caption: str,
        title: str = "",
        kind: str = "svg",
        source: Source | None = None,
        rows: pd.DataFrame | None = None,
    ) -> Picture:
        """Draw ``figure`` (svg, or png for photographs) of ``rows``."""
        whole, wide = figure.get_figwidth() > HALF, data_uri(figure, kind)
        with style():
            narrow = _fitting_uri(figure) if kind == "svg" and stacked(figure) else ""
        return cls(wide, caption, title, source, narrow, None if rows is None else Download.of(rows), whole)

    @property
    def file(self) -> str:
        """The name of the file of its rows."""
        return f"{re.sub(r'[^a-z0-9]+', '-', (self.title or 'figure').lower()).strip('-') or 'figure'}.csv"


def _fitting_uri(figure: Figure) -> str:
    """A drawing whose panels have room beside their names; empty where they have none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            return data_uri(figure)
        except UserWarning:
            return ""


@dataclass(frozen=True)
class Cell:
    """One table cell; ``range`` is its interval, ``bracket`` its mildest and worst estimate, ``colour`` a dot, ``why``
    the reason where there is no number."""

    text: str
    range: str = ""
    best: bool = False
    colour: str = ""
    path: bool = False
    bracket: str = ""
    why: str = ""

    @classmethod
    def of(cls, text: str, why: str, **look: Any) -> Cell:
        """``text``, and where that is a dash the reason."""
        return cls(text, why=why if text == NONE else "", **look)


@dataclass(frozen=True)
class HtmlTable:
    """A table; the first ``names`` columns are names, the others numbers; ``colours`` puts dots before heads."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    names: int = 1
    caption: str = ""
    colours: Mapping[str, str] = field(default_factory=dict)
    source: Source | None = None

    @property
    def reasons(self) -> list[str]:
        """Why cells have no number, each reason once: their footnotes."""
        return list(dict.fromkeys(cell.why for row in self.rows for cell in row if cell.why))

    def lines(self, head: str) -> str:
        """The head of a coloured column in lines: broken before parentheses and within long compounds alone."""
        return re.sub(r"(\w{5,}-)(?=\w{5,})", r"\1\n", head).replace(" (", "\n(")


@dataclass(frozen=True)
class Section:
    """One part of the page; ``more_*`` are folded away under ``more``."""

    anchor: str
    title: str
    lead: str = ""
    tables: Sequence[HtmlTable] = ()
    figures: Sequence[Picture] = ()
    pairs: bool = False
    more: str = ""
    more_tables: Sequence[HtmlTable] = ()
    more_figures: Sequence[Picture] = field(default=())


Rows = TypeVar("Rows")


def sections_of(makers: Sequence[Callable[[Rows], Section | None]], rows: Rows, prefix: str) -> list[Section]:
    """All sections that ``rows`` allow; ``prefix`` goes before anchors and titles where a page has several domains."""
    sections = [section for make in makers if (section := make(rows)) is not None]
    if not prefix:
        return sections
    return [
        replace(section, anchor=f"{prefix}-{section.anchor}", title=f"{printable(prefix)}: {section.title.lower()}")
        for section in sections
    ]


def task_head(task: str) -> str:
    """The head of a table's first column: the task that it is of."""
    return "all tasks" if task == ALL else printable(task)


def summary_table(summary: pd.DataFrame, task: str, caption: str, source: Source | None = None) -> HtmlTable:
    """One task of a summary (:func:`waker.analysis.summary.compare`): a row for each quantity, a column for each
    sampler."""
    of_task = summary[summary["task"] == task]
    many = of_task["explorer"].nunique() > 1
    groups: dict[tuple[str, ...], pd.DataFrame] = dict(iter(of_task.groupby(GROUP, sort=False)))
    names = [printable(f"{sampler} ({explorer})" if many else sampler) for _, sampler, explorer in groups]
    rows = []
    for quantity in quantities(of_task):
        winner = best(of_task, quantity, task)
        cells = (_number(summary, of, key, task, quantity, winner == key) for key, of in groups.items())
        rows.append([Cell(heading(quantity)), *cells])
    return HtmlTable([task_head(task), *names], rows, 1, caption, colours(names), source)


def _number(
    summary: pd.DataFrame, rows: pd.DataFrame, group: tuple[str, ...], task: str, quantity: str, leads: bool
) -> Cell:
    """One group's number of a task, of whose rows are ``rows``; else the reason."""
    told = shown_value(rows, quantity)
    if told is None or told.value == NONE:
        return Cell(NONE, why=why_none(summary, group, task, quantity))
    return Cell(told.value, told.interval, leads, bracket=told.bracket)


def heading(quantity: str) -> str:
    """A quantity's title, with an arrow where less is better."""
    about = quantity_of(quantity)
    return f"{printable(about.title)} {'↓' if about.better == 'less' else ''}".strip()
