"""The one road of a run's rows: who measured hands them over, here they get their identity and are written.

``waker train`` and ``waker evaluate`` write what they measured by the same :meth:`RowWriter.measured`; ``waker adapt``
its rows of metrics by the same :class:`Metrics`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.logged import evaluation_metrics
from waker.collection.family import Family
from waker.curriculum.api import Columns
from waker.errors import UserError
from waker.evaluation.records import Measurement, describe_space
from waker.loggers import Means, NotFinite
from waker.loggers.api import EVALUATION
from waker.loggers.film import moving_picture
from waker.loggers.registry import MultiSink
from waker.machine.compile_costs import processor_seconds
from waker.storage.files import saving
from waker.storage.run_folder import FILM_FILE, SPACE_FILE, RunFolder, read_record
from waker.storage.salvage import BESIDE, MEASURED, TABLES, counted, newest_counts
from waker.storage.sealed import write_arrays, write_json
from waker.storage.tables import Row, Table, read_rows
from waker.terminal.notices import tell_loss
from waker.terminal.progress import Progress
from waker_envs.foreign import leniently

_UNCHECKED = "saved by an earlier version, without checksums: damage in its rows, metrics and settings is not found"


class RowWriter:
    """A run's tables, each of whose rows begins with the run's columns, agent steps and updates; and its metrics.

    Args:
        run: the folder, locked by the caller.
        metrics: rows of metrics, which belong to whoever trains; None = they are left alone.
        thin: makes snapshots of a curriculum small.
    """

    def __init__(
        self, run: RunFolder, metrics: Metrics | None = None, thin: Callable[[Columns], Columns] | None = None
    ) -> None:
        self._run, self._metrics, self._thin = run, metrics, thin
        self.tables = {name: Table(run.path / f"{name}.parquet") for name in TABLES}
        self._settings: dict[str, Any] = {}  # of config.yaml, for manifests
        self._snapshot: list[int] | None = None  # where the newest one was taken

    def episode(self, row: Row, updates: int) -> None:
        """An episode of training, which has its own ``step``: a row, and a part of the next row of metrics."""
        with saving(f"episodes in {self._run.path}"):
            self.tables["episodes"].append([{**self._run.columns, "updates": updates, **row}])
        if self._metrics is not None:
            means = {f"episode/{key}": row[key] for key in row if key == "length" or key.startswith("return_")}
            self._metrics.means.add(means)

    def snapshot(self, table: Columns, step: int, updates: int) -> None:
        """A curriculum's θ (:meth:`waker.curriculum.api.Curriculum.table`), once for the same steps and updates.

        Nothing where it has none.
        """
        if self._snapshot == [step, updates]:  # an evaluation that comes just after a row of metrics
            return
        self._snapshot = [step, updates]
        with saving(f"rows of curriculum in {self._run.path}"):
            rows = self._thin(table) if table and self._thin else table
            self.tables["curriculum"].append(rows, self._identity(step, updates))

    def measured(self, found: Measurement, step: int, updates: int) -> None:
        """An evaluation; rows of the same step, tasks and policies were measured before and are replaced.

        Raises:
            SaveFailed: it cannot be written.
        """
        with saving(f"the evaluation at step {step:,} of {self._run.path}"):
            for name, rows in zip(MEASURED, (found.evaluation, found.model_error), strict=True):
                if rows:
                    identified = [{**self._identity(step, updates), **row} for row in rows]
                    self.tables[name].replace(identified, functools.partial(_again, rows=identified))
            if found.film:
                write_arrays(self._run.path / FILM_FILE, found.film)

    def save(self) -> dict[str, Any]:
        """Make all rows durable; how far each file is, for a checkpoint: ``tables``, ``sinks`` and ``snapshot``.

        Raises:
            OSError: the rows that were not written still wait.
        """
        tables = {name: table.save() for name, table in self.tables.items()}
        sinks = self._metrics.sink.sync() if self._metrics else {}
        return {"tables": tables, "sinks": sinks, "snapshot": self._snapshot}

    def manifest(self, logs: Mapping[str, Any]) -> dict[str, Any]:
        """What a manifest says of the files beside a checkpoint with these ``logs`` (:meth:`save`)."""
        self._settings = self._settings or read_record(self._run.path)
        files = [name for name in BESIDE if (self._run.path / name).exists()]
        metrics = logs["sinks"]["jsonl"]["bytes"]
        return {"tables": logs["tables"], "metrics": metrics, "files": files, "record": self._settings}

    def gone(self) -> list[Path | None]:
        """Files that were saved and are no longer there."""
        rows = [self._metrics.sink.rows.gone()] if self._metrics else []
        return [*rows, *(table.gone() for table in self.tables.values())]

    def mend(self, note: Callable[[str], None], counts: Mapping[str, Any] | None = None) -> None:
        """Set aside what is damaged of the tables, so that the rest can be read and added to.

        Args:
            note: given a line each.
            counts: how far the tables were at a checkpoint; None = at the newest.

        Raises:
            SaveFailed: it cannot be written.
        """
        counts = newest_counts(self._run.path) if counts is None else counts
        for name, table in self.tables.items():
            with saving(f"what is whole of {table.folder}"):
                for line in table.mend(*counted(counts.get(name, 0))):
                    tell_loss(note, line)

    def restore(self, logs: Mapping[str, Any], step: int, finished: bool, note: Callable[[str], None]) -> None:
        """Cut everything back to a checkpoint, without what is damaged.

        Args:
            logs: what :meth:`save` returned.
            step: of the checkpoint.
            finished: what the folder of a finished run has beyond its checkpoint is of ``waker evaluate``, and stays.
            note: given a line each about what is damaged, missing or given up.

        Raises:
            SaveFailed: something cannot be written.
        """
        assert self._metrics is not None
        self._snapshot = logs.get("snapshot")  # earlier versions took one twice
        if any(not isinstance(count, dict) for count in logs["tables"].values()):
            note(_UNCHECKED)
        self.mend(note, logs["tables"])
        dropped = {}
        for name, table in () if finished else self.tables.items():
            with saving(f"what is whole of {table.folder}"):
                dropped[name] = table.restore(counted(logs["tables"].get(name, 0))[0], step)
        if any(dropped.values()):
            given_up = ", ".join(f"{rows} of {name}" for name, rows in dropped.items() if rows)
            tell_loss(note, f"dropping rows measured after step {step:,}, from which the run goes on: {given_up}")
        with saving(f"what is whole of the metrics in {self._run.path}"):
            sink = self._metrics.sink
            line = sink.rows.mend() if finished else sink.restore(logs["sinks"])
        if line:
            tell_loss(note, line)

    def begin(self) -> None:
        """Remove what a run without a checkpoint left.

        Raises:
            UserError: it was measured, and every evaluation is made after a save.
        """
        assert self._metrics is not None
        if held := [name for name in MEASURED if len(read_rows(self.tables[name].folder))]:
            raise UserError(
                f"{self._run.path} has rows of {' and '.join(held)}, but no checkpoint: put checkpoints/ back, or "
                "remove the folder to start again (`waker compare` and `waker report` need none)"
            )
        for table in self.tables.values():
            table.restore(0, -1)
        self._metrics.sink.restore({})

    def _identity(self, step: int, updates: int) -> dict[str, Any]:
        return {**self._run.columns, "step": step, "updates": updates}


def _again(before: pd.DataFrame, rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Which rows ``rows`` replace: those of their step and, where they are of tasks, of their tasks and policies."""
    again = np.asarray(before["step"] == rows[0]["step"])
    if not {"task", "policy"} <= set(before.columns) & set(rows[0]):
        return again
    measured = {(row["task"], row["policy"]) for row in rows}
    return again & np.array([pair in measured for pair in zip(before["task"], before["policy"], strict=True)], bool)


