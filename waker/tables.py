"""Tidy rows on disk: one folder of Parquet parts per table, appended to at every checkpoint.

``episodes.parquet/part-<first row>-<stop>.parquet``: a part is never touched again, so that a save costs only what
is new, and a resume cuts a table back to the rows that belong to its checkpoint by removing later parts.
``pandas.read_parquet("…/episodes.parquet")`` reads a folder as it reads a file; :func:`read_rows` reads either.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from waker.files import TEMPORARY, atomic

Row = Mapping[str, Any]


class Table:
    """Rows of one kind. New rows wait in memory until :meth:`save`.

    Args:
        folder: where the parts are; made by the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new: list[Row] = []
        self._saved = 0

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows; all rows of a table have the same columns."""
        self._new.extend(rows)

    def save(self) -> int:
        """Write what is new.

        Returns:
            The number of rows in all, for the checkpoint.

        Raises:
            OSError: nothing was written, the new rows are still waiting.
        """
        if self._new:
            self.folder.mkdir(parents=True, exist_ok=True)
            stop = self._saved + len(self._new)
            _write_part(self.folder, self._saved, stop, self._new)
            self._saved, self._new = stop, []
        return self._saved

    def restore(self, rows: int) -> None:
        """Cut the table back to its first ``rows`` rows, which a checkpoint counted."""
        self._new, self._saved = [], rows
        for path in [*self.folder.glob("part-*.parquet"), *self.folder.glob(TEMPORARY + "*")]:
            if path.name.startswith(TEMPORARY) or int(path.stem.split("-")[1]) >= rows:
                path.unlink()


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Replace a whole table by ``rows`` (a file of that name as well)."""
    if folder.is_file():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("part-*.parquet"):
        path.unlink()
    if rows:
        _write_part(folder, 0, len(rows), rows)


def read_rows(path: Path) -> pd.DataFrame:
    """A table's rows in the order they were added; empty where there are none."""
    if path.is_file():
        return pd.read_parquet(path)
    parts = sorted(path.glob("part-*.parquet"))
    return pd.concat([pd.read_parquet(p) for p in parts], ignore_index=True) if parts else pd.DataFrame()


def _write_part(folder: Path, start: int, stop: int, rows: Sequence[Row]) -> None:
    frame = pd.DataFrame(list(rows))
    # A column of nothing but None has no type of its own; numbers are what goes missing in these tables.
    for name in frame.columns[frame.isna().all()]:
        frame[name] = frame[name].astype("float64")
    buffer = io.BytesIO()  # through memory, so that a full disk is an OSError and nothing else
    frame.to_parquet(buffer, index=False)
    with atomic(folder / f"part-{start:010d}-{stop:010d}.parquet") as file:
        file.write(buffer.getbuffer())
