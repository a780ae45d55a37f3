"""The sections of a study's page, each a function of one domain's tables. Called by :mod:`waker.report.study_page`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from waker.analysis.paired import ALPHA, DRAWS, EXACT_UP_TO, WANTED_POWER, Over
from waker.analysis.quantities import quantity_of
from waker.analysis.reasons import NO_COMMON_TASK, NONE, NOT_PLANNED, why_untested
from waker.analysis.summary import (
    cell,
    counted,
    difference,
    few,
    few_seeds,
    p_value,
    seeds_told,
    task_order,
)
from waker.names import printable
from waker.report import captions, study_captions
from waker.report.blocks import (
    Cell,
    HtmlTable,
    Picture,
    Section,
    Source,
    heading,
    sections_of,
    summary_table,
    task_head,
)
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
    return sections_of((_summary, _differences, _parts, _distributions, _sampling), shown, prefix)


def _summary(shown: Shown) -> Section | None:
    summary, source = shown.tables.comparison, shown.source("comparison")
    seeds = f" Seeds: {seeds_told(summary)}."
    interval = (captions.SEEDS if "seeds" in set(summary["interval"]) else captions.ONE_SEED) + seeds
    caption = f"{interval}{captions.FEW if few_seeds(summary) else ''} {captions.SUMMARY}"
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
    drawn = values[values["task"] == tasks[0]]
    figure = differences_figure(drawn, first, shown.baseline)
    whole = study_captions.TESTS.format(exact=EXACT_UP_TO, draws=f"{DRAWS:,}")
    return Section(
        "differences",
        "Paired differences",
        study_captions.DIFFERENCES_LEAD.format(baseline=printable(shown.baseline)),
        [_differences_table(first, tasks[0], _differences_told(first), source)],
        [Picture.of(figure, study_captions.PAIRS, "Every pair", source=shown.source("pairs"), rows=drawn)],
        more="All tests, task by task",
        more_tables=[
            _tests_table(of_task, task, f"{whole} {_family_told(of_task)}", source)
            for task in tasks
            if len(of_task := tests[tests["task"] == task])
        ],
    )


def _differences_told(tests: pd.DataFrame) -> str:
    """The caption of one task's differences; of tests only where there are any."""
    if not tests["tests"].iloc[0]:
        return study_captions.UNTESTED.format(why=" and ".join(dict.fromkeys(map(why_untested, tests["pairs"]))))
    return study_captions.DIFFERENCES.format(
        tests=counted(tests["tests"].iloc[0], "test"), alpha=ALPHA, power=WANTED_POWER
    )


def _family_told(tests: pd.DataFrame) -> str:
    """How many tests one task's family has."""
    return f"This family has {counted(tests['tests'].iloc[0], 'test')}."


def _with_interval(text: str, seeds: float) -> Cell:
    """``3.1 [2.9, 3.3]`` as a number and its interval over so many seeds."""
    value, _, interval = text.partition(" [")
    return Cell(value, f"[{interval}{few(seeds)}" if interval else "")


def _table(
    head: str,
    rows: pd.DataFrame,
    column: str,
    name: Callable[[str], str],
    cell_of: Callable[[str, Any], Cell],
    caption: str,
    source: Source,
    why: str,
) -> HtmlTable:
    """One row for each value of ``column``, one column a group; – where there is no such row, for the reason given."""
    groups, lines = list(dict.fromkeys(rows["group"])), []
    for value, of_value in rows.groupby(column, sort=False):
        found = {row["group"]: row for row in of_value.to_dict("records")}
        cells = (cell_of(str(value), found[group]) if group in found else Cell(NONE, why=why) for group in groups)
        lines.append([Cell(name(str(value))), *cells])
    palette = {printable(group): colour for group, colour in colours(groups).items()}
    return HtmlTable([head, *map(printable, groups)], lines, 1, caption, palette, source)


def _marked(interval: str, seeds: float) -> str:
    """The interval, with the mark of few seeds where it is over so few."""
    return f"{interval}{few(seeds)}" if interval else ""


def _differences_table(tests: pd.DataFrame, task: str, caption: str, source: Source) -> HtmlTable:
    """One row a quantity, one column a group."""

    def cell_of(quantity: str, row: Any) -> Cell:
        told, interval = difference(quantity, row["difference"], row["low"], row["high"])
        seen = difference(quantity, row["detectable"])[0].removeprefix("+")
        below = f"p {p_value(row['p_t_holm'])}\ndetectable {seen}"
        if pd.isna(row["p_t_holm"]):
            below = f"no test: {why_untested(row['pairs'])}"
        return Cell(told, _marked(interval, row["pairs"]), bool(row["p_t_holm"] < ALPHA), bracket=below)

    return _table(task_head(task), tests, "quantity", heading, cell_of, caption, source, "no pair has it")


