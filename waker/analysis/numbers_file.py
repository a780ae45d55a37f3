"""A study's numbers in small CSV files, from which its tables and figures can be made without the run folders.

Written beside a study's page by ``waker compare --page``, committed, and read again by ``waker compare FILE``. Three
files go together, ``<name>-numbers.csv`` with one row for each run, task and quantity, ``<name>-shares.csv`` with what
was sampled through training, and ``<name>-notes.csv`` with what a reader must know of each domain. Values are written
with all their digits: what is made of the file is what was made of the rows.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from waker.analysis.sampling import COLUMNS as SHARES
from waker.analysis.steps import RUN
from waker.errors import UserError
from waker.storage.files import atomic, reading

NUMBERS = (*RUN, "task", "quantity", "value", "run", "step", "commit")
"""``run`` is the run's folder below the folder of runs, ``step`` that of the measurement, ``commit`` what made it."""
NOTES = ("domain", "note")
_WHOLE = ("seed", "begin", "end", "episodes")
_REAL = ("value", "share")
_WRITER = "`waker compare RUN… --page study.html`"
_ENDING = "-numbers.csv"


def beside(numbers: Path, what: str) -> Path:
    """The file of a study that lies beside its numbers: ``study-numbers.csv`` → ``study-shares.csv``."""
    stem = numbers.name.removesuffix(_ENDING) if numbers.name.endswith(_ENDING) else numbers.stem
    return numbers.with_name(f"{stem}-{what}.csv")


def write_table(path: Path, rows: pd.DataFrame) -> None:
    """Write rows as CSV, atomically.

    Raises:
        OSError: it could not be written.
    """
    # A lone carriage return within a name ends a row for many readers, but for the csv module's writer it is no reason
    # to quote.
    returns = bool(rows.map(lambda value: isinstance(value, str) and "\r" in value).any(axis=None))
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    text = rows.to_csv(index=False, lineterminator="\n", quoting=quoting)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write(text.encode("utf-8", "surrogatepass"))


def read_numbers(path: Path) -> pd.DataFrame:
    """Numbers with the columns :data:`NUMBERS`.

    Raises:
        UserError: the file is none of numbers; the message says what is wrong and in which line.
    """
    rows = _read(path, NUMBERS)
    if rows.empty:
        raise UserError(f"{path} holds no numbers")
    _once(path, rows, [*RUN, "task", "quantity"])
    return rows


def read_shares(path: Path) -> pd.DataFrame:
    """Sampling shares with the columns :data:`waker.analysis.sampling.COLUMNS`; empty where there is no file.

    Raises:
        UserError: the file is none of shares.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(SHARES))
    rows = _read(path, SHARES)
    outside = np.flatnonzero(~rows["share"].between(0.0, 1.0))
    if len(outside):
        raise UserError(f"{path}, row {outside[0] + 1}: share is {rows['share'].iloc[outside[0]]:g}, not within 0 … 1")
    _once(path, rows, [*RUN, "begin", "parameter", "group"])
    return rows


def read_notes(path: Path) -> pd.DataFrame:
    """Notes with the columns :data:`NOTES`; empty where there is no file.

    Raises:
        UserError: the file is none of notes.
    """
    return _read(path, NOTES) if path.exists() else pd.DataFrame(columns=list(NOTES))


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The columns, numbers as numbers and names as they stand: a task may be called ``nan``, or not at all."""
    with reading(path), path.open(encoding="utf-8", errors="surrogatepass", newline="") as file:
        try:
            table = csv.reader(file, strict=True)
            head = next(table, [])
            lines = list(table) if {*columns} & {*head} else []
        except (csv.Error, UnicodeError):
            if path.suffix.lower() == ".csv":
                raise
            head, lines = [], []
    if not {*columns} & {*head}:
        raise UserError(f"{path} is neither a run folder nor a file of numbers, which {_WRITER} writes")
    for at, line in enumerate(lines):
        if len(line) != len(head):
            raise UserError(f"{path}, row {at + 1}: {len(line)} fields instead of {len(head)}")
    rows = pd.DataFrame(lines, columns=head)
    if missing := [name for name in columns if name not in rows]:
        lacks = f"lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise UserError(f"{path} {lacks}: {_WRITER} writes study-numbers.csv")
    rows = rows[list(columns)]
    for column in columns:
        if column in _WHOLE:
            rows = rows.assign(**{column: _whole(path, rows[column])})
        elif column in _REAL:
            rows = rows.assign(**{column: _real(path, rows[column])})
    return rows


def _whole(path: Path, texts: pd.Series) -> pd.Series:
    wrong = ~texts.str.fullmatch(r"-?[0-9]{1,18}")
    _all_right(path, texts, wrong, "a whole number")
    return texts.astype(np.int64)


def _real(path: Path, texts: pd.Series) -> pd.Series:
    """Numbers; an empty field is one that is not known."""
    values = pd.to_numeric(texts.where(texts != "", "nan"), errors="coerce").astype(float)
    _all_right(path, texts, (values.isna() & (texts != "")) | np.isinf(values), "a finite number")
    return values


def _all_right(path: Path, texts: pd.Series, wrong: pd.Series, wanted: str) -> None:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise UserError(f"{path}, row {at + 1}: {texts.name} is {texts.iloc[at]!r}, not {wanted}")


def _once(path: Path, rows: pd.DataFrame, keys: list[str]) -> None:
    again = np.flatnonzero(rows.duplicated(keys))
    if len(again):
        row = rows.iloc[again[0]]
        told = ", ".join(f"{key} {row[key]}" for key in keys)
        raise UserError(f"{path}, row {again[0] + 1}: there are two rows of {told}")
