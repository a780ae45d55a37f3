"""Training task policies from a finished exploration: a frozen world model and its replay, and no environment.

Called by ``waker adapt``; ``waker evaluate`` loads what it leaves. Each set of tasks has a folder of its own below the
run, ``adapted/<tasks>/``, with ``tasks.yaml``, ``metrics.jsonl`` and checkpoints; the same command goes on where it
stopped. It is carried out, resumed and saved by the loop that trains a run (:mod:`waker.training.loop`), without the
part of it that explores.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from waker.agent.task_adapter import TaskAdapter
from waker.config.schema import CompileSetting, Config
from waker.errors import UserError
from waker.loggers import make_sink
from waker.machine import arithmetic
from waker.machine.compile_costs import Costs
from waker.names import ALL, EXPLORER, joined_part, task_name
from waker.replay.feed import Feed
from waker.replay.relabel import TaskFunction, load_task, relabelled
from waker.replay.ring import Replay
from waker.seeding import load_torch_state, seed_for, torch_state
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import saving, sha256
from waker.storage.run_folder import read_config
from waker.storage.sealed import read_yaml, write_yaml
from waker.storage.state_shapes import check_fit
from waker.terminal.notices import tell_loss
from waker.terminal.progress import Progress
from waker.terminal.signals import StopSignals
from waker.training.adapted import load_into
from waker.training.compile_choice import Compiling, adapt_calls, decide
from waker.training.loading import LoadedRun, recorded_arithmetic, with_free_products
from waker.training.loop import Outcome, adapt, to_its_end
from waker.training.row_writer import Metrics
from waker.training.work_due import Every

SAVE_EVERY = 500
"""Updates between checkpoints."""
DEFAULT_UPDATES = 1_000
"""For runs whose own settings name no number (they trained their task policies alongside)."""
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
    if earlier.parent == place and earlier.name != "..":
        try:
            if _begun(earlier).get("tasks") == names:
                return earlier
        except OSError:  # no such path can be: too long a name, say
            pass
    return place / joined_part(names)


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
        note: given a line for each thing that is not as it was.

    Returns:
        The record of what is used; see :func:`waker.machine.arithmetic.settle`.
    """
    begun = _begun(folder_of(loaded.run.path, tasks), _subject(loaded, tasks))
    # Once they had the run's.
    recorded = begun.get("arithmetic", recorded_arithmetic(loaded.run.path)) if begun else None
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
        note: given a line later, when something is compiled.

    Raises:
        UserError: they were not compiled so far and shall be now, or the other way round; or see ``decide``.
    """
    before = _begun(folder_of(loaded.run.path, tasks), _subject(loaded, tasks)).get("compile")
    if before is not None and asked not in (None, "auto", before):
        raise UserError(
            f"the policies in {folder_of(loaded.run.path, tasks)} were trained with compile {before!r} so far; leave "
            "out --compile to go on from there, or remove that folder"
        )
    ours = read_config(loaded.run.path).train.compile
    if torch.device(loaded.config.device).type == "cpu" and ours in ("graphs", "reduce-overhead"):
        ours = "off"
    train = dataclasses.replace(loaded.config.train, compile=asked or before or ours)
    config = dataclasses.replace(loaded.config, train=train)
    return decide(config, loaded.family.spec, adapt_calls(config, updates), note, before, tuple(map(name_of, tasks)))


def _subject(loaded: LoadedRun, tasks: Sequence[Task]) -> dict[str, Any]:
    """What policies belong to; they are trained anew where it has changed."""
    functions = {
        t.name: {"source": t.source, "sha256": sha256(Path(t.source.rpartition(":")[0]))}
        for t in tasks
        if isinstance(t, TaskFunction)
    }
    model = {"step": loaded.step, "updates": loaded.updates}
    return {"tasks": list(map(name_of, tasks)), "functions": functions, "model": model}


def _begun(folder: Path, subject: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The record of a folder (``tasks.yaml``); empty where there is none, or it is of another ``subject``.

    It holds the subject (:func:`_subject`); ``compile``, how updates are made; ``arithmetic``, what is computed with;
    and ``replay_lost``, the ticks of the replay that the policies are trained without.

    Raises:
        UserError: it cannot be read.
    """
    file = folder / "tasks.yaml"
    # Before there was a choice, nothing was compiled here but by a GPU.
    record = {"compile": "off", **read_yaml(file)} if file.is_file() else {}
    if "products" not in (record.get("arithmetic") or {}):
        record.pop("arithmetic", None)
    return record if all(record.get(key) == value for key, value in (subject or {}).items()) else {}


