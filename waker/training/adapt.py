"""Training task policies from a finished exploration: a frozen world model and its replay, and no environment.

Called by ``waker adapt``; ``waker evaluate`` loads what it leaves. Each set of tasks has a folder of its own below the
run, ``adapted/<tasks>/``, with ``tasks.yaml``, ``metrics.jsonl`` and checkpoints; the same command goes on where it
stopped.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from waker.agent.task_adapter import TaskAdapter
from waker.config.schema import CompileSetting, Config
from waker.errors import UserError
from waker.loggers import Means, NotFinite
from waker.machine import arithmetic
from waker.machine.compile_costs import Costs
from waker.names import ALL, EXPLORER, joined_part, task_name
from waker.replay.feed import Feed
from waker.replay.relabel import TaskFunction, relabelled
from waker.seeding import load_torch_state, seed_for, torch_state
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import saving, sha256
from waker.storage.metrics_file import JsonlSink
from waker.storage.run_folder import read_config
from waker.storage.sealed import read_yaml, write_yaml
from waker.storage.state_shapes import check_fit
from waker.terminal.notices import tell_loss
from waker.terminal.progress import Progress
from waker.terminal.signals import Interrupted, StopSignals
from waker.training.compile_choice import Compiling, adapt_calls, decide
from waker.training.loading import LoadedRun, recorded_arithmetic, with_free_products
from waker.training.loop import Outcome

SAVE_EVERY = 500
"""Updates between checkpoints."""
DEFAULT_UPDATES = 1_000
"""For runs whose own settings name no number (they trained their task policies alongside)."""
_SUBJECT = ("tasks", "functions", "model")
"""In ``tasks.yaml``: what policies belong to. Where some of the replay is lost, its ticks are in ``replay_lost``."""
_STREAM = 1
"""Sets the chance of an adaptation apart from the run's own streams."""

Task = str | TaskFunction


def name_of(task: Task) -> str:
    """The task's name."""
    return task.name if isinstance(task, TaskFunction) else task


def folder_of(run: Path, tasks: Sequence[Task]) -> Path:
    """Where policies for these tasks lie: below the run, whatever they are called, and apart from those for others."""
    names, place = list(map(name_of, tasks)), run / "adapted"
    earlier = place / "-".join(names)  # once it was always this, which other tasks may have as well
    if earlier.parent == place and earlier.name != ".." and _is_for(earlier, names):
        return earlier
    return place / joined_part(names)


