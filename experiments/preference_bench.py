"""What the arms of :mod:`experiments.preferences` work on: a copy of a run, its laboratory, and all sizes.

Policies are trained by what ``waker adapt`` runs, in the copy, so that one that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.preference_lab import LENGTH, Laboratory
from waker.agent.contrastive_policy import ContrastiveSettings
from waker.agent.head_fit import HeadSettings
from waker.agent.rest_policy import RestSettings
from waker.agent.self_policy import SelfSettings
from waker.preferences import table
from waker.storage.run_folder import RunFolder
from waker.terminal.progress import Progress
from waker.training.adapt import DEFAULT_UPDATES
from waker.training.adapt_preferences import lesson
from waker.training.asking import answer, ask
from waker.training.loading import LoadedRun, load_run
from waker.training.preference_methods import find_method

Row = dict[str, Any]


class Sizes(NamedTuple):
    """How large everything is.

    Attributes:
        queries: N of the arm ``planned``; policies are trained for ``few`` of them.
        head: how heads are fitted.
        updates: of policies that learn by imagination; None = the run's own number.
        cpl, rest, self_: of these methods.
        asked: rounds of asking, and queries of a round.
    """

    queries: tuple[int, ...] = (50, 100, 200, 400, 1000)
    few: tuple[int, ...] = (200, 1000)
    head: HeadSettings = HeadSettings()
    updates: int | None = None
    cpl: ContrastiveSettings = ContrastiveSettings()
    rest: RestSettings = RestSettings()
    self_: SelfSettings = SelfSettings()
    asked: tuple[int, int] = (4, 250)


SMALL = Sizes(
    queries=(30,),
    few=(30,),
    head=HeadSettings(patience=1, most=50),
    updates=2,
    cpl=ContrastiveSettings(clone=1, updates=2),
    rest=RestSettings(clone=1, rounds=2, starts=4, candidates=3, horizon=3, steps=1, levels=(70.0,)),
    self_=SelfSettings(clone=1, rounds=2, starts=4, candidates=3, horizon=3, steps=1),
    asked=(2, 15),
)
"""To see that every arm runs: figures mean nothing."""


class Cell(NamedTuple):
    """Some rows of an arm: ``how`` and ``queries`` tell it from the others, ``make`` computes them."""

    how: str
    queries: int
    make: Callable[[], Iterator[Row]]


class Bench:
    """A copy of a run, its laboratory, and the sizes.

    Args:
        run: a finished run of GridHazards.
        work: where the copy lies; what is trained there stays.
        task: of the environment.
    """

    def __init__(self, run: Path, work: Path, task: str, sizes: Sizes) -> None:
        self.task, self.sizes, self.folder = task, sizes, work / run.name
        if not self.folder.is_dir():
            half = self.folder.with_name(f"{run.name}.part")
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(run, half, ignore=shutil.ignore_patterns("adapted", "*.lock"))
            half.rename(self.folder)
        self.loaded = self.load()
        self.lab = Laboratory(self.loaded, task)
        self.seed = self.loaded.config.seed

    @property
    def updates(self) -> int:
        """Of policies that learn by imagination."""
        return self.sizes.updates or self.loaded.config.train.adapt_updates or DEFAULT_UPDATES

    def load(self) -> LoadedRun:
        """The run as it is on disk."""
        return load_run(self.folder, lambda text: None)

    def rng(self, *number: int) -> np.random.Generator:
        """Of the training seed, and of a number."""
        return np.random.default_rng([self.seed, *number])

    def answered(self, n: int, teacher: str = "oracle", score: str = "return", rule: str = "uniform") -> pd.DataFrame:
        """Queries by a rule, answered."""
        replay = self.loaded.replay(print)
        frame, _ = ask(self.loaded, replay, n, LENGTH, rule, self.seed + n, "", print)
        return answer(self.loaded, replay, frame, teacher, score, self.task, self.seed)

    def train(self, name: str, frame: pd.DataFrame, method: str, own: Any = None, updates: int | None = None,
              error: float = 0.0) -> Any:  # fmt: skip
        """Train a policy by a method of ``waker adapt``, or go on with it.

        Args:
            name: of its folder.
            own: the method's settings.
            updates: in all; None = the method's, or the run's.
            error: share of answers taken to be a coin's.
        """
        file = self.folder / f"{name}.parquet"
        table.write(file, frame)
        kind, head = find_method(method), dataclasses.replace(self.sizes.head, error=error)
        updates = updates or kind.updates(own) or self.updates
        with RunFolder(self.folder, self.loaded.config).locked():
            loaded = self.load()
            taught = lesson(loaded, name, file, head, print, method, own)
            made = kind.adaptation(loaded, taught, Progress(name, updates, quiet=True))
            made.run(updates)
        return made.adapter
