"""Tidy rows on disk: one folder of Parquet parts per table, appended to at every checkpoint.

``episodes.parquet/part-<first row>-<stop>-<generation>-<digest>.parquet``: a part is never touched again, so that a
save costs only what is new, and a resume cuts a table back to the rows that belong to its checkpoint by removing later
parts. A table that is written anew (``waker evaluate`` replaces rows) has parts of a new generation; only the newest
generation counts, so that a kill between writing it and removing the older one neither loses rows nor doubles them.
The digest, the first 64 bits of the file's SHA-256, finds damage, and the row numbers a missing part; parts of earlier
versions have none. What is damaged is never read: :meth:`Table.mend` sets it aside as ``_lost-…``, and readers go on
without its rows. ``pandas.read_parquet("…/episodes.parquet")`` reads a folder as it reads a file; :func:`read_rows`
reads either.

Why not one SQLite file for a run's rows: of 60 bits flipped at random in a database of 36,000 rows, 53 gave other rows
and passed ``PRAGMA integrity_check``, so it would need checksums of its own beside it; its file was 1.4 times as large
and took 1.8 times as long to read, and a save took as long (37 ms, a Parquet part 30 ms, with fsync). Why rows of
metrics are lines of JSON instead (:mod:`waker.storage.metrics_file`): they are read while a run writes them, each at
once, and their columns differ from row to row. Why the replay has chunks of its own (:mod:`waker.replay.store`): it is
a ring, whose oldest chunks are removed, of arrays that are no tables. What the
three share is small: whole files or lines that a checkpoint counts, and nothing after them.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.curriculum.api import Columns
from waker.errors import UserError
from waker.storage.files import LOST, TEMPORARY, Damaged, atomic, clear_unfinished, missing_from, reading

Row = Mapping[str, Any]
_MOST_WAITING = 2 << 20
"""Bytes of waiting rows above which they are written at once; writing them takes some six times as much."""
_ROW_BYTES = 2_000
"""What a row takes as a mapping: about twenty numbers as objects."""


class Table:
    """Rows of one kind. New rows wait in memory until :meth:`save`, or until they take much of it.

    Parts written between two saves are beyond what the checkpoint counted: a resume from it removes them.

    Args:
        folder: where the parts are; made by the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new: list[list[Row] | pd.DataFrame] = []
        self._saved = 0
        self._generation = 0
        self._waiting = 0  # bytes, about
        self._written: set[str] = set()  # names of the parts that must be there

    def append(self, rows: Sequence[Row] | Columns, shared: Row | None = None) -> None:
        """Add rows; all rows of a table have the same columns.

        Args:
            rows: a mapping each, or arrays of one length by column.
            shared: columns with one value for all of these rows, which come first.

        Raises:
            OSError: too many rows were waiting and could not be written; they still wait.
        """
        if not rows:
            return
        if isinstance(rows, dict):
            frame = pd.DataFrame({**(shared or {}), **rows})
            self._new.append(frame)
            self._waiting += int(frame.memory_usage().sum())
        else:
            if not (self._new and isinstance(self._new[-1], list)):
                self._new.append([])
            assert isinstance(self._new[-1], list)
            self._new[-1].extend({**(shared or {}), **row} for row in rows)
            self._waiting += _ROW_BYTES * len(rows)
        if self._waiting > _MOST_WAITING:
            self.save()

    def replace(self, rows: Sequence[Row], again: Callable[[pd.DataFrame], NDArray[np.bool_]]) -> None:
        """Add rows in place of those that were measured before; where there are such, the table is written anew now.

        Call :meth:`mend` or :meth:`restore` before it where there may be rows on disk.

        Args:
            rows: a mapping each.
            again: tells the rows that are replaced, of a table that has some.

        Raises:
            OSError: the table is as it was before.
        """
        self.save()
        before = read_rows(self.folder)
        old = np.zeros(len(before), np.bool_) if before.empty else again(before)
        if old.any() or self.folder.is_file():
            _replace(self.folder, pd.DataFrame([*before[~old].to_dict("records"), *rows]))
            self._take(_parts(self.folder))
        else:
            self.append(rows)

    def save(self) -> dict[str, int]:
        """Write what is new.

        Returns:
            For the checkpoint: ``rows`` in all, and ``generation``, how often the table was written anew.

        Raises:
            OSError: nothing was written, the new rows are still waiting.
        """
        if self._new:
            self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that was removed does not come back
            frames = [pd.DataFrame(rows) for rows in self._new]
            frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
            self._written.add(_write_part(self.folder, self._saved, frame, self._generation))
            self._saved, self._new, self._waiting = self._saved + len(frame), [], 0
        return {"rows": self._saved, "generation": self._generation}

    def gone(self) -> Path | None:
        """A part that was saved and is no longer there; None while all are."""
        return missing_from(self.folder, self._written)

    def mend(self, rows: int = 0, generation: int | None = None) -> list[str]:
        """Set aside parts that are damaged, and mark rows whose part is missing: what is left can be read and added to.

        Args:
            rows, generation: of the table when a checkpoint was saved; nothing is missing at its end where it was
                written anew since.

        Returns:
            One line for each.

        Raises:
            OSError: it could not be done.
        """
        told, end = [], 0
        for part in _tidy(self.folder) if self.folder.is_dir() else ():
            if not part.lost and (fault := _fault(part)):
                os.replace(part.path, self.folder / _name(part.start, part.stop, part.generation, part.digest, LOST))
                told.append(f"{part.path} is damaged ({fault}): going on without its rows {part.start} to {part.stop}")
        parts = _parts(self.folder)
        newest = parts[0].generation if parts else generation or 0
        ends = [(p.start, p.stop) for p in parts]
        for start, stop in [*ends, (rows, rows)] if newest == generation else ends:
            if start > end:
                self.folder.mkdir(exist_ok=True)
                with atomic(self.folder / _name(end, start, newest, _MISSING, LOST)):
                    told.append(f"{self.folder} lacks a part: going on without its rows {end} to {start}")
            end = max(end, stop)
        self._take(_parts(self.folder))
        return told

    def restore(self, rows: int, step: int) -> int:
        """Cut the table back to the first ``rows`` rows, which a checkpoint at ``step`` counted; after :meth:`mend`.

        Where the table has been written anew since, its parts do not end there; then the rows up to ``step`` are kept,
        those measured on the checkpoint itself included.

        Returns:
            The number of rows given up although the checkpoint's own were among others in one part.
        """
        self._new, self._waiting = [], 0
        parts = _tidy(self.folder)
        if not rows:
            parts = _every_part(self.folder)  # what was lost of a run that begins again as well
        whole = [p for p in parts if p.stop <= rows]
        if not any(p.start < rows < p.stop for p in parts) and sum(p.stop - p.start for p in whole) == rows:
            for part in parts:
                if part not in whole:
                    part.path.unlink()
            self._take(whole)
            return 0
        frame = read_rows(self.folder)
        later = np.zeros(len(frame), np.bool_) if frame.empty else np.asarray(frame["step"] > step)
        if later.any():
            _replace(self.folder, frame[~later])
        self._take(_parts(self.folder))
        return int(later.sum())

    def _take(self, parts: Sequence[_Part]) -> None:
        """Go on after these parts."""
        self._generation, self._saved = (parts[-1].generation, parts[-1].stop) if parts else (0, 0)
        self._written = {part.path.name for part in parts}


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Replace a whole table by ``rows`` (a file of that name as well).

    Raises:
        OSError: the table is as it was before.
    """
    _replace(folder, pd.DataFrame(list(rows)))


def read_rows(path: Path) -> pd.DataFrame:
    """A table's rows in the order they were added; empty where there are none. Rows set aside are left out.

    Raises:
        Damaged: a part is not what was written, or missing.
        UserError: a part cannot be read.
    """
    if path.is_file():
        with reading(path):
            return pd.read_parquet(path, page_checksum_verification=True)
    end, frames = 0, []
    for part in _parts(path):
        if part.start != end:
            raise Damaged(f"{path} is damaged: a part of its rows {end} to {part.start} is missing{_MENDED}")
        end = part.stop
        if not part.lost:
            frames.append(_read_part(part))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def last_row(path: Path) -> tuple[int, int]:
    """Where a table ends: its generation, and the number of its rows, lost ones included."""
    parts = _parts(path)
    return (parts[-1].generation, parts[-1].stop) if parts else (0, 0)


def lost_parts(path: Path) -> list[str]:
    """What of a table was damaged or missing and has been set aside, one line each."""
    return [
        f"rows {p.start} to {p.stop} of {path.name} are lost "
        + ("(their part was missing)" if p.digest == _MISSING else f"(damaged and set aside: {p.path.name})")
        for p in _every_part(path)
        if p.lost
    ]


_NAME = re.compile(r"(part-|_lost-)(\d+)-(\d+)(?:-(\d+))?(?:-([0-9a-f]{16}|missing))?\.parquet")
_MISSING = "missing"
_MENDED = "; `waker evaluate` of the run, or its own `waker train` command, goes on without"


class _Part(NamedTuple):
    """One file of a table, with its rows ``start`` … ``stop``."""

    start: int
    stop: int
    generation: int
    digest: str
    path: Path

    @property
    def lost(self) -> bool:
        """Whether it was damaged or missing, and its rows are left out."""
        return self.path.name.startswith(LOST)


def _every_part(folder: Path) -> list[_Part]:
    """All parts, those of older generations included, in the order of their rows."""
    found = []
    for path in [*folder.glob("part-*.parquet"), *folder.glob(LOST + "*.parquet")]:
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise UserError(f"{path} is no part of a table: its name does not tell its rows")
        _, start, stop, generation, digest = name.groups()
        found.append(_Part(int(start), int(stop), int(generation or 0), digest or "", path))
    return sorted(found)


def _parts(folder: Path) -> list[_Part]:
    """The parts of the newest generation."""
    every = _every_part(folder)
    newest = max((p.generation for p in every), default=0)
    return [p for p in every if p.generation == newest]


def _tidy(folder: Path) -> list[_Part]:
    """Remove what a kill left behind; the parts that count."""
    parts = _parts(folder)
    older = [p.path for p in _every_part(folder) if p not in parts and not p.lost]
    for path in older:
        path.unlink()
    clear_unfinished(folder, alone=True)
    return parts


def _replace(folder: Path, frame: pd.DataFrame) -> int:
    """Replace all rows by those of ``frame``; the table's new generation."""
    if folder.is_file():  # it becomes the first part of a table, which is then replaced like any other
        aside, count = folder.with_name(TEMPORARY + folder.name), len(pd.read_parquet(folder))
        os.replace(folder, aside)
        folder.mkdir()
        os.replace(aside, folder / _name(0, count, 0, ""))
    folder.mkdir(exist_ok=True)
    before = _every_part(folder)
    generation = max((p.generation for p in before), default=-1) + 1
    if len(frame):
        _write_part(folder, 0, frame, generation)
    for part in before:
        if not part.lost:
            part.path.unlink()
    return generation


