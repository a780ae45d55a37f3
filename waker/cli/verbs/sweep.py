"""``waker sweep``: all runs of a study file, made or gone on with, and their rows kept."""

from __future__ import annotations

import fcntl
import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from waker.cli.arguments import parse
from waker.errors import BLEMISHED, UserError
from waker.names import printable
from waker.settings import Count, NotNegativeInt
from waker.storage.files import check_folder
from waker.storage.run_search import KEPT_ROWS
from waker.sweep.conduct import Conductor, Work
from waker.sweep.launchers import Launcher, Local, Ray, Slurm, sbatch_file

if TYPE_CHECKING:
    from waker.config.schema import Config

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class SweepArgs:
    """Make every run of a study file that is not there yet, and keep the rows of each.

    The same command goes on where it was stopped. A run whose rows are kept is not made again; one that fails does not
    stop the others, and is named at the end. `waker compare ROWS` and `waker report ROWS` read what was kept.
    """

    study: Annotated[Path, tyro.conf.Positional]
    """The study file (YAML): preset, settings, domains, samplers, explorers, seeds, variants."""
    runs: Path | None = None
    """Folder of the runs; default: runs/<name of the file>."""
    rows: Path | None = None
    """Folder of the kept rows; default: <runs>/rows."""
    jobs: Count = CORES
    """Runs at a time."""
    launcher: Literal["local", "ray", "slurm"] = "local"
    """Where: processes of this machine, tasks of Ray, or jobs of Slurm."""
    keep: Literal["all", "rows"] = "all"
    """After a run has ended: keep its folder, or its rows alone."""
    dry: bool = False
    """Only list the runs; with Slurm also what would be submitted."""
    partition: str | None = None
    """Slurm: the partition."""
    minutes: Count = 720
    """Slurm: the time limit of a job; one that is cut off is made whole by the same command."""
    memory_gb: Count = 8
    """Slurm: memory of a job."""
    cpus: Count = 1
    """Ray and Slurm: cores of a run; one more than its `train.env-processes`."""
    gpus: NotNegativeInt = 0
    """Ray and Slurm: GPUs of a run."""


def command(argv: list[str]) -> int:
    """Run ``waker sweep``."""
    args = parse(SweepArgs, argv, verb="sweep")
    runs = args.runs if args.runs is not None else Path("runs") / args.study.stem
    rows = args.rows if args.rows is not None else runs / KEPT_ROWS
    check_folder("--runs", runs)
    check_folder("--rows", rows)
    todo, there, kinds = plan(args.study, runs, rows)
    check_runs(args.study, kinds)
    print(f"{len(todo) + len(there)} runs, {len(there)} of them with rows in {rows}", flush=True)
    check_gpus(args, todo)
    if args.dry:
        _tell(args, runs, todo)
        return 0
    if not todo:
        return 0
    with only_one(runs):
        code = _conduct(args, runs, todo)
    if code in (0, BLEMISHED):
        for folder, page in pages(args.study, rows):
            print(f"next: waker compare {shlex.quote(str(folder))} --page {shlex.quote(page)}", flush=True)
    return code


def check_runs(study: Path, kinds: Sequence[tuple[str, Config]]) -> None:
    """Build what each kind of run needs once, without files, and tell of those in which nothing would be learned.

    Raises:
        UserError: an environment that cannot be made, or a sampler that does not go with it.
    """
    if not kinds:
        return
    from waker.collection.family import Family
    from waker.sweep.study import in_a_file
    from waker.training.build import check_buildable, too_short

    families: dict[str, Family] = {}
    told: dict[str, None] = {}
    for name, config in kinds:
        which = repr((config.env, config.env_kwargs, config.longest_episode))
        try:
            if which not in families:
                families[which] = Family.of(config)
            check_buildable(config, families[which])
        except ValueError as error:
            raise UserError(f"{study}: {name}: {in_a_file(str(error))}") from error
        told |= dict.fromkeys(too_short(config))
    for line in told:
        print(f"{study}: {line}", file=sys.stderr)


def check_gpus(args: SweepArgs, todo: list[Work]) -> None:
    """Refuse to ask a cluster for GPUs that no run would compute on.

    Raises:
        UserError: none of the runs has a CUDA device among its settings.
    """
    pairs = (pair for work in todo for pair in itertools.pairwise(work.command))
    if args.gpus and todo and not any(option == "--device" and value.startswith("cuda") for option, value in pairs):
        raise UserError(
            f"--gpus {args.gpus} asks for GPUs, and no run computes on one: add `device: cuda` to the settings"
        )


