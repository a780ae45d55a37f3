"""Memory for the replay's ring: one mapping of the system's pages, touched as the ring fills, and no byte beyond it.

A run's ring is mapped from a nameless file in its folder, so it may be larger than memory: the system writes old pages
to disk where it needs the room. Rings without a folder are anonymous memory. What cannot fit is refused at the start.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from waker.errors import UserError
from waker.machine.free_memory import free_memory

_ALIGN = 64
"""Arrays begin at multiples of a cache line."""

Fields = Mapping[str, tuple[tuple[int, ...], DTypeLike]]
"""name → (shape of one record, dtype)."""


def record_bytes(fields: Fields) -> int:
    """Bytes of one record."""
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in fields.values())


def ring_arrays(fields: Fields, slots: int, size: int, folder: Path | None) -> dict[str, NDArray[Any]]:
    """Zeroed arrays name → (slots, size, …) in one mapping.

    Args:
        folder: where the file lies that is mapped; None = anonymous memory.

    Raises:
        UserError: disk or memory has not enough room.
    """
    offsets: dict[str, int] = {}
    total = 0
    for name, (shape, dtype) in fields.items():
        offsets[name] = total
        length = slots * size * math.prod(shape) * np.dtype(dtype).itemsize
        total += math.ceil(length / _ALIGN) * _ALIGN
    _check_room(total, slots * size, folder)
    if folder is None:
        memory = mmap.mmap(-1, max(total, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        # Nameless: however the process ends, the file goes with it. Its room is taken at once: a mapping for which the
        # disk has no room later kills the process, with no chance to save.
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                _reserve(file.fileno(), max(total, 1))
            except OSError as error:
                told = f"a replay of {slots * size:,} steps takes {amount(total)}, which {folder} has no room for"
                raise UserError(f"{told} ({error.strerror}); choose a smaller --train.replay") from error
            memory = mmap.mmap(file.fileno(), max(total, 1))
    return {
        name: np.frombuffer(memory, dtype, slots * size * math.prod(shape), offsets[name]).reshape(slots, size, *shape)
        for name, (shape, dtype) in fields.items()
    }


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        os.truncate(file, size)


def amount(size: float) -> str:
    """Bytes for people: ``12.3 GB``."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB" if size < 1e6 else f"{size:.3g} GB"


def check_room(fields: Fields, slots: int, capacity: int, folder: Path) -> None:
    """Refuse a replay that the disk of ``folder`` has no room for, before anything is made.

    Args:
        slots, capacity: environment slots, and records in all.

    Raises:
        UserError: with the largest that would fit.
    """
    steps = slots * (capacity // slots)
    _check_room(steps * record_bytes(fields), steps, folder)


def _check_room(total: int, steps: int, folder: Path | None) -> None:
    room = free_memory() if folder is None else shutil.disk_usage(_existing(folder)).free
    if room is not None and total > room:
        where = "in memory" if folder is None else f"on the disk of {folder}"
        raise UserError(
            f"a replay of {steps:,} steps takes {amount(total)} and {amount(room)} are free {where}; "
            f"--train.replay {max(1, int(0.9 * steps * room / total))} would fit"
        )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.resolve()
    return folder if folder.exists() else _existing(folder.parent)
