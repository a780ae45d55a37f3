"""``waker scaling``: how reward grows with compute, from measurements through training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.table import Table
from rich.text import Text

from waker.cli.arguments import parse
from waker.errors import UserError
from waker.names import printable
from waker.storage.files import check_writable, saving
from waker.terminal.console import Console

if TYPE_CHECKING:
    import pandas as pd

    from waker.analysis.scaling_study import Scaling

BETWEEN = "; "
"""Between the reasons of one line."""
Measure = Literal["mean", "cvar", "worst"]
Axis = Literal["step", "flop"]


@dataclass(frozen=True)
class ScalingArgs:
    """Fit R₀ + (A − R₀)/(1 + (C_mid/C)^B) to the share of the optimum against agent steps and FLOP.

    Intervals have training seeds as their unit. An asymptote is told where the measurements identify it.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    """Run folders, or folders that hold some; files of curves that --csv has written; or files of numbers that `waker
    compare --page` has, of several steps."""
    samplers: tuple[str, ...] = ()
    """Only these samplers, named as in the table."""
    baseline: str = "dr"
    """The sampler that the others are compared with."""
    measures: tuple[Measure, ...] = ("mean", "cvar", "worst")
    """Of the share of the optimum: its mean over θ, the mean of its worst tenth, and its worst θ and task."""
    axes: tuple[Axis, ...] = ("step", "flop")
    """Compute: agent steps, and floating-point operations of updates with the adaptation after a measurement."""
    floor: float | None = None
    """R₀, the share of random actions; default: exact where the family knows all its tables, else 0."""
    after: int | None = None
    """Leave out measurements up to this agent step; default: those of the random prefill."""
    by: tuple[str, ...] = ()
    """Settings whose values tell variants of a sampler apart: train.batch …"""
    resamples: int = 200
    """Resampled sets of seeds behind an interval."""
    csv: Path | None = None
    """Where the curves go, one row a run and measurement, and beside it fits, forecasts and differences; default:
    scaling.csv in the first folder, or nowhere where files are read."""
    page: Path | None = None
    """Write a page (HTML) with figures."""


def command(argv: list[str]) -> int:
    """Run ``waker scaling``."""
    args = parse(ScalingArgs, argv, verb="scaling")
    if args.floor is not None and not 0.0 <= args.floor < 1.0:
        raise UserError(f"--floor is a share of the optimum below 1, not {args.floor:g}")
    if args.resamples < 0 or not args.measures or not args.axes:
        raise UserError("--resamples must not be negative; --measures and --axes must name at least one")
    for place in args.runs:
        if not place.exists():
            raise UserError(f"{place} does not exist")
    target = _target(args)
    check_writable("the page", args.page)
    check_writable("the curves", target)
    from waker.analysis.scaling_curves import of_samplers
    from waker.analysis.scaling_study import scaling_of
    from waker.report.scaling_rows import collect

    rows, notes = collect(args.runs, args.floor, args.after, args.by)
    rows = of_samplers(rows, args.samplers)
    found = scaling_of(rows, args.baseline, args.measures, args.axes, args.resamples)
    if found.fits.empty:
        raise UserError("nothing to fit: no curve has a point that all its seeds share")
    console, all_notes = Console(), (*notes, *found.notes)
    try:  # files first: a reader of the tables may go before their end (`| head`)
        if target is not None:
            write(rows, found, target)
        if args.page is not None:
            from waker.report.scaling_page import write_scaling_page

            write_scaling_page(found, args.page, all_notes)
    finally:
        show(found, console)
        for note in all_notes:
            console.print(Text(f"Note: {printable(note)}."), soft_wrap=True)
    for title, file in (("Curves", target), ("Page", args.page)):
        if file is not None:
            console.print(Text(printable(f"{title}: {file}")), soft_wrap=True)
    return 0


def _target(args: ScalingArgs) -> Path | None:
    if args.csv is not None:
        return args.csv
    folder = next((place for place in args.runs if place.is_dir()), None)
    return None if folder is None else folder / "scaling.csv"


def write(rows: pd.DataFrame, found: Scaling, curves: Path) -> None:
    """Write the curves, and beside them ``…-fits.csv``, ``…-forecasts.csv`` and ``…-differences.csv``.

    Raises:
        SaveFailed: a file cannot be written.
    """
    from waker.analysis.numbers_file import write_table

    tables = {"fits": found.fits, "forecasts": found.forecasts, "differences": found.differences}
    with saving(f"the curves in {curves}"):
        write_table(curves, rows)
        for name, table in tables.items():
            write_table(curves.with_name(f"{curves.stem}-{name}.csv"), table)


def show(found: Scaling, console: Console) -> None:
    """Print the tables of each domain and axis."""
    from waker.analysis.scaling_curves import AXES
    from waker.report.scaling_tables import difference_rows, fit_rows, forecast_rows

    for (domain, axis), fits in found.fits.groupby(["domain", "axis"], sort=False):
        console.print(Text(printable(f"{domain}, against {AXES[str(axis)]}"), style="bold"))
        for title, table, rows_of in (
            ("", fits, fit_rows),
            ("Fitted to the first half of the compute, judged by the second", found.forecasts, forecast_rows),
            ("Compared: A first, then B and C_mid at a common A", found.differences, difference_rows),
        ):
            here = table[(table["domain"] == domain) & (table["axis"] == axis)]
            heads, lines = rows_of(here)
            if lines:
                heads, lines, reasons = apart(heads, lines)
                console.print(_table(title, heads, lines))
                for number, reason in enumerate(reasons, 1):
                    console.print(Text(f"{number}: {reason}"))


def apart(heads: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]], list[str]]:
    """A table whose last column, ``why``, holds numbers of reasons, and the distinct reasons, from 1.

    Without such a column the table is as it was.
    """
    if heads[-1] != "why":
        return heads, lines, []
    reasons = list(dict.fromkeys(part for line in lines for part in line[-1].split(BETWEEN) if part))
    numbered = [
        [*line[:-1], ", ".join(str(reasons.index(part) + 1) for part in line[-1].split(BETWEEN) if part)]
        for line in lines
    ]
    return heads, numbered, reasons


def _table(title: str, heads: Any, lines: Any) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left")
    for at, head in enumerate(heads):
        table.add_column(head, justify="left" if at < 2 or head == "why" else "right")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    return table
