"""Damage of files: one bit turned, or the end cut off. Pure functions of a path and chance; tests use them as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WRITTEN_FOR_PEOPLE = ("comparison.csv", "report.html", ".lock")
"""Files that no verb reads."""


def files_by_kind(folder: Path) -> dict[str, list[Path]]:
    """Every file of a run folder that is read by something, by what kind of file it is: a name without numbers.

    Checkpoints of different steps and parts of one table are of one kind; empty files are left out.
    """
    kinds: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        if path.name in WRITTEN_FOR_PEOPLE:
            continue
        kinds.setdefault(kind_of(path.relative_to(folder)), []).append(path)
    return kinds


def kind_of(path: Path) -> str:
    """``checkpoints/step-0000000160-000000007/state.pt`` → ``checkpoints/*/state.pt``."""
    words = ["*" if part.startswith(("step-", "part-", "ticks-", "run-")) else part for part in path.parts]
    if words[0] == "adapted" and len(words) > 2:
        words[1] = "*"
    return "/".join(words)


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file over; bit 0 is the lowest of its first byte."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    """Cut a file to its first ``size`` bytes."""
    path.write_bytes(path.read_bytes()[:size])


def flip_bit(path: Path, rng: np.random.Generator) -> str:
    """Turn one bit of a file over, any with the same chance; which one, in words.

    Raises:
        ValueError: the file is empty.
    """
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} is empty: it has no bit to turn")
    at, bit = int(rng.integers(size)), int(rng.integers(8))
    flip(path, 8 * at + bit)
    return f"bit {bit} of byte {at} of {size}"


def truncate(path: Path, rng: np.random.Generator) -> str:
    """Cut a file off: empty in one case of eight, else anywhere before its last byte; where, in words.

    Raises:
        ValueError: the file is empty.
    """
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} is empty: it cannot be cut")
    keep = 0 if rng.random() < 0.125 else int(rng.integers(size))
    cut(path, keep)
    return f"cut to {keep} of {size} bytes"
