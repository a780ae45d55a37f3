"""``waker adapt``: policies for tasks that were not there while exploring, from the run's model and replay alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waker.cli.arguments import parse
from waker.cli.part_options import help_of, own_options, refuse_others
from waker.cli.settings import option_of
from waker.config.schema import CompileSetting
from waker.errors import Ended, UserError, unknown
from waker.settings import Count, Share
from waker.storage.run_search import run_folders

if TYPE_CHECKING:
    from waker.training.adapt import Task


@dataclass(frozen=True)
class AdaptArgs:
    """Train policies for tasks from a run's world model and replay, with no environment.

    A task may be new: a Python function of the observation (a dict of arrays with leading batch and time), or of the
    observation and the action, that returns the reward of each step, laid over the replay. Or it is given by answers to
    queries (`waker ask`): then a reward head is fitted to them first, until it has learned what they tell. The same
    command goes on where it was stopped. `waker evaluate` measures the policies, and remembers a function.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, or a folder that holds some: policies for each."""
    tasks: tuple[str, ...] = ()
    """Tasks of the environment or of --task-module, which is remembered; none = all of the environment, or only the
    new ones if any."""
    task_module: tuple[str, ...] = ()
    """New tasks, each file.py:function; the function's name becomes the task's. The file is run."""
    updates: Count | None = None
    """Batches in all, each for train.adapt_repeats policy updates; None = the run's train.adapt_updates, or 1000 where
    that is 0; of cpl, rest and self as many as their settings say."""
    preferences: Path | None = None
    """File of answers that say what the task is, in place of --tasks."""
    method: str = "head"
    """How a policy is made of them. head: a reward head by Bradley and Terry's model, then imagination; features: what
    --features means; cpl: from the answers alone; rest, self: a head judges rollouts of the policy in imagination, and
    it clones the best, or prefers the best to the worst. --method.NAME.SETTING are a method's own."""
    name: str = "preferred"
    """What that task is called."""
    features: str = ""
    """Named features of the observation that the reward is a sum of, as file.py:function: 25 answers can be enough
    then. The function takes arrays by key with leading batch and time, and returns a dict of arrays (batch, time)."""
    members: Count = 3
    """Members of that head; their mean is the reward."""
    error: Share = 0.0
    """Share of the answers that are taken to be a coin's; 0.1 for people, say."""
    compile: CompileSetting | None = None
    """Whether updates are compiled (train.compile); None = as the run's were."""
    device: str | None = None
    """Torch device; None = the run's."""


def chosen_tasks(
    names: tuple[str, ...],
    modules: tuple[str, ...],
    known: tuple[str, ...],
    earlier: Sequence[Mapping[str, Any]] = (),
) -> list[Task]:
    """The tasks asked for.

    Args:
        names: of the environment's tasks, or of the functions.
        modules: ``file.py:function``.
        known: all tasks of the environment, as tables call them.
        earlier: records of policies that the run was adapted to before, oldest first: their functions are remembered.

    Raises:
        UserError: an unknown or repeated name, or a file or function that is not there, or has changed since.
    """
    from waker.names import task_name
    from waker.replay.relabel import load_task
    from waker.training.adapt import remembered

    new: dict[str, Task] = {}
    for task in map(load_task, modules):
        if task.name in known:
            raise UserError(f"{task.source} has the name of a task of the environment; give the function another one")
        if task.name in new:
            raise UserError(f"task {task.name!r} is named twice")
        new[task.name] = task
    # By the name that its author gave it, or by the one that it has in tables.
    wanted = [name if name in known or name in new else task_name(name) for name in names]
    functions = {name: record for record in earlier for name in record["functions"]}
    for at, name in enumerate(wanted):
        if name not in known and name not in new:
            if name not in functions:
                raise unknown("task", names[at], [*known, *new, *functions])
            new[name] = remembered(functions[name], name)
        if name in wanted[:at]:
            raise UserError(f"task {name!r} is named twice")
    chosen = wanted if wanted or new else known
    return [*(new.get(name, name) for name in chosen), *(task for name, task in new.items() if name not in chosen)]


def _parsed(argv: list[str]) -> tuple[AdaptArgs, dict[str, Any]]:
    """The arguments, and the settings of the method's own.

    Raises:
        UserError: an unknown method, or a setting that it does not have.
    """
    name = option_of(argv, "--method") or ("features" if option_of(argv, "--features") else "head")
    own: dict[str, Any] = {}
    if option_of(argv, "--method") or any(word.startswith("--method.") for word in argv):
        from waker.training.preference_methods import method_settings

        try:
            own, argv = own_options(argv, "method", name, method_settings, {}, "adapt")
            refuse_others(argv, "method", name, method_settings)
            args = parse(AdaptArgs, argv, verb="adapt")
        except Ended:
            if (kind := method_settings(name)) is not None:
                print(help_of("method", name, kind))
            raise
        method_settings(name)
    else:
        args = parse(AdaptArgs, argv, verb="adapt")
    if args.features and name != "features":
        raise UserError(f"--features are of method features, not of {name}: leave one of them out")
    if args.preferences is None and (own or option_of(argv, "--method")):
        raise UserError("--method says how a policy is made of answers: add --preferences FILE")
    return dataclasses.replace(args, method=name), own


