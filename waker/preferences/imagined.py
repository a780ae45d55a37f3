"""Segments that a world model imagined, as records beside the file of queries: ``<name>-imagined.npz``.

They are kept as a small replay, one slot a segment: the real records that lead to the start state, and behind them what
the model dreamt, decoded. So whatever reads segments of the replay reads these: a world model filters what was *shown*,
not the latents behind it. ``source`` of a query names the file, ``slot`` and ``tick`` are places in it. No reward is
stored, as nobody knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.errors import UserError
from waker.preferences.converters import read_arrays, write_arrays
from waker.preferences.segments import Segments
from waker.replay.ring import Replay

REPLAY = "replay"
IMAGINED = "imagined"
_ORIGIN = "origin_slot", "origin_tick"


class Imagined(NamedTuple):
    """Imagined segments.

    Attributes:
        records: name → (n, T, …), the fields of the run's replay.
        origin: the slot and tick of each one's start state in the run's replay, and length 1.
    """

    records: dict[str, NDArray[Any]]
    origin: Segments

    @property
    def replay(self) -> Replay:
        """The records as a replay of n slots."""
        n, ticks = self.records["is_first"].shape
        found = Replay({k: (v.shape[2:], v.dtype) for k, v in self.records.items()}, n, n * ticks)
        found.fill(0, self.records)
        return found

    def at(self, which: NDArray[np.int64]) -> Imagined:
        """Some of them, by index."""
        return Imagined({name: array[which] for name, array in self.records.items()}, self.origin.at(which))


def file_of(queries: Path) -> Path:
    """The file of imagined segments beside a file of queries."""
    return queries.with_name(f"{queries.stem}-imagined.npz")


def source_of(queries: Path) -> str:
    """What the column ``source`` says of them."""
    return f"{IMAGINED}:{file_of(queries).name}"


def write_imagined(path: Path, imagined: Imagined) -> None:
    """Write the segments; without pickle.

    Raises:
        OSError: it could not be written.
    """
    write_arrays(path, {**imagined.records, **dict(zip(_ORIGIN, imagined.origin[:2], strict=True))})


def read_imagined(path: Path) -> Imagined:
    """Read them back.

    Raises:
        UserError: it is not there, or no such file.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there, and the queries are about segments in it: keep both files side by side")
    arrays = read_arrays(path)
    if missing := [name for name in (*_ORIGIN, "is_first", "is_terminal", "action") if name not in arrays]:
        raise UserError(f"{path} is no file of imagined segments: it lacks {', '.join(missing)}")
    slot, tick = (np.asarray(arrays.pop(name), np.int64) for name in _ORIGIN)
    return Imagined(arrays, Segments(slot, tick, np.ones_like(slot)))


def imagined_of(path: Path, frame: pd.DataFrame) -> Imagined | None:
    """The imagined segments that a file's queries are about; None where they are about the replay.

    Args:
        path, frame: of the queries.

    Raises:
        UserError: some are about one and some about the other, or see :func:`read_imagined`.
    """
    sources = sorted(set(frame["source"]))
    if len(sources) > 1:
        raise UserError(f"{path} asks about several sources, {', '.join(sources)}; keep them in files of their own")
    kind, _, name = sources[0].partition(":")
    if kind != IMAGINED or not name:
        return None
    if Path(name).name != name:
        raise UserError(f"{path}: source {sources[0]!r} must name a file beside it")
    return read_imagined(path.with_name(name))


def segments_in(path: Path, frame: pd.DataFrame, replay: Replay) -> Replay:
    """What the segments of a file's queries lie in: the run's replay, or the imagined records.

    Raises:
        UserError: see :func:`imagined_of`; or the records are none of this run's environment.
    """
    if (imagined := imagined_of(path, frame)) is None:
        return replay
    _check_fields(path, imagined.records, replay.arrays)
    return imagined.replay


def _check_fields(path: Path, given: Mapping[str, NDArray[Any]], own: Mapping[str, NDArray[Any]]) -> None:
    for name, array in own.items():
        if name not in given or given[name].shape[2:] != array.shape[2:] or given[name].dtype != array.dtype:
            raise UserError(f"{path}: the imagined segments are not of this run's environment ({name} differs)")
