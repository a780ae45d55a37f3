"""The sections of a study's page, each a function of one domain's tables. Called by :mod:`waker.report.study_page`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from waker.analysis.paired import ALPHA, DRAWS, EXACT_UP_TO, WANTED_POWER, Over
from waker.analysis.quantities import quantity_of
from waker.analysis.regret_parts import ACTOR, MODEL, TOTAL
from waker.analysis.summary import (
    cell,
    difference,
    p_value,
    seeds_told,
    task_order,
)
from waker.names import ALL, printable
from waker.report import captions, study_captions
from waker.report.blocks import Cell, HtmlTable, Picture, Section, Source, heading, summary_table
from waker.report.study_figures import differences_figure, parts_figure, profiles_figure, shares_figure
from waker.report.study_tables import Tables
from waker.report.style import colours


@dataclass(frozen=True)
class Shown:
    """One domain of a study, as its sections need it.

    Attributes:
        tables: its rows.
        baseline, over: what the others are paired with, and whether that is a sampler or an explorer.
        notes: what to know, in lines.
        rows: which runs, steps and commits the numbers are of, in words.
        files: table → name of the file beside the page.
    """

    tables: Tables
    baseline: str
    over: Over
    notes: Sequence[str]
    rows: str
    files: Mapping[str, str]

    def source(self, table: str) -> Source:
        """Where a table's rows came from and lie."""
        return Source(self.rows, self.files[table])

    def grouped(self, rows: pd.DataFrame, first: Over = "sampler") -> pd.DataFrame:
        """The rows with what a line is of: ``first``, and the other one behind it where it differs in the domain."""
        other = "explorer" if first == "sampler" else "sampler"
        several = self.tables.comparison[other].nunique() > 1
        return rows.assign(group=rows[first] + (" (" + rows[other] + ")" if several else ""))


def study_sections(shown: Shown, prefix: str) -> list[Section]:
    """All sections that a domain's rows allow; ``prefix`` stands before anchors and titles where there are several."""
    makers: list[Callable[[Shown], Section | None]] = [_summary, _differences, _parts, _distributions, _sampling]
    sections = [section for make in makers if (section := make(shown)) is not None]
    if not prefix:
        return sections
    return [
        Section(**{**vars(s), "anchor": f"{prefix}-{s.anchor}", "title": f"{printable(prefix)}: {s.title.lower()}"})
        for s in sections
    ]


def _summary(shown: Shown) -> Section | None:
    summary, source = shown.tables.comparison, shown.source("comparison")
    seeds = f" Seeds: {seeds_told(summary)}."
    interval = (captions.SEEDS if "seeds" in set(summary["interval"]) else captions.ONE_SEED) + seeds
    caption = f"{interval} {captions.SUMMARY}"
    tasks = task_order(summary)
    whole, single = tasks[:1], tasks[1:]
    lead = " ".join([study_captions.SUMMARY_LEAD, *(f"Note: {note}." for note in shown.notes)])
    return Section(
        "summary",
        "Summary",
        lead,
        [summary_table(summary, task, caption, source) for task in whole],
        more="Task by task",
        more_tables=[summary_table(summary, task, "", source) for task in single],
    )


def _differences(shown: Shown) -> Section | None:
    tests, values = (shown.grouped(rows, shown.over) for rows in (shown.tables.paired, shown.tables.pairs))
    if tests.empty:
        return None
    tasks, source = task_order(tests), shown.source("paired")
    first = tests[tests["task"] == tasks[0]]
    figure = differences_figure(values[values["task"] == tasks[0]], first, shown.baseline)
    told = study_captions.DIFFERENCES.format(tests=first["tests"].iloc[0], alpha=ALPHA, power=WANTED_POWER)
    whole = study_captions.TESTS.format(exact=EXACT_UP_TO, draws=f"{DRAWS:,}".replace(",", " "))
    return Section(
        "differences",
        "Paired differences",
        study_captions.DIFFERENCES_LEAD.format(baseline=printable(shown.baseline)),
        [_differences_table(first, tasks[0], told, source)],
        [Picture.of(figure, study_captions.PAIRS, "Every pair", source=shown.source("pairs"))],
        more="All tests, task by task",
        more_tables=[
            _tests_table(of_task, task, f"{whole} This family has {of_task['tests'].iloc[0]} tests.", source)
            for task in tasks
            if len(of_task := tests[tests["task"] == task])
        ],
    )


def _differences_table(tests: pd.DataFrame, task: str, caption: str, source: Source) -> HtmlTable:
    """One row a quantity, one column a group."""
    groups, rows = list(dict.fromkeys(tests["group"])), []
    for quantity, of_quantity in tests.groupby("quantity", sort=False):
        found = {str(row["group"]): row for row in of_quantity.to_dict("records")}
        cells = [Cell(heading(str(quantity)))]
        for group in groups:
            if (row := found.get(group)) is None:
                cells.append(Cell("–"))
                continue
            told, interval = difference(str(quantity), row["difference"], row["low"], row["high"])
            seen = difference(str(quantity), row["detectable"])[0].removeprefix("+")
            below = f"p {p_value(row['p_t_holm'])}\ndetectable {seen}"
            cells.append(Cell(told, interval, bool(row["p_t_holm"] < ALPHA), bracket=below))
        rows.append(cells)
    head = "all tasks" if task == ALL else printable(task)
    return HtmlTable([head, *map(printable, groups)], rows, 1, caption, _palette(groups), source)


