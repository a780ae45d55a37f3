"""What a logger is: a class of this shape, one file each, found by name (:mod:`waker.loggers.registry`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waker.storage.metrics_file import Metrics

METRICS_FILE = "metrics.jsonl"
"""In a run folder: every row; reports are made from it, and loggers may read it."""


EVALUATION = "evaluation/"
"""How the keys of an evaluation's row begin: ``evaluation/<quantity>/<task>``."""


class Sink(Protocol):
    """Receives rows of metrics: those of updates, and one for each evaluation, whose keys begin with
    :data:`EVALUATION`."""

    def write(self, row: Metrics) -> None:
        """One row; ``step`` and ``updates`` are among its keys, and neither ever falls."""

    def sync(self) -> dict[str, Any]:
        """Make what was written durable; the state that a checkpoint keeps."""

    def restore(self, state: Mapping[str, Any]) -> str:
        """Forget rows after the checkpoint that ``state`` belongs to (empty = all rows).

        Returns:
            One line about rows before it that are missing; empty where none are.
        """

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class FilmSink(Protocol):
    """A logger that shows films, too."""

    def film(self, key: str, frames: NDArray[np.uint8], row: Metrics) -> None:
        """Real futures above imagined ones, after the evaluation's row was written.

        Args:
            key: what it is called.
            frames: (T, height, width, 3).
            row: ``step`` and ``updates`` of the evaluation.
        """


class SinkFactory(Protocol):
    """A logger's class.

    Its attribute ``needs``, where it has one, names packages that must be installed. Its attribute ``Own``, where it
    has one, is a frozen dataclass of numbers and names of its own, every field with a default; it is then called with
    ``settings``, an instance of it, which ``--sinks.NAME.FIELD VALUE`` sets.
    """

    def __call__(self, folder: Path, name: str, config: Mapping[str, Any], **settings: Any) -> Sink:
        """Make it: the run folder, what the run is called, the resolved configuration, and ``settings`` if any."""
