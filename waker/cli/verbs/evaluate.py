"""``waker evaluate``: task policies and world models of finished or stopped runs, as rows in their folders."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from waker.cli.arguments import parse
from waker.errors import UserError, unknown
from waker.names import printable
from waker.settings import Count, NotNegativeInt
from waker.storage.run_search import run_folders

if TYPE_CHECKING:
    from waker.evaluation.pieces import Pieces
    from waker.evaluation.records import Measurement
    from waker.evaluation.setup import Setup
    from waker.replay.relabel import TaskFunction
    from waker.storage.tables import Row
    from waker.training.adapted import Adapted
    from waker.training.loading import LoadedRun


@dataclass(frozen=True)
class EvaluateArgs:
    """Play the task policies over domain randomisation and every suite, and measure the world model's error for each θ.

    Policies that `waker adapt` trained are measured too. Rows of the same checkpoint are replaced;
    those of policies that are left out stay.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders that hold some."""
    episodes: Count | None = None
    """Episodes of the DR suite for each task; None = the run's setting."""
    suite_episodes: Count | None = None
    """Episodes of every other suite for each task; None = the run's setting."""
    planned_episodes: NotNegativeInt | None = None
    """Episodes of each suite in which plans in the learned model are valued, 0 = none; None = the run's setting."""
    model_episodes: Count | None = None
    """Held-out episodes per θ and source of actions for the world model's error; None = the run's setting."""
    reference: Path | None = None
    """Folder of a finished run whose policies act in held-out episodes, beside random actions; give all runs of a
    comparison the same one. None = the run's setting."""
    sources: tuple[Literal["random", "explorer", "tasks"], ...] = ()
    """Who acts in them; none = the run's setting."""
    task_module: tuple[str, ...] = ()
    """Tasks from outside the environment whose file has moved or changed since `waker adapt`, each file.py:function;
    others are remembered."""
    as_: Annotated[tuple[str, ...], tyro.conf.arg(name="as")] = ()
    """Tasks that were given by preferences, each with the environment's task that judges it: mytask=green. Rows are
    called by the former; returns and optima are of the latter."""
    device: str | None = None
    """Torch device; None = the run's."""


def taught_tasks(folders: Iterable[Path]) -> set[str]:
    """Names of the tasks that were given to these runs by preferences.

    Raises:
        UserError: a record of adapted policies that cannot be read.
    """
    from waker.training.adapt import adapted_sets

    records = (record for folder in folders for _, record in adapted_sets(folder))
    return {str(record["tasks"][0]) for record in records if "preferences" in record}


def judges(given: tuple[str, ...], tasks: tuple[str, ...], taught: Collection[str]) -> dict[str, str]:
    """What ``--as`` says: name → the environment's task.

    Args:
        given: each ``NAME=TASK``.
        tasks: of the environment.
        taught: tasks that were given by preferences, to any of the runs that are evaluated.

    Raises:
        UserError: another form, a name that is a task of the environment, one that nobody has taught, or a task that
            the environment does not have.
    """
    found: dict[str, str] = {}
    for text in given:
        name, separator, task = text.partition("=")
        if not separator or not name:
            raise UserError(f"--as {text!r} must have the form NAME=TASK, as mytask={tasks[0]}")
        if name in tasks:
            raise UserError(f"--as {text!r}: {name!r} is a task of the environment, and judged by itself")
        if task not in tasks:
            raise unknown("task", task, tasks)
        if not taught:
            raise UserError(
                f"--as {text!r}: no task was given by preferences here (`waker adapt RUN --preferences FILE`)"
            )
        if name not in taught:
            raise unknown("task given by preferences:", name, taught)
        found[name] = task
    return found


