"""What a logger is: a class of this shape, one file each, found by name (:mod:`waker.loggers.registry`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from waker.storage.metrics_file import Metrics

METRICS_FILE = "metrics.jsonl"
"""In a run folder: every row; reports are made from it, and loggers may read it."""


class Sink(Protocol):
    """Receives metric rows."""

    def write(self, row: Metrics) -> None:
        """One row; ``step`` and ``updates`` are among its keys."""

    def sync(self) -> dict[str, Any]:
        """Make what was written durable; the state that a checkpoint keeps."""

    def restore(self, state: Mapping[str, Any]) -> str:
        """Forget rows after the checkpoint that ``state`` belongs to (empty = all rows).

        Returns:
            One line about rows before it that are missing; empty where none are.
        """

    def close(self) -> None:
        """Let go of files and connections."""


class SinkFactory(Protocol):
    """A logger's class. Its attribute ``needs``, where it has one, names packages that must be installed."""

    def __call__(self, folder: Path, name: str, config: Mapping[str, Any]) -> Sink:
        """Make it: the run folder, what the run is called, and the resolved configuration."""