def command(argv: list[str]) -> int:
    """Run ``waker adapt``."""
    args, own = _parsed(argv)
    from waker.machine.host_memory import keep_freed_memory
    from waker.machine.mkl_dispatch import tell_unless_done
    from waker.names import task_name
    from waker.storage.run_folder import read_config, read_record

    folders = [folder.absolute() for folder in run_folders([args.run])]  # now: an environment may change the directory
    # All before the first is trained.
    for folder in folders:
        read_config(folder)
    known = [tuple(map(task_name, read_record(folder).get("tasks", ()))) for folder in folders]
    if args.features and args.preferences is None:
        raise UserError("--features say what answers are about: add --preferences FILE")
    if args.preferences is not None:
        if args.tasks or args.task_module:
            raise UserError("a task is given by --preferences, or by --tasks and --task-module")
        if len(folders) > 1:
            raise UserError(f"answers are about one run, and there are {len(folders)} in {args.run}")
    from waker.training.adapt import adapted_sets

    tasks = [
        chosen_tasks(args.tasks, args.task_module, of_run, [record for _, record in adapted_sets(folder)])
        for folder, of_run in zip(folders, known, strict=True)
    ]
    keep_freed_memory()
    tell_unless_done()
    for folder, wanted in zip(folders, tasks, strict=True):
        print(_adapted(folder, wanted, args) if args.preferences is None else _taught(folder, args, own))
    return 0


def _taught(folder: Path, args: AdaptArgs, own: dict[str, Any]) -> str:
    """Train the policy of a task that is given by preferences; one line that says where it is.

    Args:
        own: settings of the method's own, without those that are as usual.
    """
    from waker.agent.head_fit import HeadSettings
    from waker.names import printable
    from waker.preferences.table import told
    from waker.replay.relabel import load_task
    from waker.settings import from_plain
    from waker.storage.run_folder import RunFolder, read_config
    from waker.terminal.progress import Progress
    from waker.training.adapt import DEFAULT_UPDATES, arithmetic_of, compiling_of
    from waker.training.adapt_preferences import lesson
    from waker.training.loading import load_run
    from waker.training.loop import Outcome
    from waker.training.preference_methods import find_method

    assert args.preferences is not None
    config, file, method = read_config(folder), args.preferences.absolute(), find_method(args.method)
    if not method.compiled and args.compile not in (None, "off"):
        raise UserError(f"updates of method {args.method} are not compiled: leave out --compile")
    settings: Any = from_plain(method.Own, own, f"method.{args.method}.") if method.Own else None
    if args.features:
        settings = load_task(args.features)
    updates = args.updates or method.updates(settings) or config.train.adapt_updates or DEFAULT_UPDATES
    progress = Progress(f"{RunFolder(folder, config).name}, {printable(args.name)}", updates)
    with RunFolder(folder, config).locked():
        loaded = load_run(folder, progress.note, args.device, settle=False)
        head = HeadSettings(members=args.members, error=args.error)
        taught = lesson(loaded, args.name, file, head, lambda text: None, args.method, settings)
        used = arithmetic_of(loaded, [args.name], progress.note)
        compiling = compiling_of(
            loaded, [args.name], updates, args.compile if method.compiled else "off", progress.note
        )
        adaptation = method.adaptation(loaded, taught, progress, compiling, used)
        progress.note(told(taught.counts))
        outcome = adaptation.run(updates)
    done = "Trained before" if outcome is Outcome.SKIPPED else "Trained"
    made = "a head and a policy" if taught.judged or args.features else "a policy"
    return (
        f"{done}: {made} for {printable(args.name)} in {printable(adaptation.folder)}; measure them with "
        f"`waker evaluate {printable(args.run)} --as {printable(args.name)}=TASK`"
    )


def _adapted(folder: Path, tasks: list[Task], args: AdaptArgs) -> str:
    """Train the policies of one run; one line that says where they are."""
    from waker.names import printable
    from waker.storage.run_folder import RunFolder, read_config
    from waker.terminal.progress import Progress
    from waker.training.adapt import DEFAULT_UPDATES, Adaptation, arithmetic_of, compiling_of, name_of
    from waker.training.loading import load_run
    from waker.training.loop import Outcome

    config = read_config(folder)
    updates = args.updates or config.train.adapt_updates or DEFAULT_UPDATES
    names = ", ".join(printable(name_of(task)) for task in tasks)
    progress = Progress(f"{RunFolder(folder, config).name}, {names}", updates)
    with RunFolder(folder, config).locked():
        loaded = load_run(folder, progress.note, args.device, settle=False)
        used = arithmetic_of(loaded, tasks, progress.note)
        compiling = compiling_of(loaded, tasks, updates, args.compile, progress.note)
        adaptation = Adaptation(loaded, tasks, progress, compiling, used)
        outcome = adaptation.run(updates)
    done = "Trained before" if outcome is Outcome.SKIPPED else "Trained"
    return (
        f"{done}: policies for {names} in {printable(adaptation.folder)}; "
        f"measure them with `waker evaluate {printable(args.run)}`"
    )
