"""A policy for a task that is given by preferences: a reward head from answers, then imagination as for any task.

Called by ``waker adapt RUN --preferences FILE``. It is an :class:`~waker.training.adapt.Adaptation` that fits its head
first, to a criterion, and policies on it afterwards; the folder is ``adapted/<name>/``, and its record holds the file's
SHA-256. How the fit ended is in ``head.json`` there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from waker.agent.head_fit import CHECK, HeadFit, HeadSettings
from waker.agent.preference_adapter import PreferenceAdapter
from waker.agent.task_adapter import TaskAdapter
from waker.config.schema import Config
from waker.errors import UserError
from waker.names import ALL, EXPLORER, task_name
from waker.preferences import table
from waker.preferences.segments import ended
from waker.replay.ring import Replay
from waker.seeding import seed_for
from waker.storage.files import saving, sha256
from waker.storage.sealed import read_yaml, write_json
from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation, adapted_sets, folder_of, load_adapted
from waker.training.compile_choice import Compiling
from waker.training.loading import LoadedRun

METHODS = ("head",)
_STREAM = 2
"""Sets the chance of a head's fit apart from that of policies."""


@dataclass(frozen=True)
class Lesson:
    """What is learned from, and how.

    Attributes:
        name: of the task.
        file: of the answers.
        sha256: of that file.
        answers: what it says, without the truth.
        counts: of queries, answers, ties.
        settings: of the head.
        method: how a policy is made of the answers.
    """

    name: str
    file: Path
    sha256: str
    answers: table.Answers
    counts: Mapping[str, int]
    settings: HeadSettings
    method: str = "head"

    @property
    def record(self) -> dict[str, Any]:
        """What the policies belong to: they are trained anew where it has changed. The file's place is none of it."""
        return {"sha256": self.sha256, "method": self.method, "head": asdict(self.settings)}


def lesson(
    loaded: LoadedRun, name: str, file: Path, settings: HeadSettings, note: Callable[[str], None], method: str = "head"
) -> Lesson:
    """Read a file of answers for a run.

    Args:
        name: of the task; none of the environment's.
        file: see :mod:`waker.preferences.table`.
        note: told of damage to the replay.

    Raises:
        UserError: the file is not there, malformed, of another run, empty, half-answered, or says nothing; or the name
            is taken.
    """
    if name in (*loaded.family.spec.tasks, ALL, EXPLORER) or task_name(name) != name:
        raise UserError(f"a task of preferences needs a name of its own: {name!r} is taken; choose another --name")
    record = folder_of(loaded.run.path, [name]) / "tasks.yaml"
    if record.is_file() and "preferences" not in read_yaml(record):
        raise UserError(f"{record.parent} holds policies of a reward function; choose another --name")
    frame = table.read(file)
    table.check_of_run(file, frame, loaded.run.name, loaded.replay(note))
    return Lesson(name, file, sha256(file), table.answers_of(file, frame), table.counts(frame), settings, method)