def _is_for(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder is there already and holds policies for just these tasks."""
    try:
        begun = _begun(folder)
    except OSError:  # no such path can be: too long a name, say
        return False
    return begun is not None and begun.subject.get("tasks") == list(names)


def adapter_for(
    loaded: LoadedRun, names: Sequence[str], config: Config | None = None, costs: Costs | None = None
) -> TaskAdapter:
    """Fresh reward heads and policies on the run's frozen model.

    Args:
        config: None = the run's.
        costs: notes what updates cost.
    """
    return TaskAdapter(loaded.agent.model, loaded.family.spec, config or loaded.config, tuple(names), costs=costs)


def arithmetic_of(loaded: LoadedRun, tasks: Sequence[Task], note: Callable[[str], None]) -> dict[str, Any]:
    """Settle who multiplies in this process, for these policies; before :func:`compiling_of`.

    Policies that are begun now have the faster on this processor, whatever the run had; others stay with what they
    had.

    Args:
        note: told of what is not as it was.

    Returns:
        The record of what is used; see :func:`waker.machine.arithmetic.settle`.
    """
    begun = _begun(folder_of(loaded.run.path, tasks))
    recorded: Mapping[str, Any] | None = None
    if begun is not None and begun.subject == _subject(loaded, tasks):
        recorded = begun.arithmetic or recorded_arithmetic(loaded.run.path)  # once they were the run's
    used, changes = arithmetic.settle(with_free_products(loaded.config), recorded, advise=False)
    for change in changes:
        note(change)
    return used


def compiling_of(
    loaded: LoadedRun,
    tasks: Sequence[Task],
    updates: int,
    asked: CompileSetting | None,
    note: Callable[[str], None],
) -> Compiling:
    """How these policies' updates are made, settled first; see :func:`waker.training.compile_choice.decide`.

    Args:
        updates: that will be made in all.
        asked: None = as they were made so far, or else as the run's own were (eager where the run was recorded as CUDA
            graphs, compiled or not, and this is a CPU).
        note: told later, when something is compiled.

    Raises:
        UserError: they were not compiled so far and shall be now, or the other way round; or see ``decide``.
    """
    folder, names = folder_of(loaded.run.path, tasks), tuple(map(name_of, tasks))
    begun = _begun(folder)
    before = begun.compile if begun is not None and begun.subject == _subject(loaded, tasks) else None
    if asked is None and before is not None:
        asked = before
    elif asked is None:
        ours = read_config(loaded.run.path).train.compile
        on_cpu = torch.device(loaded.config.device).type == "cpu"
        asked = "off" if on_cpu and ours in ("graphs", "reduce-overhead") else ours
    elif before is not None and asked not in ("auto", before):
        raise UserError(
            f"the policies in {folder} were trained with compile {before!r} so far; leave out --compile to go on from "
            f"there, or remove that folder"
        )
    config = loaded.config
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, compile=asked))
    return decide(config, loaded.family.spec, adapt_calls(config, updates), note, before, names)


def _subject(loaded: LoadedRun, tasks: Sequence[Task]) -> dict[str, Any]:
    """What policies belong to; they are trained anew where it has changed."""
    functions = {
        t.name: {"source": t.source, "sha256": sha256(Path(t.source.rpartition(":")[0]))}
        for t in tasks
        if isinstance(t, TaskFunction)
    }
    return {
        "tasks": list(map(name_of, tasks)),
        "functions": functions,
        "model": {"step": loaded.step, "updates": int(loaded.state["updates"])},
    }


class _Begun(NamedTuple):
    """The record of a folder: what its policies belong to, how their updates are made, and with what.

    ``lost`` has the ticks of the replay that they are trained without.
    """

    subject: dict[str, Any]
    lost: list[list[int]]
    compile: CompileSetting
    arithmetic: dict[str, Any] | None


def _begun(folder: Path) -> _Begun | None:
    """The record of a folder that is there already; None if none is.

    Raises:
        UserError: it cannot be read.
    """
    file = folder / "tasks.yaml"
    if not file.is_file():
        return None
    record = read_yaml(file)
    used = record.get("arithmetic")
    # Before there was a choice, nothing was compiled here but by a GPU.
    choice = record.get("compile", "off")
    subject = {key: record[key] for key in _SUBJECT if key in record}
    lost = record.get("replay_lost", [])
    return _Begun(subject, lost, choice, used if isinstance(used, dict) and "products" in used else None)


class Adaptation:
    """Policies for some tasks, being trained.

    Args:
        loaded: the run, its folder locked by the caller.
        tasks: K names or functions.
        progress: told what happens.
        compiling: how updates are made (:func:`compiling_of`); None = as the loaded run's settings say.
        used: what is computed with (:func:`arithmetic_of`); None = it is not recorded.
    """

    def __init__(
        self,
        loaded: LoadedRun,
        tasks: Sequence[Task],
        progress: Progress,
        compiling: Compiling | None = None,
        used: Mapping[str, Any] | None = None,
    ) -> None:
        self.loaded, self.tasks, self.progress = loaded, tuple(tasks), progress
        self.names = tuple(map(name_of, tasks))
        self.folder = folder_of(loaded.run.path, tasks)
        self.compiling, self._used = compiling or Compiling(loaded.config), used
        config = self.compiling.config
        held = loaded.replay(progress.note)
        self._lost = [list(span) for span in held.lost]
        replay = relabelled(held, loaded.family.spec, self.tasks)
        self.rng = np.random.default_rng(seed_for(config.seed, "replay", _STREAM))
        torch.manual_seed(seed_for(config.seed, "torch", _STREAM))
        self.adapter = adapter_for(loaded, self.names, config, self.compiling.costs)
        self.feed = Feed(replay, self.rng, config.train.adapt_batch, config.train.length, config.device)
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.train.keep)
        self.updates = 0

    @property
    def record(self) -> dict[str, Any]:
        """What the policies belong to and how they are trained: anew where that has changed, but for ``arithmetic``."""
        record = {**_subject(self.loaded, self.tasks), "compile": self.compiling.config.train.compile}
        record |= {"replay_lost": self._lost} if self._lost else {}
        return record | ({"arithmetic": dict(self._used)} if self._used else {})

    def run(self, updates: int) -> Outcome:
        """Train up to ``updates`` updates in all.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; saved.
            SaveFailed: the disk is full, say.
        """
        with saving(f"policies in {self.folder}"):
            self._claim()
            sink = JsonlSink(self.folder / "metrics.jsonl")
        try:
            if not self.checkpoints.newest(lambda state: self._restore(state, sink), self.progress.note):
                sink.restore({})
            elif self.updates >= updates:
                return Outcome.SKIPPED
            else:
                self.progress.note(f"going on from {self.updates:,} updates")
            self._note_arithmetic()
            self._train(updates, sink)
        finally:
            sink.close()
            self.progress.close()
        return Outcome.FINISHED

    def _train(self, updates: int, sink: JsonlSink) -> None:
        means, not_finite = Means(lambda key: self.names), NotFinite()
        log_every = self.loaded.config.train.log_every
        if self.compiling.told:
            self.progress.note(self.compiling.told)
        self.progress.start()
        with StopSignals() as stop:
            while self.updates < updates and not stop.requested:
                means.add(self.adapter.update(self.feed.next()))
                self.updates += 1
                if self.updates % log_every == 0 or self.updates == updates:
                    row = means.take()
                    at = {"step": self.loaded.step, "updates": self.updates}
                    if told := not_finite.line({**at, **row}):
                        self.progress.note(told)
                    sink.write({**at, **row})
                    self.progress.metrics(row)
                if self.updates % SAVE_EVERY == 0 and self.updates < updates:
                    self._save(sink)
                self.progress.update(self.updates, self.updates, lambda: "", "adapt")
            self._save(sink)
        if stop.number is not None and self.updates < updates:
            self.progress.note(f"stopped and saved at {self.updates:,} updates; the same command goes on from here")
            raise Interrupted(stop.number)

    def _claim(self) -> None:
        """Write what the folder belongs to; policies of another model or another function are given up."""
        file = self.folder / "tasks.yaml"
        if file.is_file():
            begun = _begun(self.folder)
            now = (_subject(self.loaded, self.tasks), self._lost, self.compiling.config.train.compile)
            if begun is not None and begun[:3] == now:
                return
            self.progress.note("the model, its replay or a task has changed since these were trained: starting anew")
            shutil.rmtree(self.checkpoints.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_yaml(file, self.record)

    def _note_arithmetic(self) -> None:
        """Record what is computed with from now on: what the next command stays with."""
        begun = _begun(self.folder)
        if self._used and (begun is None or begun.arithmetic != self._used):
            with saving(f"policies in {self.folder}"):
                write_yaml(self.folder / "tasks.yaml", self.record)

    def _save(self, sink: JsonlSink) -> None:
        tasks = self.folder / "tasks.yaml"
        self.loaded.run.check_there(sink.gone(), None if tasks.is_file() else tasks)
        state = {
            "adapter": self.adapter.state_dict(),
            "updates": self.updates,
            "replay": self.rng.bit_generator.state,
            "torch": torch_state(),
            "sink": sink.sync(),
        }
        with saving(f"policies in {self.folder}"):
            self.checkpoints.save(state, self.updates, 0, {})

    def _restore(self, state: Mapping[str, Any], sink: JsonlSink) -> bool:
        check_fit(state["adapter"], self.adapter.state_dict(), "policies")
        self.adapter.load_state_dict(state["adapter"])
        self.updates = int(state["updates"])
        self.rng.bit_generator.state = state["replay"]
        load_torch_state(state["torch"])
        missing = sink.restore(state["sink"])
        if missing:
            tell_loss(self.progress.note, missing)
        return True


def adapted_sets(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The folders and records of all adapted policies of a run, oldest first.

    Raises:
        UserError: a ``tasks.yaml`` that cannot be read.
    """
    found = []
    for file in sorted(run.glob("adapted/*/tasks.yaml"), key=lambda path: path.stat().st_mtime):
        record = read_yaml(file)
        kinds = {"tasks": list, "functions": dict, "model": dict}
        if not all(isinstance(record.get(key), kind) for key, kind in kinds.items()):
            raise UserError(f"{file} cannot be read: it lacks tasks, functions or model")
        # Tasks of these names were once called by them.
        record["tasks"] = [task_name(task) if task in (ALL, EXPLORER) else task for task in record["tasks"]]
        found.append((file.parent, record))
    return found


def load_adapted(
    loaded: LoadedRun, folder: Path, names: Sequence[str], note: Callable[[str], None]
) -> TaskAdapter | None:
    """The policies of one adapted folder; None where no checkpoint has been saved yet."""
    adapter = adapter_for(loaded, names)

    def use(state: dict[str, Any]) -> bool:
        check_fit(state["adapter"], adapter.state_dict(), "policies")
        adapter.load_state_dict(state["adapter"])
        return True

    checkpoints = Checkpoints(folder / "checkpoints", loaded.config.train.keep)
    return adapter if checkpoints.newest(use, note) else None
