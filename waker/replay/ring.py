"""The replay: a ring of steps per environment slot, from which windows (B, T) are drawn uniformly.

The collector adds one record to every slot at each tick, so one write head serves all slots. The learner's batches
are windows of one slot's stream; they may cross episode ends (``is_first`` resets the RSSM) but never the write
head. To the learner each begins as an episode does. :mod:`waker.replay.store` keeps the ring on disk.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from waker.errors import UserError
from waker.replay.memory import Fields, ring_arrays
from waker.specs import EnvSpec


def record_fields(spec: EnvSpec) -> dict[str, tuple[tuple[int, ...], DTypeLike]]:
    """The fields of one record of ``spec``: observation keys in their native dtypes, and

    ``action`` (A,) float32, the action that led into the observation; ``is_first``, ``is_last`` (ended either way),
    ``is_terminal`` (ended by itself); ``task_rewards`` (K,) float32, received on arriving; ``theta_id`` int32.
    """
    fields: dict[str, tuple[tuple[int, ...], DTypeLike]] = {k.name: (k.shape, k.dtype) for k in spec.observation}
    fields["action"] = ((spec.action.dim,), np.float32)
    fields["task_rewards"] = ((len(spec.tasks),), np.float32)
    fields["theta_id"] = ((), np.int32)
    for flag in ("is_first", "is_last", "is_terminal"):
        fields[flag] = ((), np.bool_)
    return fields


class Replay:
    """A ring of the newest ``capacity // slots`` records of each slot.

    Memory is mapped and taken page by page as the ring fills, and images stay uint8.

    Args:
        fields: see :func:`record_fields`.
        slots: environment slots.
        capacity: records in all.
        folder: where the mapped file lies (nameless, gone with the process); None = anonymous memory.

    Attributes:
        arrays: name → (slots, L, …), the ring itself; L = capacity // slots.
        ticks: records ever added to each slot.
        lost: ticks ``start`` … ``stop`` − 1 whose records are not there, in their order: no window meets them.
    """

    def __init__(self, fields: Fields, slots: int, capacity: int, folder: Path | None = None) -> None:
        if slots < 1 or capacity < slots:
            raise UserError(
                f"the replay must hold at least one step of each of the {slots} environments, not {capacity}"
            )
        self.slots, self.size = slots, capacity // slots
        self.ticks = 0
        self.lost: list[tuple[int, int]] = []
        self._hold(ring_arrays(fields, slots, self.size, folder))

    def _hold(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        self._flat = {name: a.reshape(self.slots * self.size, *a.shape[2:]) for name, a in arrays.items()}

    def replaced(self, name: str, array: NDArray[Any]) -> Replay:
        """The same records with another array (slots, L, …) for one field; all others are shared, not copied."""
        other = copy.copy(self)
        other._hold({**self.arrays, name: array})
        return other

    @property
    def bytes(self) -> int:
        """What the ring takes when it is full."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def first(self) -> int:
        """The tick of the oldest record still held."""
        return max(0, self.ticks - self.size)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The ticks ``start`` … ``stop`` − 1 whose records are held, one pair where none are lost."""
        found, start = [], self.first
        for gone, back in self.lost:
            if back > start:
                found.append((start, max(start, gone)))
                start = back
        return [*found, (start, self.ticks)]

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.spans) * self.slots

    def add(self, record: Mapping[str, NDArray[Any]]) -> None:
        """Add one record to every slot; each array has leading ``slots``."""
        at = self.ticks % self.size
        for name, array in self.arrays.items():
            array[:, at] = record[name]
        self.ticks += 1

    def windows(self, length: int) -> int:
        """How many different windows of T = ``length`` records there are."""
        return sum(max(0, stop - start - length + 1) for start, stop in self.spans) * self.slots

    def sample(
        self, rng: np.random.Generator, batch: int, length: int, out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Draw B windows of T records, uniformly over all windows and with replacement.

        ``is_first`` is true at each window's first record, wherever in its episode that lies: nothing of what came
        before it is known, the action that led into it included (as in the published code).

        Args:
            batch, length: B and T.
            out: buffers name → (B, T, …) to fill; they are returned.

        Returns:
            name → (B, T, …).

        Raises:
            UserError: no slot holds T records.
        """
        count = self.windows(length)
        if count == 0:
            raise UserError(
                f"a window of {length} steps does not fit: the replay holds {len(self) // self.slots} of each "
                f"environment (room for {self.size})"
            )
        slot, offset = np.divmod(rng.integers(count, size=batch), count // self.slots)
        return self.window(slot, self._starts(offset, length), length, out)

    def window(
        self,
        slot: NDArray[np.int64],
        start: NDArray[np.int64],
        length: int,
        out: Mapping[str, NDArray[Any]] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """The windows of T records of slots (B,) that begin at held ticks (B,), as :meth:`sample` gives them."""
        ticks = start[:, None] + np.arange(length)  # (B, T)
        rows = slot[:, None] * self.size + ticks % self.size
        # mode="clip" writes straight into `out`; the default would go through a copy.
        windows = {
            name: np.take(flat, rows, axis=0, out=None if out is None else out[name], mode="clip")
            for name, flat in self._flat.items()
        }
        windows["is_first"][:, 0] = True
        return windows

    def _starts(self, number: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """The first ticks of windows of T records by their number, those of a span after those of the one before."""
        if not self.lost:
            return self.first + number
        spans = np.array([span for span in self.spans if span[1] - span[0] >= length])
        ends = np.cumsum(spans[:, 1] - spans[:, 0] - length + 1)
        span = np.searchsorted(ends, number, side="right")
        return spans[span, 1] - length + 1 - (ends[span] - number)

    def buffers(self, batch: int, length: int) -> dict[str, NDArray[Any]]:
        """Empty arrays that :meth:`sample` can fill."""
        return {name: np.empty((batch, length, *a.shape[2:]), a.dtype) for name, a in self.arrays.items()}

    def read(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Copies of the records of ticks ``start`` … ``stop`` − 1, name → (slots, stop − start, …)."""
        if not self.first <= start <= stop <= self.ticks:
            raise ValueError(f"ticks {start}…{stop} are not within the held {self.first}…{self.ticks}")
        at = np.arange(start, stop) % self.size
        return {name: array[:, at] for name, array in self.arrays.items()}

    def fill(self, start: int, records: Mapping[str, NDArray[Any]]) -> None:
        """Put back what :meth:`read` gave for ticks from ``start`` on; later ticks are forgotten."""
        self.lost = [(gone, min(back, start)) for gone, back in self.lost if gone < start]
        count = records["is_first"].shape[1]
        at = np.arange(start, start + count) % self.size
        for name, array in self.arrays.items():
            array[:, at] = records[name]
        self.ticks = start + count

    def lose(self, start: int, stop: int) -> None:
        """Go on behind ticks whose records cannot be put back; as :meth:`fill`, without records."""
        self.lost.append((start, stop))
        self.ticks = stop
