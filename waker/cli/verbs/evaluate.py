"""``waker evaluate``: task policies and world models of finished or stopped runs, as rows in their folders."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
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
    from waker.agent.task_adapter import TaskAdapter
    from waker.evaluation.pieces import Pieces
    from waker.evaluation.records import Measurement
    from waker.evaluation.setup import Setup
    from waker.replay.relabel import TaskFunction
    from waker.storage.tables import Row
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
    """Tasks from outside the environment, each file.py:function, as they were given to `waker adapt`."""
    as_: Annotated[tuple[str, ...], tyro.conf.arg(name="as")] = ()
    """Tasks that were given by preferences, each with the environment's task that judges it: mytask=green. Rows are
    called by the former; returns and optima are of the latter."""
    device: str | None = None
    """Torch device; None = the run's."""


def judges(given: tuple[str, ...], tasks: tuple[str, ...]) -> dict[str, str]:
    """What ``--as`` says: name → the environment's task.

    Raises:
        UserError: another form, a name that is a task of the environment, or a task that it does not have.
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
    """Rows of every set of adapted policies.

    Their ``policy`` is ``learned`` for tasks that the run itself has no policy for, else ``adapted``.
    """
    from waker.evaluation.pieces import subject_of
    from waker.evaluation.rollouts import evaluate
    from waker.terminal.notices import tell_loss
    from waker.training.adapt import adapted_sets, load_adapted
    from waker.training.adapt_preferences import load_taught

    rows: list[Row] = []
    measured: set[str] = set(loaded.family.spec.tasks) if owned else set()
    for folder, record in reversed(adapted_sets(loaded.run.path)):
        if record["model"]["updates"] != loaded.updates:
            _left_out(loaded, f"{folder.name} was trained on an earlier model; `waker adapt` it again to measure it")
            continue
        if record.get("replay_lost"):
            tell_loss(note, f"{folder.name} was trained without some ticks of the replay, which were damaged")
        missing = [name for name in record["functions"] if name not in functions]
        for name in missing:
            source = record["functions"][name]["source"]
            _left_out(loaded, f"task {name!r} needs --task-module {source}; left out")
        tasks = [name for name in record["tasks"] if name not in missing]
        by_preferences = "preferences" in record
        if by_preferences and tasks[0] not in judged:
            _left_out(loaded, f"task {tasks[0]!r} was given by preferences: --as {tasks[0]}=TASK judges it; left out")
            continue
        if by_preferences:
            adapter: TaskAdapter | None = load_taught(loaded, folder, record, note)
        else:
            adapter = load_adapted(loaded, folder, record["tasks"], note)
        if adapter is None or not tasks:
            continue
        rewards = {name: functions[name] for name in record["functions"] if name in functions}
        judge = {name: judged[name] for name in tasks if by_preferences}
        play = functools.partial(evaluate, setup, adapter.player(), tasks, rewards=rewards, judged=judge)
        sources = [(name, functions[name].source) for name in rewards] + list(judge.items())
        digest = subject_of(adapter.state_dict(), tasks, sources, [file_digest(functions[name]) for name in rewards])
        played = pieces.measured(f"{folder.name} ({digest[:12]})", play)
        for row in played:
            rows.append({**row, "policy": "adapted" if row["task"] in measured else "learned"})
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


def evaluate_run(folder: Path, args: EvaluateArgs, note: Callable[[str], None]) -> int:
    """Measure one run and save its rows.

    Returns:
        The number of episodes played by learned policies.
    """
    from waker.evaluation import records
    from waker.evaluation.setup import Setup
    from waker.names import PLANNED
    from waker.replay.relabel import load_task
    from waker.storage.files import saving
    from waker.storage.run_folder import RunFolder, read_config
    from waker.terminal.signals import Interrupted, Paused, StopSignals
    from waker.training.build import evaluation_pieces
    from waker.training.loading import load_run, task_player
    from waker.training.memory_needs import check_fits, evaluation
    from waker.training.recorder import Recorder, write_space
    from waker.training.reference import held_out_sources

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
        recorder = Recorder(run)
        recorder.mend(note)
        judged = judges(args.as_, loaded.family.spec.tasks)
        family, asked = loaded.family, dataclasses.replace(loaded.config.evaluation, **changes)
        config = dataclasses.replace(loaded.config, evaluation=asked)
        check_fits(evaluation(config, family))
        player = task_player(loaded.agent)
        sources = held_out_sources(config, family, lambda line: note(f"{asked.reference}: {line}"))
        setup = Setup.of_run(config, family, sources)

        def record(found: Measurement) -> None:
            run.check_there()
            write_space(folder, family)
            recorder.measured(found, loaded.step, loaded.updates)
            with saving(f"the evaluation of {folder}"):
                recorder.save()

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
    return sum(row["policy"] not in ("random", PLANNED) for row in found.evaluation)


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
    for folder in folders:
        _note(folder, "evaluating …")
        played = evaluate_run(folder, args, functools.partial(_note, folder))
        _note(folder, f"{played} episodes")
    return 0
