"""How much memory this process may still take: of the machine's, of its control group's, of its own limit."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_GROUPS = (
    # limit, use, and what of the use the kernel gives back when asked: version 2, version 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process may still take; None where the system does not say.

    The least of what the system could give to new processes, what its control group (a container's, a batch job's)
    leaves it, and what its own limit of address space (``ulimit -v``) does.

    Args:
        proc, groups: where Linux tells these.
    """
    return min(
        (room for room in (*_of_machine(proc), *_of_group(groups), *_of_process(proc)) if room >= 0), default=None
    )


def _of_machine(proc: Path) -> Iterator[int]:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return
    yield from (1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def _of_group(groups: Path) -> Iterator[int]:
    for limit, use, stat, key in _GROUPS:
        try:
            most, used = (groups / limit).read_text().strip(), int((groups / use).read_text())
            lines = (line.split() for line in (groups / stat).read_text().splitlines())
            returned = sum(int(words[1]) for words in lines if words[0] == key)
        except (OSError, ValueError):
            continue
        if most.isdecimal():  # else "max"
            yield max(0, int(most) - used + returned)


def _of_process(proc: Path) -> Iterator[int]:
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return
    try:
        pages = int((proc / "self" / "statm").read_text().split()[0])
    except (OSError, ValueError):
        return
    yield max(0, most - pages * os.sysconf("SC_PAGE_SIZE"))