def adapted_rows(
    loaded: LoadedRun,
    setup: Setup,
    functions: Mapping[str, TaskFunction],
    judged: Mapping[str, str],
    owned: bool,
    note: Callable[[str], None],
    pieces: Pieces,
) -> list[Row]:
    """Rows of every set of adapted policies, and of random ones in tasks that the run itself has no policy for.

    Their ``policy`` is ``learned`` for such tasks, else ``adapted``; ``policy_digest`` tells which state of it.

    Args:
        functions: tasks that were named now, which go before those that are remembered.
    """
    from waker.behaviour.player import RandomPlayer
    from waker.evaluation.pieces import subject_of
    from waker.evaluation.rollouts import evaluate
    from waker.seeding import stream
    from waker.terminal.notices import tell_loss
    from waker.training.adapt import adapted_sets, load_adapted, remembered
    from waker.training.adapt_preferences import load_taught
    from waker.training.adapted import digest_of

    rows: list[Row] = []
    measured: set[str] = set(loaded.family.spec.tasks) if owned else set()
    for folder, record in reversed(adapted_sets(loaded.run.path)):
        if record["model"]["updates"] != loaded.updates:
            then = f"the model after {record['model']['updates']:,} updates, and the one at hand has {loaded.updates:,}"
            _left_out(loaded, f"{folder.name} was trained on {then}; `waker adapt` it again to measure it")
            continue
        if record.get("replay_lost"):
            tell_loss(note, f"{folder.name} was trained without some ticks of the replay, which were damaged")
        by_preferences = "preferences" in record
        if by_preferences and (name := record["tasks"][0]) not in judged:
            _left_out(loaded, f"task {name!r} was given by preferences: --as {name}=TASK judges it; left out")
            continue
        rewards = {name: functions[name] for name in record["functions"] if name in functions}
        for name in set(record["functions"]) - set(rewards):
            try:
                rewards[name] = remembered(record, name)
            except UserError as error:
                _left_out(loaded, f"task {name!r} is left out: {error}")
        rewards = {name: rewards[name] for name in record["functions"] if name in rewards}  # in the record's order
        tasks = [name for name in record["tasks"] if name in rewards or name not in record["functions"]]
        adapter: Adapted | None
        if by_preferences:
            adapter = load_taught(loaded, folder, record, note)
        else:
            adapter = load_adapted(loaded, folder, record["tasks"], note)
        if adapter is None or not tasks:
            continue
        judge = {name: judged[name] for name in tasks if by_preferences}
        play = functools.partial(evaluate, setup, adapter.player(), tasks, rewards=rewards, judged=judge)
        sources = [*((name, task.source) for name, task in rewards.items()), *judge.items()]
        digest = subject_of(adapter.state_dict(), tasks, sources, [file_digest(task) for task in rewards.values()])
        played = pieces.measured(f"{folder.name} ({digest[:12]})", play)
        policy = digest_of(adapter)
        for row in played:
            kind = "adapted" if row["task"] in measured else "learned"
            rows.append({**row, "policy": kind, "policy_digest": policy})
        if new := tuple(name for name in tasks if name not in measured):
            random = RandomPlayer(loaded.family.spec.action, stream(setup.seed, "random policy"), new)
            play = functools.partial(evaluate, setup, random, new, rewards=rewards, judged=judge, policy="random")
            rows += pieces.measured(f"random policies, {folder.name} ({digest[:12]})", play)
        measured |= set(tasks)
    return rows


def _left_out(loaded: LoadedRun, what: str) -> None:
    """Tell what is not measured; the command's exit code says so as well."""
    from waker_envs.foreign import Failed

    warnings.warn(f"{loaded.run.path}: {what}", Failed, stacklevel=3)


def file_digest(task: TaskFunction) -> str:
    """Of the file that a task comes from."""
    from waker.storage.files import sha256

    return sha256(Path(task.source.rpartition(":")[0]))


