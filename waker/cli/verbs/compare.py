"""``waker compare``: tables of several runs, and a page, from their saved rows or from a study's numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.text import Text

from waker.cli.arguments import parse
from waker.errors import UserError
from waker.names import ALL, printable
from waker.storage.files import check_writable, saving
from waker.terminal.console import Console

if TYPE_CHECKING:
    import pandas as pd

    from waker.analysis.paired import Over, Pairs
    from waker.analysis.steps import At
    from waker.analysis.study import Study


@dataclass(frozen=True)
class CompareArgs:
    """Mean return, CVaR, regret, model error of each sampler and task, and differences from a baseline, seed by seed.

    Intervals and tests have training seeds as their unit.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    """Run folders, or folders that hold some; or files of numbers (…-numbers.csv) that --page has written."""
    samplers: tuple[str, ...] = ()
    """Only these samplers, variants included; or the name of one as the table has it."""
    seeds: tuple[int, ...] = ()
    """Only these seeds."""
    baseline: str = "dr"
    """The sampler (or explorer) that the others are paired with, seed by seed, and whose runs they must beat."""
    quantities: tuple[str, ...] = ()
    """Test only these, named as in the CSV (worst_regret, …): Holm's correction is over the tests of one table."""
    at: str = "common"
    """The step to compare at: the last one at which all runs were measured (common), each run's own last (last; runs at
    different steps are then not pooled), or a number."""
    by: tuple[str, ...] = ()
    """Settings whose values tell variants of a sampler apart: curriculum.plr.beta, train.batch …"""
    csv: Path | None = None
    """Where the table's numbers go; default: comparison.csv in the first folder, or beside the page."""
    page: Path | None = None
    """Write a page (HTML) of the study, and beside it the numbers that it is made of, one CSV file a table."""


def step_of(text: str) -> At:
    """``common``, ``last`` or a number, as :data:`waker.analysis.steps.At`.

    Raises:
        UserError: it is none of them.
    """
    if text == "common":
        return "common"
    if text == "last":
        return "last"
    if text.isascii() and text.isdigit():
        return int(text)
    raise UserError(f"--at is common, last or a step, not {text!r}")


def show(
    places: Sequence[Path],
    console: Console,
    samplers: Sequence[str] = (),
    seeds: Sequence[int] = (),
    csv: Path | None = None,
    only: Sequence[str] | None = None,
    baseline: str = "dr",
    at: At = "common",
    quantities: Sequence[str] = (),
    page: Path | None = None,
    by: Sequence[str] = (),
) -> Path:
    """Write the numbers, and the page if there shall be one, and print the tables of each domain.

    Args:
        places: run folders, folders that hold some, or files of numbers.
        console: where to print.
        samplers, seeds: only these; none = all.
        csv: the file; None = ``comparison.csv`` in the first folder, or beside the page.
        only: quantities to print; None = all, task by task. The file has all of them.
        baseline: the sampler or explorer to compare with.
        at: the step, see :mod:`waker.analysis.steps`.
        quantities: those to test; none = all of which more or less is better.
        page: the HTML file.
        by: settings whose values tell variants of a sampler apart.

    Returns:
        The CSV file.

    Raises:
        UserError: no runs, or none of them evaluated, or two that cannot be told apart, or one that was not measured
            at the step.
        SaveFailed: a file cannot be written.
    """
    from waker.analysis.paired import pairs
    from waker.analysis.study import baseline_of, check_quantities, read_study
    from waker.analysis.summary import summarise

    first = Path(places[0])
    beside = (first.parent if first.is_file() else first) / "comparison.csv"
    check_writable("the page", page)
    check_writable("the numbers", beside if csv is None and page is None and first.exists() else csv)
    study = read_study(places, samplers, seeds, at, by)
    if study.numbers.empty:
        lost = "".join(f"; {line}" for line in study.lost)
        raise UserError(f"nothing to compare: the runs have no evaluation rows; run `waker evaluate` first{lost}")
    baseline, over = baseline_of(study.numbers, baseline)
    check_quantities(study.numbers, quantities)
    summary, paired = summarise(study.numbers), pairs(study.numbers, baseline, over)
    try:  # files first: a reader of the tables may go before their end (`| head`)
        target = _write(study, summary, beside, csv, page, baseline, over, quantities)
    finally:
        _print(console, study, summary, paired, baseline, over, only, quantities)
    for line in study.lost:
        console.print(Text(printable(line)), soft_wrap=True)
    console.print(Text(printable(f"Numbers: {target}")), soft_wrap=True)
    if page is not None:
        console.print(Text(printable(f"Page: {page}")), soft_wrap=True)
    return target


def _write(
    study: Study,
    summary: pd.DataFrame,
    beside: Path,
    csv: Path | None,
    page: Path | None,
    baseline: str,
    over: Over,
    quantities: Sequence[str],
) -> Path:
    """Write the page, if there shall be one, and the numbers; the file of these."""
    from waker.analysis.numbers_file import write_table

    written: dict[str, Path] = {}
    if page is not None:
        from waker.report.study_page import write_study_page

        written = write_study_page(study, page, baseline, over, quantities)
    target = csv if csv is not None else written.get("comparison", beside)
    if target not in written.values():
        with saving(f"the numbers in {target}"):
            write_table(target, summary)
    return target


def _print(
    console: Console,
    study: Study,
    summary: pd.DataFrame,
    paired: Pairs,
    baseline: str,
    over: Over,
    only: Sequence[str] | None,
    quantities: Sequence[str],
) -> None:
    """The tables of each domain, and what to know of them."""
    from waker.analysis.conclusion import conclusion
    from waker.analysis.improvement import improvements
    from waker.analysis.paired import paired_differences
    from waker.analysis.same_data import nothing_told
    from waker.analysis.study import notes_of, tested
    from waker.cli.tables import comparison, differences, improvement

    better = tested(study, improvements(study.numbers, baseline), baseline, over)
    rows = tested(study, paired.rows, baseline, over)
    tests = paired_differences(rows[rows["task"] == ALL], quantities)
    for domain, shown in summary.groupby("domain", sort=False):
        console.print(Text(printable(domain), style="bold"))
        notes = notes_of(study, paired, str(domain))
        told = conclusion(tests[tests["domain"] == domain], baseline, over, notes) or nothing_told(notes)
        if told:
            console.print(told, soft_wrap=True, markup=False, highlight=False)
        for table in comparison(shown, console.width, only):
            console.print(table)
        if only is None and len(here := tests[tests["domain"] == domain]):
            console.print(differences(here, baseline, over, console.width))
        if len(here := better[better["domain"] == domain]):
            console.print(improvement(here, baseline, console.width))
        for note in notes:
            console.print(f"Note: {note}.", soft_wrap=True, markup=False, highlight=False)


def command(argv: list[str]) -> int:
    """Run ``waker compare``."""
    args = parse(CompareArgs, argv, verb="compare")
    show(
        args.runs,
        Console(),
        args.samplers,
        args.seeds,
        args.csv,
        baseline=args.baseline,
        at=step_of(args.at),
        quantities=args.quantities,
        page=args.page,
        by=args.by,
    )
    return 0
