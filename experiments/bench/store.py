"""Records of :mod:`experiments.bench` on disk, and what has moved since: ratios, not seconds, where machines differ.

A baseline holds one record a workload for each kind of machine (processor or device, and threads). Work counted is the
same on every machine, so it is compared even where the machine has never been measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waker.errors import UserError
from waker.storage.files import reading, saving, write_text

LIMIT = 0.10
"""A figure that moved by more than this share is told."""
COUNTED = ("update.gflop", "update.operations")
"""Figures that no machine changes."""
MEASURED = ("update.fraction_of_peak", "update.time_per_operation", "memory.peak_mb", "drawing.copies", "loop.outside")
"""Ratios to what the same machine does in the same run (peak memory: as it is), in :func:`figures`' names."""
YARDSTICK = "peak_library"
"""In a record's ``update``: whose products were the peak. Records without it took torch's own products for the peak,
which on some processors are half of it; their fractions are not compared with anything."""
_LARGE_MB = 1.0
"""Drawing a smaller batch is not held against copying it: both are a few calls."""
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Move:
    """A figure that moved: ``change`` = now / then − 1."""

    workload: str
    figure: str
    then: float
    now: float

    @property
    def change(self) -> float:
        """Relative."""
        return self.now / self.then - 1.0 if self.then else float("inf")


def machine_key(machine: Record) -> str:
    """``Intel(R) Xeon(R) Processor, 1 thread``: which figures may be compared."""
    threads = machine["threads"]
    return f"{machine['device']}, {threads} thread{'' if threads == 1 else 's'}"


def figures(record: Record) -> dict[str, float]:
    """The comparable figures of one record; those that were not measured are absent."""
    update, found = record["update"], {}
    for name in ("gflop", "operations", "time_per_operation"):
        found[f"update.{name}"] = float(update[name])
    if YARDSTICK in update:
        found["update.fraction_of_peak"] = float(update["fraction_of_peak"])
    found["memory.peak_mb"] = float(record["memory"]["peak_mb"])
    if record["drawing"]["batch_mb"] >= _LARGE_MB:
        found["drawing.copies"] = record["drawing"]["ms"] / record["drawing"]["copy_ms"]
    if record.get("loop"):
        found["loop.outside"] = 1.0 - float(
            record["loop"]["shares"]["learner"]
        )  # the learner's own hides what it grew by
    return found


def moved(then: Record, now: Record, names: tuple[str, ...], limit: float = LIMIT) -> list[Move]:
    """Figures of one workload that moved by more than ``limit``, up or down."""
    before, after = figures(then), figures(now)
    moves = [Move(now["workload"], n, before[n], after[n]) for n in names if n in before and n in after]
    return [move for move in moves if abs(move.change) > limit]


class Baseline:
    """Stored records, machine → workload → record.

    Args:
        path: a JSON file; need not exist.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict[str, Record]] = {}
        if path.is_file():
            with reading(path):
                self.records = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(self.records, dict):
                raise UserError(f"{path} cannot be read: it holds no records by machine")

    def compare(self, record: Record, machine: Record) -> tuple[list[Move], str | None]:
        """What moved, and a line for people where not everything could be compared."""
        key, name = machine_key(machine), record["workload"]
        then = self.records.get(key, {}).get(name)
        if then is not None:
            missing = sorted(set(figures(then)) - set(figures(record)))
            lines = [f"{name}: {', '.join(missing)} not measured this time: not compared"] if missing else []
            if YARDSTICK not in then["update"]:
                lines.append(f"{name}: stored with torch's own products for the peak: that fraction is not compared")
            return moved(then, record, COUNTED + MEASURED), "; ".join(lines) or None
        for other, stored in self.records.items():
            if name in stored:
                known = "has not been measured" if key in self.records else f"was never measured on a {key}"
                line = f"{name} {known}; only its counted work is compared, with that of a {other}"
                return moved(stored[name], record, COUNTED), line
        return [], f"{name} was never measured: nothing to compare it with (--save stores it)"

    def put(self, record: Record, machine: Record) -> None:
        """Take a record in place of the one of this machine and workload."""
        self.records.setdefault(machine_key(machine), {})[record["workload"]] = record

    def save(self) -> None:
        """Write the file.

        Raises:
            SaveFailed: it cannot be written.
        """
        save_json(self.path, self.records)


def save_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically.

    Raises:
        SaveFailed: it cannot be written.
    """
    with saving(f"the figures in {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
