"""What damage took from a run folder: told by comparisons and reports, and by whoever goes on without it.

Damage is never read: readers of a folder refuse it and name the file. A resume and ``waker evaluate`` set it aside;
from then on reports and comparisons go on without it, and say so each time. A table or a file that is gone looks like
one that was never made; the newest checkpoint's manifest knows better.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from waker.storage.files import Damaged
from waker.storage.manifest import checkpoint_paths, readable_manifests
from waker.storage.metrics_file import lost_of, sums_of
from waker.storage.run_folder import FILM_FILE, SPACE_FILE
from waker.storage.tables import last_row, lost_parts, read_rows

MEASURED = ("evaluation", "model_error")
TABLES = ("episodes", "curriculum", *MEASURED)
BESIDE = (SPACE_FILE, FILM_FILE)
"""What an evaluation writes beside its tables; a manifest lists those that were there."""


def counted(count: Any) -> tuple[int, int | None]:
    """Rows and generation of a table as a manifest has them; those of earlier versions know no generation."""
    return (count["rows"], count["generation"]) if isinstance(count, dict) else (count, None)


def saved_rows(file: Path) -> pd.DataFrame:
    """A table's rows, those that the newest checkpoint counted all among them; none of a table without any part, which
    is in :func:`gone_from`.

    Args:
        file: ``<run>/<name>.parquet``.

    Raises:
        Damaged: a part is damaged or missing.
    """
    rows = read_rows(file)
    least, generation = counted(newest_counts(file.parent).get(file.stem, 0))
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


def newest_counts(path: Path) -> Mapping[str, Any]:
    """Rows and generation of each table as the newest readable checkpoint has them."""
    return next((m["tables"] for m in readable_manifests(path / "checkpoints") if "tables" in m), {})


def gone_from(run: Path) -> list[str]:
    """What is gone from a run folder, one line each; nothing where it has no checkpoint that can be read."""
    manifest = next(iter(readable_manifests(run / "checkpoints")), {})
    return [
        *_settings(run),
        *_tables(run, manifest),
        *_metrics(run / "metrics.jsonl", manifest),
        *_files(run, manifest),
    ]


def _settings(run: Path) -> list[str]:
    if (run / "config.yaml").exists() or not checkpoint_paths(run / "checkpoints"):
        return []
    return ["lost: config.yaml, the settings of the run; its own `waker train` command writes them anew"]


def _tables(run: Path, manifest: Mapping[str, Any]) -> list[str]:
    gone = []
    for name, count in manifest.get("tables", {}).items():
        file, rows = run / f"{name}.parquet", counted(count)[0]
        elsewhere = any(file.with_suffix(ending).exists() for ending in (".jsonl", ".csv"))
        if rows and not elsewhere and not file.is_file() and last_row(file) == (0, 0):
            gone.append(f"lost: all rows of {file.name} ({rows:,} when the run was last saved)")
    return gone


def _metrics(file: Path, manifest: Mapping[str, Any]) -> list[str]:
    size, sums = (path.stat().st_size if path.exists() else 0 for path in (file, sums_of(file)))
    known = manifest.get("metrics", 0)
    if lost_of(file).exists():  # told already
        return []
    if not size and (known or (manifest and sums)):  # manifests of earlier versions do not know
        return [f"lost: all rows of {file.name}"]
    return [f"lost: rows of {file.name} ({known - size:,} of {known:,} bytes)"] if size < known else []


def _files(run: Path, manifest: Mapping[str, Any]) -> list[str]:
    # Manifests of earlier versions do not know; no evaluation wrote a film strip alone.
    known = manifest.get("files", [SPACE_FILE] if manifest and (run / FILM_FILE).exists() else [])
    return [f"lost: {name}; `waker evaluate` writes it anew" for name in known if not (run / name).exists()]
