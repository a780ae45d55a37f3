"""Loggers by name: how a run gets those that ``--sinks`` asks for, and how a new one is added.

A logger is a class in one file (:mod:`waker.loggers.api`): here, with a row in :data:`_OURS`; in an installed package
that names it in the entry-point group ``waker.loggers`` (its name there = what ``--sinks`` calls it); or anywhere, by
``--sinks file.py:Class``. ``metrics.jsonl`` is always written.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from waker.errors import UserError, unknown
from waker.loggers.api import METRICS_FILE, Sink, SinkFactory
from waker.storage.metrics_file import JsonlSink, Metrics
from waker_envs.file_source import is_source, load_source
from waker_envs.foreign import foreign, leniently, reason_of

ENTRY_POINT_GROUP = "waker.loggers"
_OURS = (
    EntryPoint("wandb", "waker.loggers.wandb:WandbSink", ENTRY_POINT_GROUP),
    EntryPoint("tensorboard", "waker.loggers.tensorboard:TensorBoardSink", ENTRY_POINT_GROUP),
)


class MultiSink:
    """Several sinks as one. One that fails, other than metrics.jsonl, is reported and left out from then on."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self.sinks = dict(sinks)

    def write(self, row: Metrics) -> None:
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                sink.write(row)

    def sync(self) -> dict[str, Any]:
        states = {}
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                states[name] = sink.sync()
        return states

    def restore(self, state: Mapping[str, Any]) -> str:
        told = []
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                told.append(sink.restore(state.get(name, {})))
        return "; ".join(filter(None, told))

    @property
    def rows(self) -> JsonlSink:
        """The file of rows that reports are made from."""
        sink = self.sinks["jsonl"]
        assert isinstance(sink, JsonlSink)
        return sink

    def close(self) -> None:
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                sink.close()

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        if isinstance(self.sinks[name], JsonlSink):  # ours, and what fails there must end the run
            yield
            return
        done = False
        with leniently(f"sink {name!r} gets no more metrics"):
            yield
            done = True
        if not done:
            del self.sinks[name]


def _factory(name: str) -> SinkFactory:
    """The class of a logger.

    Raises:
        UserError: there is none of that name, or it cannot be imported.
    """
    if is_source(name):
        with foreign(
            f"the import of {name}", lambda error: UserError(f"sink {name!r} cannot be loaded: {reason_of(error)}")
        ):
            of_file: SinkFactory = load_source(name)
        return of_file
    points = {point.name: point for point in (*entry_points(group=ENTRY_POINT_GROUP), *_OURS)}
    if name not in points:
        raise unknown("sink", name, ["jsonl", *points])

    def failed(error: BaseException) -> UserError:
        return UserError(f"sink {name!r} of {points[name].value} cannot be loaded: {reason_of(error)}")

    with foreign(f"the import of {points[name].value}", failed):
        factory: SinkFactory = points[name].load()
    return factory


def check_sinks(names: Sequence[str]) -> None:
    """Check that loggers exist and that the packages they need are installed, before anything is written.

    Raises:
        UserError: one does not.
    """
    for name in names:
        for package in () if name == "jsonl" else getattr(_factory(name), "needs", ()):
            found = importlib.util.find_spec(package)
            if found is None or found.origin is None:  # nothing, or a mere folder of that name
                raise UserError(
                    f"sink {name!r} needs the package {package!r}, which is not installed; 'jsonl' needs none"
                )


def make_sink(names: Sequence[str], folder: Path, run: str, config: Mapping[str, Any]) -> MultiSink:
    """The loggers of a run folder: always ``metrics.jsonl``, and those named.

    Args:
        names: of loggers.
        folder: the run folder.
        run: the run's name.
        config: the resolved configuration.

    Raises:
        UserError: one cannot be started.
    """
    sinks: dict[str, Sink] = {"jsonl": JsonlSink(folder / METRICS_FILE)}  # first: others read it
    for name in names:
        if name not in sinks:
            with foreign(f"sink {name!r}", lambda error: _unstarted(name, error), (OSError, UserError)):  # noqa: B023
                sinks[name] = _factory(name)(folder, run, config)
    return MultiSink(sinks)


def _unstarted(name: str, error: BaseException) -> UserError:
    return UserError(f"sink {name!r} cannot be started: {reason_of(error)}; leave it out of --sinks")
