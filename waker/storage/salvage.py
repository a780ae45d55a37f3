"""What is whole of a run's rows: told, cut back to a checkpoint, and gone on with where the rest is damaged.

Damage is never read: readers of a folder refuse it and name the file. A resume and ``waker evaluate`` set it aside
here, which they tell; from then on reports and comparisons go on without it, and say so each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from waker.errors import UserError
from waker.storage.files import Damaged, saving
from waker.storage.lost_files import counted, gone_from
from waker.storage.manifest import ReplayLost, readable_manifests
from waker.storage.metrics_file import lost_of
from waker.storage.tables import Table, last_row, lost_parts, read_rows
from waker.terminal.notices import tell_loss

if TYPE_CHECKING:
    from waker.loggers.sinks import MultiSink
    from waker.replay.store import ReplayStore

MEASURED = ("evaluation", "model_error")
TABLES = ("episodes", "curriculum", *MEASURED)
_UNCHECKED = "saved by an earlier version, without checksums: damage in its rows, metrics and settings is not found"


def restore_logs(
    path: Path,
    tables: Mapping[str, Table],
    sink: MultiSink,
    logs: Mapping[str, Any],
    step: int,
    finished: bool,
    note: Callable[[str], None],
) -> None:
    """Cut tables and sinks back to a checkpoint, without what is damaged in them.

    Args:
        path: the run folder.
        tables, sink: its own.
        logs: what the checkpoint knows of them.
        step: of the checkpoint.
        finished: what the folder of a finished run has beyond its checkpoint is of ``waker evaluate``, and stays.
        note: told in one line each what is damaged, missing or given up.

    Raises:
        SaveFailed: they cannot be written.
    """
    if any(not isinstance(count, dict) for count in logs["tables"].values()):
        note(_UNCHECKED)
    dropped = {}
    for name, table in tables.items():
        rows, generation = counted(logs["tables"].get(name, 0))
        with saving(f"what is whole of {table.folder}"):
            for told in table.mend(rows, generation):
                tell_loss(note, told)
            dropped[name] = 0 if finished else table.restore(rows, step)
    if any(dropped.values()):
        given_up = ", ".join(f"{rows} of {name}" for name, rows in dropped.items() if rows)
        tell_loss(note, f"dropping rows measured after step {step:,}, from which the run goes on: {given_up}")
    with saving(f"what is whole of the metrics in {path}"):
        told = sink.rows.mend() if finished else sink.restore(logs["sinks"])
    if told:
        tell_loss(note, told)


def restore_replay(
    store: ReplayStore,
    state: Mapping[str, Any],
    length: int,
    without_damaged: bool,
    note: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Read a run's replay; nothing else has changed when it finds damage.

    Args:
        state: of a checkpoint.
        length: steps of a window; one at least must be left. 0 = of a finished run, which has no more use of it by
            itself: nothing is read, and what is gone is told.
        without_damaged: see :meth:`waker.replay.store.ReplayStore.restore`.
        note: told in one line.

    Returns:
        What is given up now, one line each.

    Raises:
        CheckpointCorrupt: a chunk is missing or torn.
        ReplayLost: too little is left.
    """
    if not length:
        if absent := store.absent(state):
            which = f"{len(absent)} of {len(state['chunks'])} chunks of the replay are gone"
            tell_loss(note, f"{which}: only `waker adapt` and more steps would need them")
        return []
    lost = store.restore(state, without_damaged)
    if store.replay.lost and not store.replay.windows(length):
        raise ReplayLost(
            f"too little of the replay in {store.folder} is left to learn from; put it back, or remove "
            f"{store.folder.parent} to start again (`waker evaluate` and `waker report` need no replay)"
        )
    return lost


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


def refuse_rows_alone(path: Path) -> None:
    """Refuse to start again where a run has been measured: every evaluation is made after a save.

    Args:
        path: of a run folder without a checkpoint.

    Raises:
        UserError: it holds rows of an evaluation.
    """
    if held := [name for name in MEASURED if len(read_rows(path / f"{name}.parquet"))]:
        raise UserError(
            f"{path} has rows of {' and '.join(held)}, but no checkpoint: put checkpoints/ back, or remove the folder "
            "to start again (`waker compare` and `waker report` need none)"
        )


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
