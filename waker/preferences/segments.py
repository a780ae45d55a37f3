"""Segments of the replay: which there are, and what their records hold.

In a replay ``action[t]`` led into record t, and ``task_rewards[t]`` came with it. A segment of L steps that starts in
the state of tick t so has the states t … t+L; its steps have the actions t+1 … t+L and earn the rewards t+1 … t+L.
Reward heads see the states *arrived in*, t+1 … t+L; a policy is asked in the states *left*, t … t+L−1.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker.replay.ring import Replay

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_UNSEEN = ("task_rewards",)
"""Fields that are no part of what is asked about: nobody sees them."""


class Segments(NamedTuple):
    """n segments, each (n,): the environment slot, the tick of the first state, and the steps L ≥ 1 that follow."""

    slot: Ints
    tick: Ints
    length: Ints

    def at(self, which: NDArray[Any]) -> Segments:
        """Some of them, by index or mask."""
        return Segments(*(part[which] for part in self))

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.slot)


def joined(parts: list[Segments]) -> Segments:
    """Several sets of segments, one behind the other."""
    return Segments(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def candidates(replay: Replay, length: int) -> Segments:
    """All segments that can be asked about, by slot and tick.

    A segment has ``length`` steps, or fewer where its episode ended *by itself* before (so what dies is asked about as
    well), or where the whole episode was shorter. None crosses a reset, the write head or ticks that are lost.

    Args:
        length: L ≥ 1.
    """
    found = []
    for start, stop in replay.spans:
        names = "is_first", "is_last", "is_terminal"
        first, last, terminal = (_field(replay, name, start, stop) for name in names)  # (slots, n)
        n = first.shape[1]
        at = np.arange(n)
        end, reset = _next(last, n), _next(first, n)  # ticks after which the episode, or the slot's stream, ends
        steps = np.minimum(length, end - at)
        arrives = np.minimum(at + steps, n - 1)
        whole = (at + steps < n) & (at + steps < reset) & ~last & (steps > 0)
        died = np.take_along_axis(terminal, arrives, 1)
        keep = whole & ((steps == length) | died | first)
        slot, tick = np.nonzero(keep)
        found.append(Segments(slot.astype(np.int64), (tick + start).astype(np.int64), steps[keep].astype(np.int64)))
    return joined(found)


def _field(replay: Replay, name: str, start: int, stop: int) -> NDArray[Any]:
    """A field's records of ticks ``start`` … ``stop`` − 1, (slots, n, …)."""
    return replay.arrays[name][:, np.arange(start, stop) % replay.size]


def _next(flag: Bools, n: int) -> Ints:
    """For each record the first later one with the flag, (slots, n); 2n where there is none."""
    marked = np.where(flag, np.arange(n), 2 * n)
    later = np.minimum.accumulate(marked[:, ::-1], 1)[:, ::-1]
    return np.concatenate([later[:, 1:], np.full((len(flag), 1), 2 * n)], 1)


def arrived(replay: Replay, name: str, segments: Segments) -> tuple[NDArray[Any], Bools]:
    """A field of the records that the segments' steps led to, t+1 … t+L.

    Returns:
        Values (n, Lmax, …), and which of them belong to the segment (n, Lmax); the others repeat its last.
    """
    step = np.arange(1, int(segments.length.max(initial=1)) + 1)
    inside = step <= segments.length[:, None]
    ticks = segments.tick[:, None] + np.minimum(step, segments.length[:, None])
    return replay.arrays[name][segments.slot[:, None], ticks % replay.size], inside


def left(replay: Replay, name: str, segments: Segments) -> tuple[NDArray[Any], Bools]:
    """A field of the records that the segments' steps left from, t … t+L−1; as :func:`arrived`."""
    values, inside = arrived(replay, name, segments._replace(tick=segments.tick - 1))
    return values, inside


def shown(replay: Replay, names: list[str], segments: Segments, number: int) -> dict[str, NDArray[Any]]:
    """The states t … t+L of one segment, name → (L+1, …): what a film of it shows."""
    ticks = int(segments.tick[number]) + np.arange(int(segments.length[number]) + 1)
    return {name: replay.arrays[name][int(segments.slot[number]), ticks % replay.size] for name in names}


