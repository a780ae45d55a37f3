"""Tables of rows as Parquet parts or in one SQLite file: what a save and a read take, and whether damage is found.

The reasons in :mod:`waker.storage.tables` are its figures: ``python -m experiments.row_storage``, seconds on a laptop.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.faults.damage import flip
from waker.storage.tables import Table, read_rows

ROWS = 600
SHARED = {"run": "gridhazards/waker-m/plan2explore/seed-0", "domain": "gridhazards", "sampler": "waker-m", "seed": 0}


def snapshot(rng: np.random.Generator) -> dict[str, Any]:
    """What a curriculum over ``ROWS`` θ logs, or about as much."""
    numbers = {f"column_{k}": rng.random(ROWS) for k in range(14)}
    return {"theta_id": np.arange(ROWS), "episodes": rng.integers(0, 99, ROWS), **numbers}


class Sqlite:
    """The same rows in a table of a database, one transaction a save."""

    def __init__(self, path: Path) -> None:
        self.path, self.connection = path, sqlite3.connect(path)
        self.connection.execute("PRAGMA synchronous = FULL")

    def save(self, rows: Mapping[str, Any]) -> None:
        frame = pd.DataFrame(rows)
        with self.connection:
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS rows ({', '.join(frame.columns)})")
            places = ", ".join("?" * len(frame.columns))
            self.connection.executemany(f"INSERT INTO rows VALUES ({places})", frame.astype(object).to_numpy().tolist())


def read_sqlite(path: Path) -> pd.DataFrame:
    """All rows; raises where SQLite's own check finds damage."""
    connection = sqlite3.connect(path)
    try:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise ValueError("damaged")
        return pd.read_sql("SELECT * FROM rows", connection)
    finally:
        connection.close()


def unseen(file: Path, read: Callable[[], pd.DataFrame], bits: int) -> int:
    """How many of ``bits`` flipped bits of a file, one at a time, give other rows without an error."""
    whole, content, found = read(), file.read_bytes(), 0
    for bit in np.random.default_rng(1).choice(8 * len(content), bits, replace=False).tolist():
        flip(file, bit)
        with contextlib.suppress(Exception):  # any error is damage that was found
            found += not read().equals(whole)
        file.write_bytes(content)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=60)
    parser.add_argument("--bits", type=int, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        parts, database = Path(place) / "rows.parquet", Path(place) / "rows.db"
        table, sqlite = Table(parts), Sqlite(database)

        def save_parts(rows: Mapping[str, Any]) -> None:
            table.append(dict(rows))
            table.save()

        for name, save, read in (
            ("Parquet parts", save_parts, lambda: read_rows(parts)),
            ("SQLite", sqlite.save, lambda: read_sqlite(database)),
        ):
            rng, began = np.random.default_rng(0), time.perf_counter()
            for step in range(args.saves):
                save({**SHARED, "step": step, **snapshot(rng)})
            saving, began = (time.perf_counter() - began) / args.saves, time.perf_counter()
            read()
            reading = time.perf_counter() - began
            files = sorted(parts.iterdir()) if name == "Parquet parts" else [database]
            size = sum(file.stat().st_size for file in files) / 1e6
            missed = unseen(files[-1], read, args.bits)
            print(
                f"{name}: {1e3 * saving:.0f} ms a save, {size:.1f} MB, {1e3 * reading:.0f} ms to read, "
                f"{missed} of {args.bits} flipped bits give other rows unseen"
            )


if __name__ == "__main__":
    main()
