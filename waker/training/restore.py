"""Logs and replay as a checkpoint knows them: cut back to it, and gone on with where the rest is damaged.

Called by :mod:`waker.training.session` and :mod:`waker.training.loading`; what is damaged is found by
:mod:`waker.storage.salvage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from waker.errors import UserError
from waker.loggers.registry import MultiSink
from waker.replay.store import ReplayStore
from waker.storage.files import saving
from waker.storage.lost_files import counted
from waker.storage.manifest import ReplayLost
from waker.storage.salvage import MEASURED
from waker.storage.tables import Table, read_rows
from waker.terminal.notices import tell_loss

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