class Adaptation:
    """Policies for some tasks, being trained.

    What they learn from is settled by :meth:`_taught`, :meth:`_fresh` and :meth:`_record`;
    :mod:`waker.training.adapt_preferences` has them learn from answers.

    Args:
        loaded: the run, its folder locked by the caller.
        tasks: K names or functions.
        progress: shows where it is.
        compiling: how updates are made (:func:`compiling_of`); None = as the loaded run's settings say.
        used: what is computed with (:func:`arithmetic_of`); None = it is not recorded.
    """

    _changed = "the model, its replay or a task has changed since these were trained: starting anew"

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
        replay = self._taught(held)
        self.rng = np.random.default_rng(seed_for(config.seed, "replay", _STREAM))
        torch.manual_seed(seed_for(config.seed, "torch", _STREAM))
        self.adapter = self._fresh(config)
        self.feed = Feed(replay, self.rng, config.train.adapt_batch, config.train.length, config.device)
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.train.keep)
        self.save_clock = Every(SAVE_EVERY)
        self.updates, self.wanted, self.finished = 0, 0, False

    def _taught(self, held: Replay) -> Replay:
        """The run's replay with the rewards that heads are fitted to."""
        return relabelled(held, self.loaded.family.spec, self.tasks)

    def _fresh(self, config: Config) -> Any:
        """What is trained, a :class:`TaskAdapter` here; its weights are drawn from torch's generator."""
        return adapter_for(self.loaded, self.names, config, self.compiling.costs)

    def run(self, updates: int) -> Outcome:
        """Train up to ``updates`` updates in all.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; saved.
            SaveFailed: the disk is full, say.
        """
        self.wanted = updates
        with saving(f"policies in {self.folder}"):
            self._claim()
            self.metrics = Metrics(
                make_sink((), self.folder, "", {}), lambda key: self.names, self.progress, self.folder
            )
        with StopSignals() as stop, closing(self):
            return to_its_end(self, Adaptation._work, stop)

    def _work(self, stop: StopSignals) -> None:
        if self.compiling.told:
            self.progress.note(self.compiling.told)
        adapt(self, stop)
        if not stop.requested:
            self.finished = True
            self.save()

    @property
    def place(self) -> str:
        """How far it is."""
        return f"{self.updates:,} updates"

    @property
    def adapting(self) -> bool:
        """Whether there are updates to make."""
        return self.updates < self.wanted

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint; the last one is the end's."""
        return self.adapting and self.save_clock.due(self.updates)

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint, if there is one, and return whether there was."""
        found = self.checkpoints.newest(self._restore, self.progress.note)
        if found is None:
            self.metrics.sink.restore({})
        elif not self.finished:
            self.progress.note(f"going on from {self.place}")
        if not self.finished:
            self._note_arithmetic()
        return found is not None

    def adapt(self) -> None:
        """One update, and a metric row when it is time."""
        self.metrics.means.add(self._update())
        self.updates += 1
        if self.updates % self.loaded.config.train.log_every == 0 or not self.adapting:
            self.metrics.write(self.loaded.step, self.updates)
        self.progress.update(self.updates, self._before + self.updates, lambda: "", "adapt")

    def _update(self) -> dict[str, Tensor]:
        return self.adapter.update(self.feed.next())

    def save(self) -> Path:
        """Save everything: metrics first, then the checkpoint.

        Raises:
            SaveFailed: the disk is full, say; or the folder was removed.
        """
        tasks, sink = self.folder / "tasks.yaml", self.metrics.sink
        self.loaded.run.check_there(sink.rows.gone(), None if tasks.is_file() else tasks)
        self.save_clock.mark(self.updates)
        with saving(f"policies in {self.folder}"):
            state = {
                "adapter": self.adapter.state_dict(),
                "updates": self.updates,
                "replay": self.rng.bit_generator.state,
                "torch": torch_state(),
                "sink": sink.sync()["jsonl"],
                **self._more_state(),
            }
            return self.checkpoints.save(state, self.updates, self._before, {})

    @property
    def _before(self) -> int:
        """Updates of another kind that went before those of policies."""
        return 0

    def _more_state(self) -> dict[str, Any]:
        """What else a checkpoint holds."""
        return {}

    def close(self) -> None:
        """Close the metrics and the display."""
        self.metrics.sink.close()
        self.progress.close()

    def _restore(self, state: Mapping[str, Any]) -> bool:
        check_fit(state["adapter"], self.adapter.state_dict(), "policies")
        self.adapter.load_state_dict(state["adapter"])
        self.updates = int(state["updates"])
        self.finished = not self.adapting
        self.save_clock.mark(self.updates)
        self.rng.bit_generator.state = state["replay"]
        load_torch_state(state["torch"])
        if missing := self.metrics.sink.restore({"jsonl": state["sink"]}):
            tell_loss(self.progress.note, missing)
        return True

    def _record(self) -> dict[str, Any]:
        """What the policies belong to and how they are trained: anew where that has changed, but for ``arithmetic``."""
        record = {**_subject(self.loaded, self.tasks), "compile": self.compiling.config.train.compile}
        record |= {"replay_lost": self._lost} if self._lost else {}
        return record | ({"arithmetic": dict(self._used)} if self._used else {})

    def _claim(self) -> None:
        """Write what the folder belongs to; policies of another model or another function are given up."""
        if begun := _begun(self.folder):
            now = self._record()
            if all(begun.get(key) == now.get(key) for key in {*begun, *now} - {"arithmetic"}):
                return
            self.progress.note(self._changed)
            shutil.rmtree(self.checkpoints.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_yaml(self.folder / "tasks.yaml", self._record())

    def _note_arithmetic(self) -> None:
        """Record what is computed with from now on: what the next command stays with."""
        if self._used and _begun(self.folder).get("arithmetic") != self._used:
            with saving(f"policies in {self.folder}"):
                write_yaml(self.folder / "tasks.yaml", self._record())


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


def remembered(record: Mapping[str, Any], name: str) -> TaskFunction:
    """The function that policies were trained for, from the file it was in.

    Args:
        record: of the policies' folder.
        name: the task's.

    Raises:
        UserError: the file is not there, is another one now, or cannot be imported.
    """
    entry = record["functions"][name]
    source, file = str(entry["source"]), Path(str(entry["source"]).rpartition(":")[0])
    if not file.is_file():
        named = f"--task-module FILE:{source.rpartition(':')[2]}"
        raise UserError(f"{file} is no longer there: name it where it is now, {named}")
    if sha256(file) != entry["sha256"]:
        raise UserError(
            f"{file} has changed since its policy was trained: `waker adapt` it again, or measure it by the new "
            f"function with --task-module {source}"
        )
    return load_task(source)


def load_adapted(
    loaded: LoadedRun, folder: Path, names: Sequence[str], note: Callable[[str], None]
) -> TaskAdapter | None:
    """The policies of one adapted folder; None where no checkpoint has been saved yet."""
    return load_into(adapter_for(loaded, names), loaded, folder, note)
