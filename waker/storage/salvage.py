"""What is whole of a run's rows: told, cut back to a checkpoint, and gone on with where the rest is damaged.

Damage is never read: readers of a folder refuse it and name the file. A resume and ``waker evaluate`` set it aside
here, which they tell; from then on reports and comparisons go on without it, and say so each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from waker.storage.files import Damaged, saving
from waker.storage.lost_files import counted, gone_from
from waker.storage.manifest import readable_manifests
from waker.storage.metrics_file import lost_of
from waker.storage.tables import Table, last_row, lost_parts, read_rows
from waker.terminal.notices import tell_loss

if TYPE_CHECKING:
    pass

MEASURED = ("evaluation", "model_error")
TABLES = ("episodes", "curriculum", *MEASURED)
_UNCHECKED = "saved by an earlier version, without checksums: damage in its rows, metrics and settings is not found"


def mend_tables(path: Path, note: Callable[[str], None]) -> None:
    """Set aside what is damaged of a run folder's tables, before rows are added; hold its lock.

    Raises:
        SaveFailed: it cannot be written.
    """
    counts = _newest_counts(path)
    for name in TABLES:
        with saving(f"what is whole of {path / name}.parquet"):
            for told in Table(path / f"{name}.parquet").mend(*counted(counts.get(name, 0))):
                tell_loss(note, told)


def saved_rows(file: Path) -> pd.DataFrame:
    """A table's rows, those that the newest checkpoint counted all among them; of a table without any part, none
    (:mod:`waker.storage.lost_files` tells it).

    Args:
        file: ``<run>/<name>.parquet``.

    Raises:
        Damaged: a part is damaged or missing.
    """
    rows = read_rows(file)
    least, generation = counted(_newest_counts(file.parent).get(file.stem, 0))
    written, end = last_row(file)
    if generation == written and 0 < end < least:
        raise Damaged(
            f"{file} is damaged: a part of its rows {end} to {least} is missing; `waker evaluate` of the run, or its "
            "own `waker train` command, goes on without"
        )
    return rows


def lost_in(path: Path, record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run lost to damage, one line each: rows set aside, parts of the replay that it went on without, and files
    that were there when its newest checkpoint was saved.

    Args:
        path: the run folder.
        record: the content of its ``config.yaml``.
    """
    lost = [line for name in TABLES for line in lost_parts(path / f"{name}.parquet")]
    if (aside := lost_of(path / "metrics.jsonl")).exists():
        lost.append(f"rows of metrics.jsonl are lost (damaged; as it was it is {aside.name})")
    lost += [f"from step {entry['step']:,} on {entry['what']}" for entry in record.get("lost") or ()]
    return (*lost, *gone_from(path))


def _newest_counts(path: Path) -> Mapping[str, Any]:
    """Rows and generation of each table as the newest readable checkpoint has them."""
    return next((m["tables"] for m in readable_manifests(path / "checkpoints") if "tables" in m), {})