def write_space(folder: Path, family: Family) -> None:
    """Write ``theta_space.json``, what a report must know of a family that is not in the rows.

    Raises:
        SaveFailed: it cannot be written.
    """
    with saving(f"the θ space in {folder}"):
        write_json(folder / SPACE_FILE, describe_space(family.space, family.spec.tasks), indent=1)


class Metrics:
    """Rows of metrics: means over the updates since the last row, on their way to the sinks and the display.

    Args:
        sink: where they go.
        labels: what the entries of a metric are called; see :class:`waker.loggers.Means`.
        progress: shows the newest row, and notes what is not finite.
        place: what is told where a row cannot be saved.
    """

    def __init__(
        self, sink: MultiSink, labels: Callable[[str], Sequence[str]], progress: Progress, place: Path
    ) -> None:
        self.sink, self.means, self._progress, self._place = sink, Means(labels), progress, place
        self._not_finite = NotFinite()

    def write(self, step: int, updates: int, more: Mapping[str, float] | None = None) -> None:
        """Write the means since the last row; ``more`` is of this moment.

        Raises:
            SaveFailed: ``metrics.jsonl`` cannot be written.
        """
        means = self.means.take()
        row = {"step": step, "updates": updates, **means, **(more or {})}
        if line := self._not_finite.line(row):
            self._progress.note(line)
        with saving(f"metrics in {self._place}"):
            self.sink.write(row)
        self._progress.metrics(means)

    def evaluated(self, found: Measurement, identity: Mapping[str, Any], step: int, updates: int) -> None:
        """An evaluation and its film for loggers beside ``metrics.jsonl``, if there are any; tables have its rows.

        Args:
            found: its rows, and its film.
            identity: the run's columns.
            step: agent steps.
            updates: those that metrics are written at, which never fall.
        """
        if not self.sink.others:
            return
        with leniently(f"the evaluation at step {step:,} is left out of the loggers"):  # the tables have it
            numbers = evaluation_metrics(found.evaluation, found.model_error, {**identity, "step": step}, EVALUATION)
            film = moving_picture(found.film) if found.film else None
            self.sink.evaluated({"step": step, "updates": updates, **numbers}, film, f"{EVALUATION}film")


