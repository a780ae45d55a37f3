"""Tidy rows on disk: one folder of Parquet parts per table, appended to at every checkpoint.

``episodes.parquet/part-<first row>-<stop>.parquet``: a part is never touched again, so that a save costs only what
is new, and a resume cuts a table back to the rows that belong to its checkpoint by removing later parts. A table that
is written anew (``waker evaluate`` merges rows) has parts of a new generation, ``part-…-<generation>.parquet``; only
the newest generation counts, so that a kill between writing it and removing the older one neither loses rows nor
doubles them. ``pandas.read_parquet("…/episodes.parquet")`` reads a folder as it reads a file; :func:`read_rows` reads
either.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from waker.curriculum.api import Columns
from waker.files import TEMPORARY, atomic

Row = Mapping[str, Any]
_MOST_WAITING = 2 << 20
"""Bytes of waiting rows above which they are written at once; writing them takes some six times as much."""
_ROW_BYTES = 2_000
"""What a row takes as a mapping: about twenty numbers as objects."""


class _Block(NamedTuple):
    """Rows as arrays, one a column, with values that all of them share."""

    shared: Row
    columns: Columns

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame({**self.shared, **self.columns})


class Table:
    """Rows of one kind. New rows wait in memory until :meth:`save`, or until they take much of it.

    Parts written between two saves are beyond what the checkpoint counted: a resume from it removes them.

    Args:
        folder: where the parts are; made by the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new: list[list[Row] | _Block] = []
        self._saved = 0
        self._generation = 0
        self._waiting = 0  # bytes, about

    def append(self, rows: Sequence[Row] | Columns, shared: Row | None = None) -> None:
        """Add rows; all rows of a table have the same columns.

        Args:
            rows: a mapping each, or arrays of one length by column.
            shared: columns with one value for all of these rows, which come first.

        Raises:
            OSError: too many rows were waiting and could not be written; they still wait.
        """
        if isinstance(rows, dict):
            if rows:
                self._new.append(_Block(dict(shared or {}), rows))
                self._waiting += sum(column.nbytes for column in rows.values())
        elif rows:
            if not (self._new and isinstance(self._new[-1], list)):
                self._new.append([])
            assert isinstance(self._new[-1], list)
            self._new[-1].extend({**(shared or {}), **row} for row in rows)
            self._waiting += _ROW_BYTES * len(rows)
        if self._waiting > _MOST_WAITING:
            self.save()

    def save(self) -> int:
        """Write what is new.

        Returns:
            The number of rows in all, for the checkpoint.

        Raises:
            OSError: nothing was written, the new rows are still waiting.
        """
        if self._new:
            self.folder.mkdir(parents=True, exist_ok=True)
            frames = [block.frame() if isinstance(block, _Block) else pd.DataFrame(block) for block in self._new]
            frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
            _write_part(self.folder, self._saved, frame, self._generation)
            self._saved, self._new, self._waiting = self._saved + len(frame), [], 0
        return self._saved

    def restore(self, rows: int, step: int) -> int:
        """Cut the table back to the first ``rows`` rows, which a checkpoint at ``step`` counted.

        Where the table has been written anew since, its parts do not end there; then the rows up to ``step`` are kept,
        those measured on the checkpoint itself included.

        Returns:
            The number of rows given up although the checkpoint's own were among others in one part.
        """
        self._new, self._waiting = [], 0
        parts = _tidy(self.folder)
        whole = [p for p in parts if p.stop <= rows]
        self._generation = parts[0].generation if parts else 0
        if not any(p.start < rows < p.stop for p in parts) and sum(p.stop - p.start for p in whole) == rows:
            for part in parts:
                if part not in whole:
                    part.path.unlink()
            self._saved = rows
            return 0
        return self._keep(lambda frame: frame["step"] <= step)

    def forget(self, step: int) -> None:
        """Remove the rows of ``step``: they are about to be measured again."""
        lists = [[row for row in b if row["step"] != step] if isinstance(b, list) else b for b in self._new]
        self._new = [b for b in lists if (b if isinstance(b, list) else b.shared.get("step") != step)]
        if self.folder.is_dir():
            self._keep(lambda frame: frame["step"] != step)

    def _keep(self, wanted: Callable[[pd.DataFrame], pd.Series]) -> int:
        """Keep the saved rows that are ``wanted``; how many were removed."""
        frame = read_rows(self.folder)
        kept = frame if frame.empty else frame[wanted(frame)]
        self._saved = len(kept)
        if len(kept) < len(frame):
            self._generation = _replace(self.folder, kept)
        return len(frame) - len(kept)


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Replace a whole table by ``rows`` (a file of that name as well).

    Raises:
        OSError: the table is as it was before.
    """
    _replace(folder, pd.DataFrame(list(rows)))


def read_rows(path: Path) -> pd.DataFrame:
    """A table's rows in the order they were added; empty where there are none."""
    if path.is_file():
        return pd.read_parquet(path)
    parts = _parts(path)
    return pd.concat([pd.read_parquet(p.path) for p in parts], ignore_index=True) if parts else pd.DataFrame()


class _Part(NamedTuple):
    """One file of a table, with its rows ``start`` … ``stop``."""

    start: int
    stop: int
    generation: int
    path: Path


def _every_part(folder: Path) -> list[_Part]:
    """All parts, those of older generations included, in the order of their rows."""
    found = []
    for path in folder.glob("part-*.parquet"):
        start, stop, *generation = map(int, path.stem.split("-")[1:])
        found.append(_Part(start, stop, generation[0] if generation else 0, path))
    return sorted(found)


def _parts(folder: Path) -> list[_Part]:
    """The parts of the newest generation."""
    every = _every_part(folder)
    newest = max((p.generation for p in every), default=0)
    return [p for p in every if p.generation == newest]


def _tidy(folder: Path) -> list[_Part]:
    """Remove what a kill left behind; the parts that count."""
    parts = _parts(folder)
    for path in [*(p.path for p in _every_part(folder) if p not in parts), *folder.glob(TEMPORARY + "*")]:
        path.unlink()
    return parts


def _replace(folder: Path, frame: pd.DataFrame) -> int:
    """Replace all rows by those of ``frame``; the table's new generation."""
    if folder.is_file():  # it becomes the first part of a table, which is then replaced like any other
        aside, count = folder.with_name(TEMPORARY + folder.name), len(pd.read_parquet(folder))
        os.replace(folder, aside)
        folder.mkdir()
        os.replace(aside, folder / _name(0, count, 0))
    folder.mkdir(parents=True, exist_ok=True)
    before = _every_part(folder)
    generation = max((p.generation for p in before), default=-1) + 1
    if len(frame):
        _write_part(folder, 0, frame, generation)
    for part in before:
        part.path.unlink()
    return generation


def _name(start: int, stop: int, generation: int) -> str:
    return f"part-{start:010d}-{stop:010d}" + (f"-{generation}" if generation else "") + ".parquet"


def _write_part(folder: Path, start: int, frame: pd.DataFrame, generation: int) -> None:
    frame = frame.copy()
    # A column of nothing but None has no type of its own; numbers are what goes missing in these tables.
    for name in frame.columns[frame.isna().all()]:
        frame[name] = frame[name].astype("float64")
    buffer = io.BytesIO()  # through memory, so that a full disk is an OSError and nothing else
    frame.to_parquet(buffer, index=False)
    with atomic(folder / _name(start, start + len(frame), generation)) as file:
        file.write(buffer.getbuffer())