def evaluate_run(
    folder: Path, args: EvaluateArgs, note: Callable[[str], None], taught: Collection[str] | None = None
) -> int:
    """Measure one run and save its rows.

    Args:
        folder: the run's.
        args: what is asked for.
        note: tells what happens.
        taught: names that ``--as`` may have; None = those of this run.

    Returns:
        The number of episodes played by learned policies.
    """
    from waker.evaluation import records
    from waker.evaluation.setup import Setup
    from waker.names import EXPECTED, PLANNED
    from waker.replay.relabel import load_task
    from waker.storage.files import saving
    from waker.storage.run_folder import RunFolder, read_config
    from waker.terminal.signals import Interrupted, Paused, StopSignals
    from waker.training.build import evaluation_pieces
    from waker.training.loading import load_run, task_player
    from waker.training.memory_needs import check_fits, evaluation
    from waker.training.reference import held_out_sources
    from waker.training.row_writer import RowWriter, write_space

    functions = {task.name: task for task in map(load_task, args.task_module)}
    changes: dict[str, Any] = {
        name: value
        for name in ("episodes", "suite_episodes", "planned_episodes", "model_episodes")
        if (value := getattr(args, name)) is not None
    }
    if args.reference is not None:
        changes["reference"] = str(args.reference)
    if args.sources:
        changes["sources"] = args.sources
    run = RunFolder(folder, read_config(folder))
    with run.locked():
        loaded = load_run(folder, note, args.device)
        known = taught_tasks([folder]) if taught is None else taught
        judged = judges(args.as_, loaded.family.spec.tasks, known)
        rows = RowWriter(run)
        rows.mend(note)
        family, asked = loaded.family, dataclasses.replace(loaded.config.evaluation, **changes)
        config = dataclasses.replace(loaded.config, evaluation=asked)
        check_fits(evaluation(config, family))
        player = task_player(loaded.agent)
        sources = held_out_sources(config, family, lambda line: note(f"{asked.reference}: {line}"))
        setup = Setup.of_run(config, family, sources)

        def record(found: Measurement) -> None:
            run.check_there()
            write_space(folder, family)
            rows.measured(found, loaded.step, loaded.updates)
            with saving(f"the evaluation of {folder}"):
                rows.save()

        with StopSignals() as stop:
            pieces = evaluation_pieces(setup, loaded.agent, folder, note)
            try:
                found = records.measure(setup, loaded.agent.model, player, pieces=pieces)
                try:
                    extra = adapted_rows(loaded, setup, functions, judged, player is not None, note, pieces)
                except UserError:  # a task's function, say: what the run itself is worth has been measured
                    record(found)
                    raise
            except Paused:
                assert stop.number is not None
                note("stopped, and what was measured is kept; the same command goes on from here")
                raise Interrupted(stop.number) from None
            found = dataclasses.replace(found, evaluation=[*found.evaluation, *extra])
            record(found)
            pieces.finish()
    if player is None and not extra:
        note("it has no task policies yet (`waker adapt`): only the world model was measured")
    return sum(row["policy"] not in ("random", PLANNED, EXPECTED) for row in found.evaluation)


def _note(folder: Path, text: str) -> None:
    print(printable(f"{folder}: {text}"), flush=True)


def command(argv: list[str]) -> int:
    """Run ``waker evaluate``."""
    args = parse(EvaluateArgs, argv, verb="evaluate")
    if not args.runs:
        raise UserError("name at least one run folder (see waker evaluate --help)")
    # Now, as an environment may change the directory.
    folders = [folder.absolute() for folder in run_folders(args.runs)]
    if args.reference is not None:
        args = dataclasses.replace(args, reference=args.reference.absolute())
    from waker.machine.host_memory import keep_freed_memory
    from waker.machine.mkl_dispatch import tell_unless_done

    keep_freed_memory()
    tell_unless_done()
    if any(
        folder not in folders for folder in map(Path.absolute, args.runs)
    ):  # what is below is told before it changes
        for number, folder in enumerate(folders, 1):
            _note(folder, f"run {number} of {len(folders)}")
    taught = taught_tasks(folders) if args.as_ else ()
    for folder in folders:
        _note(folder, "evaluating …")
        played = evaluate_run(folder, args, functools.partial(_note, folder), taught)
        _note(folder, f"{played} episodes")
    return 0