class PreferenceAdaptation(Adaptation):
    """A head being fitted to answers, and then a policy being trained on it.

    Args:
        loaded: the run, its folder locked by the caller.
        lesson: what it learns from.
        progress: shows where it is.
        compiling, used: as of :class:`~waker.training.adapt.Adaptation`.
    """

    _changed = "the model, its replay, the answers or how they are learned from has changed: starting anew"

    def __init__(
        self,
        loaded: LoadedRun,
        lesson: Lesson,
        progress: Progress,
        compiling: Compiling | None = None,
        used: Mapping[str, Any] | None = None,
    ) -> None:
        self.lesson = lesson
        super().__init__(loaded, [lesson.name], progress, compiling, used)
        assert isinstance(self.adapter, PreferenceAdapter)
        train, replay = loaded.config.train, self.feed.replay
        seed = seed_for(loaded.config.seed, "torch", _STREAM)
        self.fit = HeadFit(
            loaded.agent.model, self.adapter.heads, replay, lesson.answers, lesson.settings, train.length, seed
        )
        pairs = lesson.answers.pairs
        self._ended = int((ended(replay, pairs.first) | ended(replay, pairs.second)).sum())

    def _taught(self, held: Replay) -> Replay:
        """The run's replay without any reward: what is learned from are answers."""
        return held.replaced("task_rewards", np.zeros((held.slots, held.size, 1), np.float32))

    def _fresh(self, config: Config) -> TaskAdapter:
        return _adapter(self.loaded, self.lesson.name, self.lesson.settings.members, config, self.compiling)

    @property
    def place(self) -> str:
        """How far it is."""
        return super().place if self.fit.finished else f"{self.fit.updates:,} updates of the head"

    @property
    def adapting(self) -> bool:
        """Whether there are updates to make, of the head or of policies."""
        return not self.fit.finished or super().adapting

    def adapt(self) -> None:
        """Some updates of the head, until it is fitted; then one of policies."""
        if self.fit.finished:
            super().adapt()
            return
        if self.fit.step():
            self._fitted()
        else:
            self.progress.update(0, self.fit.updates, lambda: self.fit.told, "fit")

    def _fitted(self) -> None:
        """Tell and keep how the fit ended, and save: it is not made twice."""
        self.progress.note(self.fit.told)
        if self.fit.updates >= self.lesson.settings.most:
            self.progress.note("the head was still learning when its updates ended")
        if not self.fit.pinned:
            self.progress.note(
                "all pairs have segments of equal length, which leave a constant of the reward free: the median state "
                "of the replay is taken to pay 0"
            )
        with saving(f"the head in {self.folder}"):
            told = {"file": str(self.lesson.file), **self.lesson.record, **self.lesson.counts}
            write_json(self.folder / "head.json", {**told, "pairs_with_an_end": self._ended, **self.fit.record()}, 1)
        self.save()

    @property
    def _before(self) -> int:
        return self.fit.updates

    def _more_state(self) -> dict[str, Any]:
        return {"fit": self.fit.state_dict()}

    def _restore(self, state: Mapping[str, Any]) -> bool:
        self.fit.load_state_dict(state["fit"])
        return super()._restore(state)

    def _record(self) -> dict[str, Any]:
        return {**super()._record(), "preferences": self.lesson.record}


def _adapter(
    loaded: LoadedRun, name: str, members: int, config: Config | None = None, compiling: Compiling | None = None
) -> PreferenceAdapter:
    costs = compiling.costs if compiling else None
    return PreferenceAdapter(loaded.agent.model, loaded.family.spec, config or loaded.config, name, members, costs)


def load_taught(
    loaded: LoadedRun, folder: Path, record: Mapping[str, Any], note: Callable[[str], None]
) -> TaskAdapter | None:
    """The head and policy of one folder that was adapted to preferences; None where no policy has been saved yet.

    Args:
        record: its ``tasks.yaml``.

    Raises:
        UserError: the record lacks something.
    """
    (name,), of_head = record["tasks"], record["preferences"].get("head")
    if record["preferences"].get("method") == "features":  # an ordinary head was fitted to a linear reward
        return load_adapted(loaded, folder, [name], note)
    if not isinstance(of_head, dict) or not isinstance(of_head.get("members"), int):
        raise UserError(f"{folder / 'tasks.yaml'} cannot be read: it lacks the head's members")
    adapter = _adapter(loaded, name, of_head["members"])
    found = load_adapted(loaded, folder, [name], note, adapter)
    return adapter if found and adapter.updates else None  # stopped while the head was fitted


def taught(loaded: LoadedRun, name: str, note: Callable[[str], None]) -> TaskAdapter:
    """The newest head and policy of preferences on the run's present model.

    Args:
        name: of the task; empty = the one adapted last.

    Raises:
        UserError: there is none.
    """
    for folder, record in reversed(adapted_sets(loaded.run.path)):
        if "preferences" not in record or (name and record["tasks"] != [name]):
            continue
        if record["model"]["updates"] != loaded.updates:
            continue
        if (adapter := load_taught(loaded, folder, record, note)) is not None:
            return adapter
    of = f"of {name!r} " if name else ""
    raise UserError(
        f"{loaded.run.path} has no head {of}that could choose queries: ask by --rule uniform first, and `waker adapt` "
        "the answers"
    )


__all__ = ["CHECK", "METHODS", "Lesson", "PreferenceAdaptation", "lesson", "load_taught", "taught"]
