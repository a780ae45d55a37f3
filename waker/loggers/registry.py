"""Loggers by name: how a run gets those that ``--sinks`` asks for, and how a new one is added.

A logger is a class in one file (:mod:`waker.loggers.api`): a file in ``waker/loggers/named/`` with
:func:`register_sink`, an entry point in the group ``waker.loggers``, or ``--sinks file.py:Class``; see
:mod:`waker.plug_ins`. ``metrics.jsonl`` is always written. Evaluations go to all others: what they are made of is in
the run's tables.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError, unknown
from waker.loggers.api import FilmSink, Sink, SinkFactory
from waker.plug_ins import Registry
from waker.settings import from_plain
from waker.storage.metrics_file import JsonlSink, Metrics
from waker_envs.file_source import source_name
from waker_envs.foreign import foreign, leniently, reason_of

SINKS: Registry[SinkFactory] = Registry("sink", "waker.loggers.named", "waker.loggers")
register_sink = SINKS.register
"""Decorator that puts a logger's class under a name."""


class MultiSink:
    """Several sinks as one. One that fails, other than metrics.jsonl, is reported and left out from then on."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self.sinks = dict(sinks)

    def write(self, row: Metrics) -> None:
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                sink.write(row)

    @property
    def others(self) -> bool:
        """Whether there are any beside metrics.jsonl."""
        return any(not isinstance(sink, JsonlSink) for sink in self.sinks.values())

    def evaluated(self, row: Metrics, film: NDArray[np.uint8] | None, key: str) -> None:
        """An evaluation for all but metrics.jsonl, and its film for those that show films.

        Args:
            row: ``step``, ``updates`` and :data:`~waker.loggers.api.EVALUATION` keys.
            film: (T, height, width, 3); None = there is none.
            key: what the film is called.
        """
        for name, sink in [*self.sinks.items()]:
            if isinstance(sink, JsonlSink):
                continue
            with self._guarded(name):
                sink.write(row)
            if film is not None and name in self.sinks and isinstance(sink, FilmSink):
                with leniently(f"the film in sink {name!r} is left out"):
                    sink.film(key, film, {"step": row["step"], "updates": row["updates"]})

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


def sink_settings(name: str) -> type[Any] | None:
    """The dataclass of a logger's own settings; None = it has none.

    Raises:
        UserError: there is no such logger, or its ``Own`` is no dataclass.
    """
    own: type[Any] | None = getattr(SINKS.find(name), "Own", None)
    if own is not None and not (isinstance(own, type) and dataclasses.is_dataclass(own)):
        raise UserError(f"sink {name!r} cannot be used: its Own is no dataclass")
    return own


def own_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings by logger and name (``wandb.project``) one logger's, by name alone."""
    prefix = f"{source_name(name)}."
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


def check_sinks(names: Sequence[str], given: Mapping[str, Any] | None = None) -> None:
    """Check that loggers exist and that the packages they need are installed, before anything is written.

    Args:
        names: of loggers.
        given: their own settings, ``wandb.project`` → value; those of other loggers are left alone.

    Raises:
        UserError: one does not exist; or a setting that it does not have, or of a logger that nobody knows.
    """
    known = [source_name(name) for name in [*names, *SINKS.names()]]
    for key in given or {}:
        if (name := key.partition(".")[0]) not in known:
            raise unknown("sink", name, known)
    for name in names:
        _settings_of(name, own_settings(name, given or {}))
        for package in getattr(SINKS.find(name), "needs", ()):
            found = importlib.util.find_spec(package)
            if found is None or found.origin is None:  # nothing, or a mere folder of that name
                raise UserError(
                    f"sink {name!r} needs the package {package!r}, which is not installed; 'jsonl' needs none"
                )


def _settings_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The argument ``settings`` of a logger's class, or none where it has no settings.

    Raises:
        UserError: a setting that it does not have, or a value that does not fit.
    """
    kind = sink_settings(name)
    if kind is None:
        if given:
            raise UserError(f"sink {name!r} has no settings of its own, and was given {', '.join(given)}")
        return {}
    return {"settings": from_plain(kind, given, f"sinks.{source_name(name)}.")}


def make_sink(names: Sequence[str], folder: Path, run: str, config: Mapping[str, Any]) -> MultiSink:
    """The loggers of a run folder: always ``metrics.jsonl``, and those named.

    Args:
        names: of loggers.
        folder: the run folder.
        run: the run's name.
        config: the resolved configuration, with loggers' own settings in ``sink_settings``.

    Raises:
        UserError: one cannot be started.
    """
    given = config.get("sink_settings", {})
    sinks: dict[str, Sink] = {}
    for name in ("jsonl", *names):  # first: others read it
        if name not in sinks:
            with foreign(f"sink {name!r}", lambda error: _unstarted(name, error), (OSError, UserError)):  # noqa: B023
                sinks[name] = SINKS.find(name)(folder, run, config, **_settings_of(name, own_settings(name, given)))
    return MultiSink(sinks)


def _unstarted(name: str, error: BaseException) -> UserError:
    return UserError(f"sink {name!r} cannot be started: {reason_of(error)}; leave it out of --sinks")