def pages(study: Path, rows: Path) -> list[tuple[Path, str]]:
    """The folders of rows to compare, and a name of a page for each: one a variant, whose runs are apart."""
    from waker.sweep.study import read_cells

    variants = dict.fromkeys(cell.variant for cell in read_cells(study))
    return [(rows / variant, f"study-{variant}.html" if variant else "study.html") for variant in variants]


def plan(study: Path, runs: Path, rows: Path) -> tuple[list[Work], list[str], list[tuple[str, Config]]]:
    """The runs that are missing, the names of those whose rows are kept, and of each missing kind the first run.

    Runs of a kind differ in their seeds alone.

    Raises:
        UserError: a study file, or a setting in it, that is not right; rows that are of other settings.
    """
    from waker.cli.settings import parse_settings
    from waker.config.saved import plain
    from waker.config.unused import refuse_unused
    from waker.storage.run_folder import run_folder
    from waker.sweep.rows import kept
    from waker.sweep.study import in_a_file, read_cells

    parsed: dict[tuple[str, ...], Config] = {}  # but for seeds, which change nothing else
    todo: list[Work] = []
    there: list[str] = []
    kinds: dict[tuple[str, ...], tuple[str, Config]] = {}
    seen: dict[Path, str] = {}
    for cell in read_cells(study):
        alike = (cell.variant, cell.domain, cell.sampler, cell.explorer)
        try:
            if alike not in parsed:
                parsed[alike] = parse_settings([*cell.arguments, "--runs", str(runs / cell.variant)], "train").config
            config = replace(parsed[alike], seed=cell.seed)
        except ValueError as error:
            raise UserError(f"{study}: {cell.name}: {in_a_file(str(error))}") from error
        run = run_folder(runs / cell.variant, config)
        if run in seen:
            raise UserError(f"{study}: {cell.name} and {seen[run]} are one run: {run}")
        seen[run] = cell.name
        place = rows / run.relative_to(runs)
        if kept(place, plain(config)):
            there.append(cell.name)
            continue
        train = [sys.executable, "-m", "waker", "train", *cell.arguments, "--runs", str(runs / cell.variant)]
        log = runs / "logs" / f"{'-'.join(run.relative_to(runs).parts)}.log"
        learned = max(0, config.train.steps - config.train.prefill) / config.train.train_every
        afterwards = config.train.adapt_updates if config.train.task_policies == "after" else 0
        todo.append(Work(cell.name, train, run, place, log, learned + afterwards, config.train.log_every))
        kinds.setdefault(alike, (cell.name, config))
    try:
        refuse_unused(parsed.values())
    except UserError as error:
        raise UserError(f"{study}: {error}") from error
    return todo, there, list(kinds.values())


@contextmanager
def only_one(runs: Path) -> Iterator[None]:
    """Hold the folder of a study's runs against another sweep; the system lets go when this process is killed.

    Raises:
        UserError: another one holds it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with open(runs / ".sweep-lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another sweep is at work in {runs}") from None
        yield


def _launcher(args: SweepArgs, runs: Path) -> Launcher:
    if args.launcher == "ray":
        return Ray(args.jobs, args.cpus, args.gpus)
    if args.launcher == "slurm":
        return Slurm(*_queue(args, runs))
    return Local()


def _queue(args: SweepArgs, runs: Path) -> tuple[Path, str | None, int, int, int, int]:
    return runs / "slurm", args.partition, args.minutes, args.memory_gb, args.cpus, args.gpus


def _tell(args: SweepArgs, runs: Path, todo: list[Work]) -> None:
    for work in todo:
        print(f"  {work.name}")
    if args.launcher == "slurm" and todo:
        print(f"a job each, {args.jobs} at a time, submitted with\n")
        print(sbatch_file(*_queue(args, runs)))
        print(f"\nwhich runs, for the first of them,\n\n{shlex.join(todo[0].command)}")


def _conduct(args: SweepArgs, runs: Path, todo: list[Work]) -> int:
    discard = (lambda folder: shutil.rmtree(folder, ignore_errors=True)) if args.keep == "rows" else None
    conductor = Conductor(todo, _launcher(args, runs), args.jobs, lambda line: print(line, flush=True), discard)
    outcome = conductor.conduct()
    if outcome.stopped:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 128 + outcome.stopped
    if outcome.failed:
        _tell_failed([work for work in todo if work.name in outcome.failed], len(todo))
        return 2
    return BLEMISHED if outcome.blemished else 0


def _tell_failed(failed: list[Work], of: int) -> None:
    """Which runs have failed, where that is told in full, and what to do then."""
    for work in failed:
        print(f"waker: {work.name} failed: {printable(str(work.log))}", file=sys.stderr)
    print(
        f"waker: {len(failed)} of {of} runs failed; mend what the end of each log says, and give the same command",
        file=sys.stderr,
    )