def ended(replay: Replay, segments: Segments) -> Bools:
    """Whether each segment's last step ended its episode by itself, (n,)."""
    return replay.arrays["is_terminal"][segments.slot, (segments.tick + segments.length) % replay.size]


def held(replay: Replay, segments: Segments) -> Bools:
    """Whether all records of each segment are in the replay, (n,)."""
    last = segments.tick + segments.length
    inside = [(segments.tick >= start) & (last < stop) for start, stop in replay.spans]
    known = (segments.slot >= 0) & (segments.slot < replay.slots) & (segments.length >= 1)
    return known & np.logical_or.reduce(inside)


def begins(replay: Replay, segments: Segments) -> Ints:
    """The tick at which each segment's episode began, or −1 where that is no longer held, (n,)."""
    found = np.full(segments.n, -1, np.int64)
    for start, stop in replay.spans:
        first = _field(replay, "is_first", start, stop)
        marked = np.maximum.accumulate(np.where(first, np.arange(start, stop), -1), 1)
        here = (segments.tick >= start) & (segments.tick < stop)
        found[here] = marked[segments.slot[here], segments.tick[here] - start]
    return found


def windows(replay: Replay, segments: Segments, most: int) -> tuple[dict[str, NDArray[Any]], Ints]:
    """Records from which a recurrent model filters the segments' states.

    Each window begins with its episode's first record, or ``most`` records before the segment's end (never behind its
    first state), whichever is nearer, and ends with the segment; shorter ones repeat their last record behind it.

    Args:
        most: records of a window; more where a segment is longer.

    Returns:
        name → (n, T, …), ``is_first`` true at each window's first record; and the place of each segment's first state
        in its window, (n,).
    """
    last = segments.tick + segments.length
    spans = replay.spans
    oldest = np.max([np.where(segments.tick >= start, start, 0) for start, _ in spans], 0)
    start = np.maximum.reduce([begins(replay, segments), np.minimum(last - most + 1, segments.tick), oldest])
    width = int((last - start).max(initial=0)) + 1
    ticks = np.minimum(start[:, None] + np.arange(width), last[:, None])
    found = {name: array[segments.slot[:, None], ticks % replay.size] for name, array in replay.arrays.items()}
    found["is_first"] = found["is_first"].copy()
    found["is_first"][:, 0] = True
    return found, segments.tick - start


def shared_starts(replay: Replay, pairs: tuple[Segments, Segments], most: int) -> Bools:
    """Of which pairs both segments begin after the same history: the same records as far as a model is shown, (n,).

    Args:
        most: records before a segment that a model sees, at most.
    """
    one, two = (_histories(replay, segments, most) for segments in pairs)
    return np.array([a == b for a, b in zip(one, two, strict=True)], bool)


def _histories(replay: Replay, segments: Segments, most: int) -> list[bytes]:
    records, place = windows(replay, segments._replace(length=np.zeros_like(segments.length)), most + 1)
    names = [name for name in sorted(records) if name not in (*_UNSEEN, "theta_id", "is_last", "is_terminal")]
    found = []
    for n, last in enumerate(place.tolist()):
        # What led into a window's first record is not known to a model.
        parts = [records[name][n, name == "action" : last + 1] for name in names]
        found.append(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    return found


def digests(replay: Replay, first: Segments, second: Segments) -> list[str]:
    """What tells that both segments of each pair are still the records that were asked about.

    Returns:
        For each pair the first 64 bits of a SHA-256, of observations, actions, ends and θ, in hexadecimal.
    """
    names = [name for name in sorted(replay.arrays) if name not in _UNSEEN]
    return [_digest(replay, names, first, second, number) for number in range(first.n)]


def _digest(replay: Replay, names: list[str], first: Segments, second: Segments, number: int) -> str:
    found = hashlib.sha256()
    for segments in (first, second):
        for name, array in shown(replay, names, segments, number).items():
            found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
