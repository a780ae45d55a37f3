"""``waker compare``: one table of several runs, from their saved rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from waker.commands.arguments import parse
from waker.curriculum.labels import called
from waker.errors import UserError, unknown
from waker.files import atomic, saving

if TYPE_CHECKING:
    import pandas as pd

    from waker.report.data import RunData


@dataclass(frozen=True)
class CompareArgs:
    """One row for each sampler and task: mean return, CVaR, regret, model error, with intervals over seeds."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    """Run folders, or folders that hold some."""
    samplers: tuple[str, ...] = ()
    """Only these samplers, variants included; or the name of one as the table has it."""
    seeds: tuple[int, ...] = ()
    """Only these seeds."""
    baseline: str = "dr"
    """The sampler whose runs the others must beat, for the probability of improvement (from two seeds each)."""
    csv: Path | None = None
    """Where the numbers go; default: comparison.csv in the first folder."""


def select(runs: Sequence[RunData], samplers: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[RunData]:
    """The runs of these samplers and seeds (none = all).

    Raises:
        UserError: a sampler or a seed that no run has.
    """
    wanted = set()
    for sampler in samplers:
        if not (found := called(sampler, (run.sampler for run in runs))):
            raise unknown("sampler among these runs:", sampler, {run.sampler for run in runs})
        wanted.update(found)
    for seed in seeds:
        if seed not in {run.seed for run in runs}:
            present = ", ".join(map(str, sorted({run.seed for run in runs})))
            raise UserError(f"no run with seed {seed}; there are {present}")
    return [r for r in runs if (not samplers or r.sampler in wanted) and (not seeds or r.seed in seeds)]


def check_baseline(args: CompareArgs) -> None:
    """Refuse a baseline that no run has (the default may be absent: then nothing is compared with it).

    Raises:
        UserError: naming the nearest.
    """
    from waker.report.data import load_runs

    present = {run.sampler for run in load_runs(args.runs)}
    found = called(args.baseline, sorted(present))
    if args.baseline != CompareArgs.baseline and not found:
        raise unknown("baseline among these runs:", args.baseline, present)
    if len(found) > 1:
        raise UserError(f"--baseline {args.baseline!r} may mean {' or '.join(map(repr, found))}: name one of them")


def numbers_of(runs: Sequence[RunData]) -> pd.DataFrame:
    """Each run's numbers, every domain by itself and with its own hard θ.

    See :func:`waker.evaluation.summary.run_numbers` and :func:`waker.report.data.by_domain`.
    """
    import pandas as pd

    from waker.evaluation.summary import run_numbers
    from waker.report.data import by_domain, stack

    runs, parts = by_domain(runs), []
    for domain in dict.fromkeys(run.domain for run in runs):
        here = [run for run in runs if run.domain == domain]
        hard = next((run.space["hard_ids"] for run in here if run.space.get("hard_ids")), ())
        parts.append(run_numbers(stack(here, "evaluation"), stack(here, "model_error"), stack(here, "episodes"), hard))
    return pd.concat(parts, ignore_index=True)


def show(
    folders: Sequence[Path],
    console: Console,
    samplers: Sequence[str] = (),
    seeds: Sequence[int] = (),
    csv: Path | None = None,
    only: Sequence[str] | None = None,
    baseline: str = "dr",
) -> Path:
    """Print the tables of each domain and write the numbers.

    Args:
        folders: run folders, or folders that hold some.
        console: where to print.
        samplers, seeds: only these; none = all.
        csv: the file; None = ``comparison.csv`` in the first folder.
        only: quantities to print; None = all, task by task. The file has all of them.
        baseline: the sampler that the probability of improvement is over.

    Returns:
        The CSV file.

    Raises:
        UserError: no runs, or none of them evaluated, or two that cannot be told apart.
        SaveFailed: the file cannot be written.
    """
    from waker.commands.tables import comparison, improvement
    from waker.evaluation.improvement import improvements
    from waker.evaluation.summary import summarise
    from waker.report.data import load_runs

    runs = select(load_runs(folders), samplers, seeds)
    if not runs:
        raise UserError("no run has both one of these samplers and one of these seeds")
    baseline = next(iter(called(baseline, (run.sampler for run in runs))), baseline)
    numbers = numbers_of(runs)
    summary, better = summarise(numbers), improvements(numbers, baseline)
    if summary.empty:
        raise UserError("nothing to compare: the runs have no evaluation rows yet; run `waker evaluate` first")
    for domain, rows in summary.groupby("domain", sort=False):
        console.print(f"[bold]{domain}[/bold]")
        console.print(comparison(rows, only))
        if len(here := better[better["domain"] == domain]):
            console.print(improvement(here, baseline))
    target = csv if csv is not None else Path(folders[0]) / "comparison.csv"
    with saving(f"the numbers in {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as file:
            summary.to_csv(file, index=False)
    for run in runs:
        for line in run.lost:
            console.print(f"{run.folder}: {line}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"Numbers: {target}", soft_wrap=True)
    return target


def command(argv: list[str]) -> int:
    """Run ``waker compare``."""
    args = parse(CompareArgs, argv, verb="compare")
    check_baseline(args)
    show(args.runs, Console(), args.samplers, args.seeds, args.csv, baseline=args.baseline)
    return 0
