"""An evaluation in pieces: a stopped one keeps what has been measured, and the next one continues from there.

A cluster ends a job some seconds after SIGTERM, and an evaluation may take hours. So it checks for a signal at every
step (:meth:`Piece.tick`), writes its rows and its state, and raises :class:`~waker.terminal.signals.Paused`. The state
includes all random generators, so that the rows in the end are those of an evaluation without a stop. The same is
written once a minute, as not every end is announced.

Policies' episodes are kept to the step; held-out episodes by complete passes of up to 64 that are played together; a
film strip starts over. A note says when an evaluation is stopped before its first pass is done, and how long that pass
has taken: jobs that are shorter never finish it.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from waker.storage.checkpoint import CheckpointCorrupt, Checkpoints
from waker.storage.files import saving
from waker.storage.tables import Row
from waker.terminal.signals import Paused, stop_requested

FOLDER = "evaluating"
"""In a run folder: an evaluation that is under way, or was stopped."""
EVERY = 60.0
"""Seconds between two times that progress is written and noted."""


class Piece:
    """A piece under way.

    Attributes:
        state: the snapshot of where it was stopped before; None = it begins.
    """

    def __init__(self, whole: Pieces, name: str, state: dict[str, Any] | None) -> None:
        self._whole, self.name, self.state = whole, name, state
        self._begun, self._began = "", 0.0  # where it stood, and when

    def tick(
        self, snapshot: Callable[[], dict[str, Any]], progress: Callable[[], str] = str, passes: bool = False
    ) -> None:
        """Between two steps: stop here if a signal has come.

        Args:
            snapshot: makes the state from which the piece can continue.
            progress: says how far it is.
            passes: the snapshot is of where the pass under way began, which ``progress`` counts.

        Raises:
            Paused: a signal has come, and the snapshot is kept.
            SaveFailed: it cannot be written.
        """
        if passes and not self._began:
            self._begun, self._began = progress(), time.monotonic()
        if stop_requested():
            self._whole.keep(self.name, snapshot())
            if passes and progress() == self._begun:
                self._whole.tell_standstill(self.name, time.monotonic() - self._began)
            raise Paused
        if self._whole.due():
            self._whole.keep(self.name, snapshot(), progress())


class Pieces:
    """An evaluation: pieces with a name each, measured one after the other.

    Args:
        folder: where it is kept when it is stopped; None = nowhere, it then starts over.
        subject: all that its rows depend on, see :func:`subject_of`; what is kept of another subject is given up.
        note: receives a line about its progress now and then.
    """

    def __init__(
        self, folder: Path | None = None, subject: str = "", note: Callable[[str], None] = lambda line: None
    ) -> None:
        self._store = None if folder is None else Checkpoints(folder, keep=1)
        self._subject, self._note = subject, note
        self._done: dict[str, list[Row]] = {}
        self._state: tuple[str, dict[str, Any]] | None = None
        self._next = time.monotonic() + EVERY
        self._read()

    def measured(self, name: str, measure: Callable[..., list[Row]]) -> list[Row]:
        """The rows of a piece: what was kept of it, or what ``measure(piece=…)`` measures."""
        if name not in self._done:
            self._done[name] = measure(piece=self.piece(name))
        return self._done[name]

    def piece(self, name: str) -> Piece:
        """The piece of that name, from where it was stopped."""
        under_way = self._state[1] if self._state is not None and self._state[0] == name else None
        return Piece(self, name, under_way)

    def due(self) -> bool:
        """Whether it is time to write what has been done."""
        return time.monotonic() >= self._next

    def keep(self, name: str, state: dict[str, Any], progress: str = "") -> None:
        """Write what has been done; ``state`` is that of the piece under way.

        Raises:
            SaveFailed: it cannot be written.
        """
        self._next = time.monotonic() + EVERY
        if progress:
            self._note(f"evaluating {name}: {progress}")
        if self._store is not None:
            with saving(f"the evaluation under way in {self._store.folder}"):
                self._store.save(
                    {"subject": self._subject, "done": self._done, "piece": name, "state": state}, step=0, updates=0
                )

    def tell_standstill(self, name: str, seconds: float) -> None:
        """Note that a piece was stopped where it had begun."""
        self._note(
            f"{name}: stopped before a first pass was done, after {seconds:.0f} s; the next evaluation begins it anew, "
            "so give it more time than that, or ask for fewer or shorter episodes"
        )

    def finish(self) -> None:
        """All rows are where they belong: nothing needs to be kept."""
        if self._store is not None:
            shutil.rmtree(self._store.folder, ignore_errors=True)

    def _read(self) -> None:
        if self._store is None:
            return
        for path in self._store.paths():
            try:
                kept = self._store.load(path)
            except CheckpointCorrupt as error:
                self._note(f"the evaluation begins anew: {error}")
                continue
            if kept.get("subject") == self._subject:
                self._done, self._state = dict(kept["done"]), (kept["piece"], kept["state"])
                rows = sum(map(len, self._done.values()))
                self._note(f"the evaluation goes on with {self._state[0]}, after {rows:,} rows measured before")
                return


def subject_of(*parts: Any) -> str:
    """A digest of what an evaluation's rows depend on: nested mappings and sequences of tensors and plain values."""
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest.update, part)
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], part: Any) -> None:
    if isinstance(part, Mapping):
        for key, value in part.items():
            update(repr(key).encode())
            _feed(update, value)
    elif isinstance(part, torch.Tensor):
        value = part.detach().cpu().contiguous()
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    elif isinstance(part, np.ndarray):
        update(f"{part.dtype}{part.shape}".encode() + part.tobytes())
    elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
        for value in part:
            _feed(update, value)
    else:
        update(repr(part).encode())
