"""A policy for a task that is given by preferences: a reward head from answers, then imagination as for any task.

Called by ``waker adapt RUN --preferences FILE``. It is an :class:`~waker.training.adapt.Adaptation` that fits its head
first, to a criterion, and policies on it afterwards; the folder is ``adapted/<name>/``, and its record holds the file's
SHA-256. How the fit ended is in ``head.json`` there. Other methods that make a policy of answers are in
:mod:`waker.training.methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from waker.agent.head_fit import HeadFit, HeadSettings
from waker.agent.preference_adapter import PreferenceAdapter
from waker.config.schema import Config
from waker.errors import UserError
from waker.names import ALL, EXPLORER, task_name
from waker.preferences import table
from waker.preferences.imagined import segments_in
from waker.preferences.segments import ended
from waker.replay.ring import Replay
from waker.seeding import seed_for
from waker.settings import Settings
from waker.storage.files import saving, sha256
from waker.storage.sealed import read_yaml, write_json
from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation, adapted_sets, folder_of
from waker.training.adapted import Adapted, load_into
from waker.training.compile_choice import Compiling
from waker.training.loading import LoadedRun
from waker.training.preference_methods import find_method

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
        settings: of the head; without a head its share of errors alone counts.
        method: how a policy is made of the answers.
        own: that method's settings; None = it has none.
        judged: whether the method fits a head.
        asked: that the segments lie in; None = the run's replay.
    """

    name: str
    file: Path
    sha256: str
    answers: table.Answers
    counts: Mapping[str, int]
    settings: HeadSettings
    method: str = "head"
    own: Any = None
    judged: bool = True
    asked: Replay | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What the policies belong to: they are trained anew where it has changed. The file's place is none of it."""
        about: dict[str, Any] = {"sha256": self.sha256, "method": self.method}
        about |= {"head": asdict(self.settings)} if self.judged else {"error": self.settings.error}
        return {**about, "settings": plain(vars(self.own))} if isinstance(self.own, Settings) else about


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as YAML gives them back: lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def lesson(
    loaded: LoadedRun,
    name: str,
    file: Path,
    settings: HeadSettings,
    note: Callable[[str], None],
    method: str = "head",
    own: Any = None,
) -> Lesson:
    """Read a file of answers for a run.

    Args:
        name: of the task; none of the environment's.
        file: see :mod:`waker.preferences.table`.
        note: told of damage to the replay.
        method, own: how a policy is made of them, and that method's settings.

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
    replay = loaded.replay(note)
    asked = segments_in(file, frame, replay)
    table.check_of_run(file, frame, loaded.run.name, asked)
    answers, judged = table.answers_of(file, frame), find_method(method).judged
    counts = table.counts(frame)
    return Lesson(name, file, sha256(file), answers, counts, settings, method, own, judged, asked)


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
        self.asked = lesson.asked or self.feed.replay
        self.fit = self._head_fit() if lesson.judged else None
        pairs = lesson.answers.pairs
        self._ended = int((ended(self.asked, pairs.first) | ended(self.asked, pairs.second)).sum())

    def _head_fit(self) -> HeadFit:
        """The head's fit, from its beginning."""
        train, lesson = self.loaded.config.train, self.lesson
        seed = seed_for(self.loaded.config.seed, "torch", _STREAM)
        model, heads = self.loaded.agent.model, self.adapter.heads
        return HeadFit(model, heads, self.feed.replay, lesson.answers, lesson.settings, train.length, seed, self.asked)

    def _taught(self, held: Replay) -> Replay:
        """The run's replay without any reward: what is learned from are answers."""
        return held.replaced("task_rewards", np.zeros((held.slots, held.size, 1), np.float32))

    def _fresh(self, config: Config) -> Any:
        return head_adapter(self.loaded, self.lesson.name, self.lesson.settings.members, config, self.compiling)

    @property
    def fitted(self) -> bool:
        """Whether the head is, or none is asked for."""
        return self.fit is None or self.fit.finished

    @property
    def place(self) -> str:
        """How far it is."""
        return super().place if self.fitted else f"{self._before:,} updates of the head"

    @property
    def adapting(self) -> bool:
        """Whether there are updates to make, of the head or of policies."""
        return not self.fitted or super().adapting

    def adapt(self) -> None:
        """Some updates of the head, until it is fitted; then one of policies."""
        if self.fit is None or self.fit.finished:
            super().adapt()
        elif self.fit.step():
            self._fitted(self.fit)
        else:
            self.progress.update(0, self.fit.updates, lambda: self.fit.told if self.fit else "", "fit")

    def _fitted(self, fit: HeadFit) -> None:
        """Tell and keep how the fit ended, and save: it is not made twice."""
        self.progress.note(fit.told)
        if fit.updates >= self.lesson.settings.most:
            self.progress.note("the head was still learning when its updates ended")
        if not fit.pinned:
            self.progress.note(
                "all pairs have segments of equal length, which leave a constant of the reward free: the median state "
                "of the replay is taken to pay 0"
            )
        with saving(f"the head in {self.folder}"):
            told = {"file": str(self.lesson.file), **self.lesson.record, **self.lesson.counts}
            write_json(self.folder / "head.json", {**told, "pairs_with_an_end": self._ended, **fit.record()}, 1)
        self.save()

    @property
    def _before(self) -> int:
        return 0 if self.fit is None else self.fit.updates

    def _more_state(self) -> dict[str, Any]:
        return {} if self.fit is None else {"fit": self.fit.state_dict()}

    def _restore(self, state: Mapping[str, Any]) -> bool:
        if self.fit is not None:
            self.fit.load_state_dict(state["fit"])
        return super()._restore(state)

    def _record(self) -> dict[str, Any]:
        return {**super()._record(), "preferences": self.lesson.record}


def head_adapter(
    loaded: LoadedRun, name: str, members: int, config: Config | None = None, compiling: Compiling | None = None
) -> PreferenceAdapter:
    """A fresh head of so many members, and a fresh policy."""
    costs = compiling.costs if compiling else None
    return PreferenceAdapter(loaded.agent.model, loaded.family.spec, config or loaded.config, name, members, costs)


def members_of(folder: Path, record: Mapping[str, Any]) -> int:
    """Of the head in a folder.

    Raises:
        UserError: its record lacks them.
    """
    of_head = record["preferences"].get("head")
    if not isinstance(of_head, dict) or not isinstance(of_head.get("members"), int):
        raise UserError(f"{folder / 'tasks.yaml'} cannot be read: it lacks the head's members")
    return int(of_head["members"])


def load_taught(
    loaded: LoadedRun, folder: Path, record: Mapping[str, Any], note: Callable[[str], None]
) -> Adapted | None:
    """The policy, and the head if there is one, of a folder that was adapted to preferences.

    Args:
        record: its ``tasks.yaml``.

    Returns:
        None where no policy has been saved yet.

    Raises:
        UserError: the record lacks something, or names a method that is not there.
    """
    method = find_method(str(record["preferences"].get("method", "head")))
    found = load_into(method.fresh(loaded, folder, record), loaded, folder, note)
    return found if found and found.updates else None  # stopped while the head was fitted


def taught(loaded: LoadedRun, name: str, note: Callable[[str], None]) -> Adapted:
    """The newest policy of preferences on the run's present model.

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