def _tests_table(tests: pd.DataFrame, task: str, caption: str, source: Source) -> HtmlTable:
    """One row a quantity and group."""
    palette, rows, before = colours(tests["group"]), [], ""
    for row in tests.to_dict("records"):
        quantity = str(row["quantity"])
        told, interval = difference(quantity, row["difference"], row["low"], row["high"])
        rows.append(
            [
                Cell("" if quantity == before else heading(quantity)),
                Cell(printable(row["group"]), colour=palette[row["group"]]),
                Cell(told, interval, best=bool(row["p_t_holm"] < ALPHA)),
                *(Cell(p_value(row[p]), f"({p_value(row[f'{p}_holm'])})") for p in ("p_t", "p_permutation")),
                Cell(difference(quantity, row["detectable"])[0].removeprefix("+")),
                Cell("–" if pd.isna(row["power"]) else f"{row['power']:.2f}"),
                Cell(str(row["pairs"])),
            ]
        )
        before = quantity
    heads = [
        "all tasks" if task == ALL else printable(task),
        "",
        "difference",
        "p of t (Holm)",
        "p of sign flips (Holm)",
    ]
    return HtmlTable([*heads, "detectable", "power", "pairs"], rows, 2, caption, source=source)


def _palette(groups: Sequence[str]) -> dict[str, str]:
    """Colours by what groups are called in a table's head."""
    return {printable(group): colour for group, colour in colours(groups).items()}


def _parts(shown: Shown) -> Section | None:
    values, means = (shown.grouped(rows) for rows in (shown.tables.regret, shown.tables.parts))
    if means.empty:
        return None
    tasks = task_order(means)
    values, first = values[values["task"] == tasks[0]], means[means["task"] == tasks[0]]
    figure = parts_figure(values, first)
    source = shown.source("parts")
    return Section(
        "parts",
        "The model's and the actor's part",
        study_captions.PARTS_LEAD,
        [_parts_table(first, tasks[0], captions.SEEDS, source)],
        [Picture.of(figure, study_captions.PARTS, source=shown.source("regret"))],
        more="Task by task",
        more_tables=[_parts_table(means[means["task"] == task], task, "", source) for task in tasks[1:]],
    )


def _parts_table(means: pd.DataFrame, task: str, caption: str, source: Source) -> HtmlTable:
    groups = list(dict.fromkeys(means["group"]))
    rows = []
    for part in (TOTAL, MODEL, ACTOR):
        cells = [Cell(part)]
        for group in groups:
            of_part = means[(means["group"] == group) & (means["part"] == part)].iloc[0]
            value, _, interval = cell("mean_regret", *of_part[["mean", "low", "high"]]).partition(" ")
            cells.append(Cell(value, interval))
        rows.append(cells)
    head = "all tasks" if task == ALL else printable(task)
    names, palette = [printable(group) for group in groups], _palette(groups)
    return HtmlTable([head, *names], rows, 1, caption, palette, source)


def _distributions(shown: Shown) -> Section | None:
    better, iqm = shown.grouped(shown.tables.improvement), shown.grouped(shown.tables.iqm)
    profiles = shown.grouped(shown.tables.profiles)
    tables, figures = [], []
    if len(iqm):
        tables.append(_iqm_table(iqm, shown.source("iqm")))
    if len(better):
        tables.append(_improvement_table(better, shown.baseline, shown.source("improvement")))
    if len(profiles):
        figures.append(
            Picture.of(
                profiles_figure(profiles),
                study_captions.PROFILES,
                "Performance profiles",
                source=shown.source("profiles"),
            )
        )
    if not tables and not figures:
        return None
    return Section("distributions", "Over all runs and tasks", study_captions.DISTRIBUTIONS_LEAD, tables, figures)


def _iqm_table(iqm: pd.DataFrame, source: Source) -> HtmlTable:
    groups = list(dict.fromkeys(iqm["group"]))
    rows = []
    for quantity, of_quantity in iqm.groupby("quantity", sort=False):
        by_group = of_quantity.set_index("group")
        cells = [Cell(f"interquartile mean of {quantity_of(str(quantity)).title}")]
        for group in groups:
            value, _, interval = (
                cell(str(quantity), *by_group.loc[group, ["iqm", "low", "high"]]).partition(" [")
                if group in by_group.index
                else ("–", "", "")
            )
            cells.append(Cell(value, f"[{interval}" if interval else ""))
        rows.append(cells)
    names, palette = [printable(group) for group in groups], _palette(groups)
    return HtmlTable(["all runs × tasks", *names], rows, 1, study_captions.IQM, palette, source)


def _improvement_table(better: pd.DataFrame, baseline: str, source: Source) -> HtmlTable:
    palette, shown = colours(better["group"]), list(dict.fromkeys(better["quantity"]))
    rows = []
    for group, of_group in better.groupby("group", sort=False):
        by_quantity = of_group.set_index("quantity")
        cells = [Cell(printable(group), colour=palette[str(group)])]
        for quantity in shown:
            if quantity not in by_quantity.index:
                cells.append(Cell("–"))
                continue
            point, low, high = by_quantity.loc[quantity, ["probability", "low", "high"]]
            cells.append(Cell(f"{point:.2f}", f"[{low:.2f}, {high:.2f}]"))
        rows.append(cells)
    head = f"a run beats one of {printable(baseline)} in"
    return HtmlTable(
        [head, *(quantity_of(str(quantity)).title for quantity in shown)],
        rows,
        1,
        study_captions.IMPROVEMENT,
        source=source,
    )


def _sampling(shown: Shown) -> Section | None:
    shares = shown.tables.sampling
    if shares.empty:
        return None
    shares = shown.grouped(shares.rename(columns={"group": "of"})).rename(
        columns={"group": "group_of_runs", "of": "group"}
    )
    figure = Picture.of(shares_figure(shares), study_captions.SHARES, source=shown.source("sampling"))
    return Section("sampling", "What was sampled", study_captions.SHARES_LEAD, figures=[figure])
