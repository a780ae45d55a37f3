"""``waker compare``: one table of several runs, from their saved rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.text import Text

from waker.commands.arguments import parse
from waker.console import Console
from waker.curriculum.labels import called
from waker.errors import UserError, unknown
from waker.files import atomic, saving
from waker.names import printable

if TYPE_CHECKING:
    from waker.evaluation.numbers import Comparison
    from waker.evaluation.steps import At, Steps
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
    at: str = "common"
    """The step to compare at: the last one at which all runs were measured (common), each run's own last (last; runs at
    different steps are then not pooled), or a number."""
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


def step_of(text: str) -> At:
    """``common``, ``last`` or a number, as :data:`waker.evaluation.steps.At`.

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


def numbers_of(runs: Sequence[RunData], at: At = "common") -> dict[str, Comparison]:
    """Each run's numbers and what to tell of them, every domain by itself and with its own hard θ and sets.

    See :func:`waker.evaluation.numbers.compare_runs` and :func:`waker.report.data.by_domain`.

    Raises:
        UserError: a step at which a run was not measured.
    """
    import pandas as pd

    from waker.evaluation.errors_compared import compared_steps, error_numbers
    from waker.evaluation.numbers import compare_runs
    from waker.evaluation.sources import shared
    from waker.report.data import by_domain, stack, theta_sets

    found, runs = {}, by_domain(runs)
    for domain in dict.fromkeys(run.domain for run in runs):
        here = [run for run in runs if run.domain == domain]
        evaluation, episodes = stack(here, "evaluation"), stack(here, "episodes")
        errors, told = shared(stack(here, "model_error"))
        compared = compare_runs(evaluation, errors, episodes, theta_sets(here), at=at)
        at_steps = compared_steps(evaluation, errors, episodes, at)
        at_step = at_steps.cut(errors, "model_error")
        parts = [compared.numbers, error_numbers(stack(here, "curriculum"), at_step)]
        numbers = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        found[domain] = compared._replace(
            numbers=numbers, notes=(*compared.notes, *told, *differing(_compared(here, at_steps)))
        )
    return found


def _compared(runs: Sequence[RunData], steps: Steps) -> list[RunData]:
    """The runs that were not left out; all of them where rows have no steps."""
    kept = [run for run in runs if (run.domain, run.sampler, run.explorer, run.seed) in steps.at]
    return kept or list(runs)


def differing(runs: Sequence[RunData]) -> list[str]:
    """A line for settings beside seed, sampler and explorer in which runs differ: then these are compared as well."""
    from waker.report.data import settings_of

    flats = [settings_of(run) for run in runs]
    known = [flat for flat in flats if flat]
    own = ("seed", "curriculum", "explorer")
    keys = [k for k in dict.fromkeys(k for f in known for k in f) if k.split(".")[0] not in own]
    differ = [k for k in keys if len({str(flat.get(k)) for flat in known}) > 1]
    return [f"the runs differ in {', '.join(differ)}"] if differ else []


def show(
    folders: Sequence[Path],
    console: Console,
    samplers: Sequence[str] = (),
    seeds: Sequence[int] = (),
    csv: Path | None = None,
    only: Sequence[str] | None = None,
    baseline: str = "dr",
    at: At = "common",
) -> Path:
    """Print the tables of each domain and write the numbers.

    Args:
        folders: run folders, or folders that hold some.
        console: where to print.
        samplers, seeds: only these; none = all.
        csv: the file; None = ``comparison.csv`` in the first folder.
        only: quantities to print; None = all, task by task. The file has all of them.
        baseline: the sampler that the probability of improvement is over.
        at: the step, see :mod:`waker.evaluation.steps`.

    Returns:
        The CSV file.

    Raises:
        UserError: no runs, or none of them evaluated, or two that cannot be told apart, or one that was not measured
            at the step.
        SaveFailed: the file cannot be written.
    """
    import pandas as pd

    from waker.commands.tables import comparison, improvement
    from waker.evaluation.improvement import improvements
    from waker.evaluation.summary import summarise
    from waker.report.data import load_runs

    runs = select(load_runs(folders), samplers, seeds)
    if not runs:
        raise UserError("no run has both one of these samplers and one of these seeds")
    baseline = next(iter(called(baseline, (run.sampler for run in runs))), baseline)
    compared = numbers_of(runs, at)
    numbers = pd.concat([found.numbers for found in compared.values()], ignore_index=True)
    summary, better = summarise(numbers), improvements(numbers, baseline)
    if summary.empty:
        lost = "".join(f"; {run.folder}: {line}" for run in runs for line in run.lost)
        raise UserError(f"nothing to compare: the runs have no evaluation rows; run `waker evaluate` first{lost}")
    for domain, rows in summary.groupby("domain", sort=False):
        console.print(Text(printable(domain), style="bold"))
        console.print(comparison(rows, only))
        if len(here := better[better["domain"] == domain]):
            console.print(improvement(here, baseline))
        for note in compared[domain].notes:
            console.print(f"Note: {note}.", soft_wrap=True, markup=False, highlight=False)
    target = csv if csv is not None else Path(folders[0]) / "comparison.csv"
    with saving(f"the numbers in {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as file:
            summary.to_csv(file, index=False)
    for run in runs:
        for line in run.lost:
            console.print(Text(printable(f"{run.folder}: {line}")), soft_wrap=True)
    console.print(Text(printable(f"Numbers: {target}")), soft_wrap=True)
    return target


def command(argv: list[str]) -> int:
    """Run ``waker compare``."""
    args = parse(CompareArgs, argv, verb="compare")
    check_baseline(args)
    show(args.runs, Console(), args.samplers, args.seeds, args.csv, baseline=args.baseline, at=step_of(args.at))
    return 0
