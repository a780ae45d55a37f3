"""The replay on disk: append-only chunk files, so that a checkpoint of a large replay costs only what is new.

Each save writes the records added since the last one as one chunk, which is never touched again. A checkpoint names
the chunks that belong to it; a resume reads exactly those and removes the others (they hold steps that the
checkpoint does not know of). A chunk is a deflated ``.npz``; the checkpoint's SHA-256 of it finds damage. A run can
go on without damaged chunks: their ticks are then lost to it, in all its later checkpoints as well. Observations have
their own keys in a chunk, and our fields theirs, but for a field that the environment has a key of the same name as:
that is called ``action (waker)``.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.names import OURS, RECORD, key_name
from waker.replay.ring import Replay
from waker.storage.files import atomic, clear_unfinished, missing_from, sha256
from waker.storage.manifest import CheckpointCorrupt, ReplayLost
from waker.terminal.notices import tell_loss

Chunk = dict[str, Any]
"""``name``, ``start`` and ``stop`` (ticks), ``bytes``, ``sha256``; ``lost``: true where it is given up."""


class ReplayStore:
    """Saves a :class:`Replay` into ``folder``, chunk by chunk, and reads it back."""

    def __init__(self, folder: Path, replay: Replay) -> None:
        self.folder, self.replay = folder, replay
        self._chunks: list[Chunk] = []

    def save(self) -> dict[str, Any]:
        """Write what is new and return the state that a checkpoint must hold.

        Raises:
            OSError: nothing new was kept, nothing old was harmed.
        """
        self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that was removed does not come back
        replay = self.replay
        start = max(replay.first, self._chunks[-1]["stop"] if self._chunks else 0)
        if start < replay.ticks:
            name = f"ticks-{start:012d}-{replay.ticks:012d}.npz"
            _write(self.folder / name, replay.read(start, replay.ticks))
            path = self.folder / name
            chunk = {"name": name, "start": start, "stop": replay.ticks, "bytes": path.stat().st_size}
            self._chunks.append({**chunk, "sha256": sha256(path)})
        self._chunks = [c for c in self._chunks if c["stop"] > replay.first]
        return {"ticks": replay.ticks, "slots": replay.slots, "chunks": [dict(c) for c in self._chunks]}

    def restore(self, state: Mapping[str, Any], without_damaged: bool = False) -> list[str]:
        """Fill the replay from a checkpoint's state. Writes nothing; :meth:`prune` would then remove later chunks.

        Args:
            state: what :meth:`save` returned.
            without_damaged: give up chunks that are missing or torn, instead of refusing the checkpoint.

        Returns:
            What is given up now, one line for each chunk.

        Raises:
            CheckpointCorrupt: a chunk is missing or torn.
            UserError: the environment's observations, actions or tasks have changed since.
        """
        if state["slots"] != self.replay.slots:
            raise UserError(f"the replay in {self.folder} has {state['slots']} slots, not {self.replay.slots}")
        self.replay.ticks, self.replay.lost = 0, []
        chunks, told = [dict(c) for c in state["chunks"]], []
        for chunk in chunks:
            try:
                records = None if chunk.get("lost") else _read(self.folder / chunk["name"], chunk, self.replay)
            except CheckpointCorrupt as error:
                if not without_damaged:
                    raise
                records, chunk["lost"] = None, True
                told.append(f"going on without ticks {chunk['start']:,} to {chunk['stop']:,} of the replay: {error}")
            if records is None:
                self.replay.lose(chunk["start"], chunk["stop"])
            else:
                self.replay.fill(chunk["start"], records)
        if self.replay.ticks != state["ticks"]:
            raise CheckpointCorrupt(f"its replay ends at tick {self.replay.ticks}, not {state['ticks']}")
        self._chunks = chunks
        return told

    def resume(
        self,
        state: Mapping[str, Any],
        length: int,
        without_damaged: bool,
        note: Callable[[str], None] = lambda text: None,
    ) -> list[str]:
        """Read what a run needs of its replay; nothing else has changed when it finds damage.

        Args:
            state: of a checkpoint.
            length: steps of a window; one at least must be left. 0 = of a finished run, which has no more use of it by
                itself: nothing is read, and what is gone is reported.
            without_damaged: see :meth:`restore`.
            note: given one line.

        Returns:
            What is given up now, one line each.

        Raises:
            CheckpointCorrupt: a chunk is missing or torn.
            ReplayLost: too little is left.
        """
        if not length:
            if absent := self.absent(state):
                which = f"{len(absent)} of {len(state['chunks'])} chunks of the replay are gone"
                tell_loss(note, f"{which}: only `waker adapt` and more steps would need them")
            return []
        lost = self.restore(state, without_damaged)
        if self.replay.lost and not self.replay.windows(length):
            raise ReplayLost(
                f"too little of the replay in {self.folder} is left to learn from; put it back, or remove "
                f"{self.folder.parent} to start again (`waker evaluate` and `waker report` need no replay)"
            )
        return lost

    def absent(self, state: Mapping[str, Any]) -> list[str]:
        """The chunks of a checkpoint's state whose files are not there; none is read."""
        wanted = {c["name"] for c in state["chunks"] if not c.get("lost")}
        return sorted(wanted - {path.name for path in self.folder.glob("ticks-*.npz")})

    def gone(self) -> Path | None:
        """A chunk that was saved and is no longer there; None while all are."""
        return missing_from(self.folder, {c["name"] for c in self._chunks if not c.get("lost")})

    def clear(self) -> None:
        """Forget everything, on disk as well: a start from scratch."""
        self._chunks, self.replay.ticks, self.replay.lost = [], 0, []
        self.prune([])

    def prune(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Remove chunk files that neither this store nor any of the checkpoints' ``states`` names."""
        wanted = {c["name"] for c in [*self._chunks, *(c for s in states for c in s["chunks"])] if not c.get("lost")}
        for path in self.folder.glob("ticks-*.npz"):
            if path.name not in wanted:
                path.unlink()
        clear_unfinished(self.folder, alone=True)


def _write(path: Path, records: Mapping[str, NDArray[Any]]) -> None:
    # Level 1: rendered and symbolic observations shrink several times at little cost.
    with atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        entries = _entries(records)
        for name, array in records.items():
            with archive.open(f"{entries[name]}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def _read(path: Path, chunk: Chunk, replay: Replay) -> dict[str, NDArray[Any]]:
    try:
        if (size := path.stat().st_size) != chunk["bytes"]:
            raise CheckpointCorrupt(f"{path.name} is damaged (it has {size} bytes instead of {chunk['bytes']})")
        # Before a reader of archives meets it: damaged headers make those raise almost anything.
        if chunk.get("sha256", found := sha256(path)) != found:
            raise CheckpointCorrupt(f"{path.name} is damaged (its SHA-256 is another)")
        with np.load(path, allow_pickle=False) as archive:
            fields = {entry: name for name, entry in _entries(replay.arrays).items()}
            records = {fields.get(entry, entry): archive[entry] for entry in archive.files}
    except FileNotFoundError:
        raise CheckpointCorrupt(f"{path.name} is missing") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError, RuntimeError) as error:
        if isinstance(error, CheckpointCorrupt):
            raise
        raise CheckpointCorrupt(f"{path.name} is damaged ({error})") from error
    then, now = _kinds(records), _kinds(replay.arrays)
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            raise UserError(
                f"{path} was recorded with {name!r} {then.get(name, 'absent')}; the environment now has it "
                f"{now.get(name, 'absent')}: it has changed since, so start again in another folder"
            )
    return records


def _entries(names: Iterable[str]) -> dict[str, str]:
    """What each field of a record is called in a file."""
    entries = {name: name for name in names}
    for ours in RECORD:
        if (theirs := key_name(ours)) in entries:
            entries |= {theirs: ours, ours: ours + OURS}
    return entries


def _kinds(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    return {name: f"{array.dtype} {array.shape[2:]}" for name, array in arrays.items()}