def _tests_table(tests: pd.DataFrame, task: str, caption: str, source: Source) -> HtmlTable:
    """One row a quantity and group."""
    palette, rows, before = colours(tests["group"]), [], ""
    for row in tests.to_dict("records"):
        quantity, why = str(row["quantity"]), why_untested(row["pairs"])
        told, interval = difference(quantity, row["difference"], row["low"], row["high"])
        rows.append(
            [
                Cell("" if quantity == before else heading(quantity)),
                Cell(printable(row["group"]), colour=palette[row["group"]]),
                Cell(told, _marked(interval, row["pairs"]), best=bool(row["p_t_holm"] < ALPHA)),
                *(_tested(row, p, why) for p in ("p_t", "p_permutation")),
                Cell.of(difference(quantity, row["detectable"])[0].removeprefix("+"), why),
                Cell.of(NONE if pd.isna(row["power"]) else f"{row['power']:.2f}", why),
                Cell(str(row["pairs"])),
            ]
        )
        before = quantity
    heads = ["", "difference", "p of t (Holm)", "p of sign flips (Holm)", "detectable", "power", "pairs"]
    return HtmlTable([task_head(task), *heads], rows, 2, caption, source=source)


def _tested(row: Mapping[str, Any], p: str, why: str) -> Cell:
    """A p value, with the corrected one below it."""
    if pd.isna(row[p]):
        return Cell(NONE, why=why)
    return Cell(p_value(row[p]), f"({p_value(row[f'{p}_holm'])})")


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
        [_parts_table(first, tasks[0], f"{captions.SEEDS} {captions.OTHER_EPISODES}", source)],
        [Picture.of(figure, study_captions.PARTS, source=shown.source("regret"), rows=values)],
        more="Task by task",
        more_tables=[_parts_table(means[means["task"] == task], task, "", source) for task in tasks[1:]],
    )


def _parts_table(means: pd.DataFrame, task: str, caption: str, source: Source) -> HtmlTable:
    def cell_of(part: str, row: Any) -> Cell:
        return _with_interval(cell("mean_regret", row["mean"], row["low"], row["high"]), row["seeds"])

    return _table(task_head(task), means, "part", str, cell_of, caption, source, NOT_PLANNED)


def _distributions(shown: Shown) -> Section | None:
    better, iqm = shown.grouped(shown.tables.improvement), shown.grouped(shown.tables.iqm)
    profiles = shown.grouped(shown.tables.profiles)
    tables, figures = [], []
    if len(iqm):
        tables.append(_iqm_table(iqm, shown.source("iqm")))
    if len(better):
        tables.append(_improvement_table(better, shown.baseline, shown.source("improvement")))
    if len(profiles):
        drawn, source = profiles_figure(profiles), shown.source("profiles")
        told = study_captions.PROFILES
        figures.append(Picture.of(drawn, told, "Performance profiles", source=source, rows=profiles))
    if not tables and not figures:
        return None
    return Section("distributions", "Over all runs and tasks", study_captions.DISTRIBUTIONS_LEAD, tables, figures)


def _iqm_table(iqm: pd.DataFrame, source: Source) -> HtmlTable:
    def name(quantity: str) -> str:
        return f"interquartile mean of {quantity_of(quantity).title}"

    def cell_of(quantity: str, row: Any) -> Cell:
        return _with_interval(cell(quantity, row["iqm"], row["low"], row["high"]), row["seeds"])

    return _table("all runs × tasks", iqm, "quantity", name, cell_of, study_captions.IQM, source, NO_COMMON_TASK)


def _improvement_table(better: pd.DataFrame, baseline: str, source: Source) -> HtmlTable:
    palette, shown = colours(better["group"]), list(dict.fromkeys(better["quantity"]))
    rows = []
    for group, of_group in better.groupby("group", sort=False):
        by_quantity = of_group.set_index("quantity")
        cells = [Cell(printable(group), colour=palette[str(group)])]
        for quantity in shown:
            if quantity not in by_quantity.index:
                cells.append(Cell(NONE, why="fewer than two seeds with a common task"))
                continue
            point, low, high = by_quantity.loc[quantity, ["probability", "low", "high"]]
            seeds = by_quantity.loc[quantity, ["seeds", "baseline_seeds"]].min()
            cells.append(Cell(f"{point:.2f}", f"[{low:.2f}, {high:.2f}]{few(seeds)}"))
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
    figure = Picture.of(shares_figure(shares), study_captions.SHARES, source=shown.source("sampling"), rows=shares)
    return Section("sampling", "What was sampled", study_captions.SHARES_LEAD, figures=[figure])