def _name(start: int, stop: int, generation: int, digest: str, prefix: str = "part-") -> str:
    return f"{prefix}{start:010d}-{stop:010d}-{generation}" + (f"-{digest}" if digest else "") + ".parquet"


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _read_part(part: _Part) -> pd.DataFrame:
    content = part.path.read_bytes()
    if part.digest and _digest(content) != part.digest:
        raise Damaged(f"{part.path} is damaged: its SHA-256 is another{_MENDED}")
    try:
        with reading(part.path):
            frame = pd.read_parquet(io.BytesIO(content), page_checksum_verification=True)
    except UserError as error:
        raise Damaged(f"{error}{_MENDED}") from error
    if len(frame) != part.stop - part.start:
        raise Damaged(f"{part.path} is damaged: it has {len(frame)} rows, not {part.stop - part.start}{_MENDED}")
    return frame


def _fault(part: _Part) -> str:
    """What is wrong with a part, if anything."""
    if part.digest:  # then there is no need to read it as a table
        return "" if _digest(part.path.read_bytes()) == part.digest else "its SHA-256 is another"
    try:
        _read_part(part)
    except UserError as error:
        return str(error).removesuffix(_MENDED).removeprefix(f"{part.path} ")
    return ""


def _write_part(folder: Path, start: int, frame: pd.DataFrame, generation: int) -> str:
    """Write rows as a part; its name."""
    frame = frame.copy()
    # A column of nothing but None has no type of its own; numbers are what goes missing in these tables.
    for name in frame.columns[frame.isna().all()]:
        frame[name] = frame[name].astype("float64")
    buffer = io.BytesIO()  # through memory, so that a full disk is an OSError and nothing else
    frame.to_parquet(buffer, index=False, write_page_checksum=True)
    name = _name(start, start + len(frame), generation, _digest(buffer.getbuffer()))
    with atomic(folder / name) as file:
        file.write(buffer.getbuffer())
    return name