class Times:
    """Seconds and processor seconds that training has taken in all of a run's legs; :meth:`start` begins a leg.

    Args:
        others: processor seconds of processes that are still running, beside this one's own.
    """

    def __init__(self, others: Callable[[], float]) -> None:
        self._others = others
        self._wall = self._cpu = 0.0  # so far, less when this leg began
        self._newest = (0, 0.0)  # updates at the newest speed, and when

    def start(self, state: Mapping[str, Any], updates: int) -> None:
        """Go on counting from a :meth:`state_dict`; earlier versions did not count processor seconds."""
        now = time.monotonic()
        self._wall, self._cpu = state.get("seconds", 0.0) - now, state.get("cpu_seconds", 0.0) - self._now()
        self._newest = (updates, now)

    @property
    def seconds(self) -> float:
        """Wall time in which the run was under way."""
        return self._wall + time.monotonic()

    @property
    def cpu_seconds(self) -> float:
        """Of this process, of the environments' and of compilers that it called; without :meth:`excluded`."""
        return self._cpu + self._now()

    def speed(self, updates: int) -> float:
        """Updates a second since the last call."""
        (before, then), now = self._newest, time.monotonic()
        self._newest = (updates, now)
        return (updates - before) / max(now - then, 1e-9)

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """The processor seconds of the block are no part of what training costs."""
        began = processor_seconds()
        try:
            yield
        finally:
            self._cpu -= processor_seconds() - began

    def state_dict(self) -> dict[str, float]:
        """What is counted so far."""
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def _now(self) -> float:
        return processor_seconds() + self._others()
