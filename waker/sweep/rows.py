"""What a study keeps of a finished run: its rows, in a small run folder without replay and checkpoints.

``waker compare`` and ``waker report`` read such a folder like any other. A run whose rows are kept is not repeated,
though its own folder be gone; :func:`kept` tells.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waker.config.same_run import difference, growth
from waker.config.saved import plain
from waker.errors import UserError
from waker.storage.files import TEMPORARY, reading, saving, sync_folder
from waker.storage.run_folder import SPACE_FILE, read_config
from waker.storage.tables import read_rows, write_rows

TABLES = ("evaluation", "model_error", "curriculum", "episodes")
"""Tables that answers are computed from; pictures stay in the run's folder."""
_METRICS = "metrics.jsonl"
MOST_METRICS = 1 << 20
"""Bytes of learning metrics that are kept beside them; of a longer file :func:`waker.rows` tells that it was left."""
_CONFIG = "config.yaml"
_TAIL = 1 << 16
"""Bytes at the end of the metrics that hold the last whole row."""


def kept(rows: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the rows of a run of these settings lie in ``rows``; not where more is asked for than they are of.

    Raises:
        UserError: they are of other settings; or their folder is damaged.
    """
    if not (rows / _CONFIG).is_file():
        return False
    there = plain(read_config(rows))
    if changed := difference(there, settings):
        raise UserError(f"{rows} holds rows of other settings: {changed}; choose another --rows")
    return not growth(there, settings)


def keep(run: Path, rows: Path) -> None:
    """Copy a finished run's rows; the folder ``rows`` appears at once and whole, in place of a shorter run's.

    Raises:
        SaveFailed: it cannot be written.
        UserError: a file of the run is damaged.
    """
    half = rows.with_name(TEMPORARY + rows.name)
    with saving(f"rows in {rows}"):
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for table in TABLES:
            with reading(run / f"{table}.parquet"):
                frame = read_rows(run / f"{table}.parquet")
            if len(frame):
                write_rows(half / f"{table}.parquet", frame.to_dict("records"))
        if (run / SPACE_FILE).is_file():
            shutil.copyfile(run / SPACE_FILE, half / SPACE_FILE)
        if (run / _METRICS).is_file() and (run / _METRICS).stat().st_size <= MOST_METRICS:
            shutil.copyfile(run / _METRICS, half / _METRICS)
        shutil.copyfile(run / _CONFIG, half / _CONFIG)
        sync_folder(half)
        shorter = rows.with_name(f"{TEMPORARY}shorter-{rows.name}")
        shutil.rmtree(shorter, ignore_errors=True)
        if rows.exists():
            os.rename(rows, shorter)
        os.rename(half, rows)
        sync_folder(rows.parent)
        shutil.rmtree(shorter, ignore_errors=True)


def share_done(run: Path, updates: float) -> float:
    """How much of a run's ``updates`` its newest logged row counts, 0 … 1."""
    file = run / _METRICS
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _TAIL))
            last = [line for line in stream.read().splitlines() if line.endswith(b"}")][-1]
        return min(1.0, float(json.loads(last)["updates"]) / max(1.0, updates))
    except (OSError, ValueError, KeyError, IndexError):
        return 0.0
