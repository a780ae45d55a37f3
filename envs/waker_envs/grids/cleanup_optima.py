"""Optima of GridCleanUp that are not solved twice: kept in memory for this process, and on disk for the next.

The runs of a study play the same episodes, each in processes of its own. A process that meets its first room of three
blocks or more computes tables of costs for seconds before it searches; where the disk has all its episodes, it needs
none. The environment variable :data:`VARIABLE` names the folder, or switches it off. Called by
:class:`waker_envs.grids.cleanup.GridCleanUp` alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from functools import lru_cache
from pathlib import Path

from waker_envs.disk_cache import DiskCache, cache_folder
from waker_envs.grids.cleanup_exact import Room, Solution, solve

VARIABLE = "WAKER_OPTIMA_CACHE"
"""Names the folder. Set and empty: nothing is kept on disk. Not set: ``waker/optima`` in the user's cache folder."""
SLOW = 0.05
"""CPU seconds; what took longer is kept on disk."""
MANY = 3
"""Rooms of so many blocks are kept whatever they took, as they need tables that take up to two seconds a process."""
SOURCES = ("cleanup_optima", "cleanup_exact", "cleanup_costs", "placements", "pushing")
"""Modules of this folder that a solution depends on: their text is the version of the solver."""


@lru_cache(maxsize=4096)
def optimum(room: Room, steps: int, per_cell: int) -> Solution:
    """What :func:`waker_envs.grids.cleanup_exact.solve` finds, from the disk where it is kept.

    Args:
        steps: at least 1.
        per_cell: what a cell of distance costs after the last step, ≥ 0.
    """
    cache = _cache()
    if cache is None:
        return solve(room, steps, per_cell)
    key = json.dumps({**room._asdict(), "steps": steps, "per_cell": per_cell, "solver": version()})
    kept = cache.get(key)
    if kept is not None:
        return _read(kept)
    began = time.thread_time()
    found = solve(room, steps, per_cell)
    if len(room.left) + len(room.right) >= MANY or time.thread_time() - began > SLOW:
        cache.put(key, json.dumps(found._asdict()))
    return found


def _read(kept: str) -> Solution:
    """A solution from its text, which this version of the solver wrote: the key says so."""
    told = json.loads(kept)
    return Solution(told["bound"], told["cost"], tuple(told["actions"]))


def _cache() -> DiskCache | None:
    """One folder for each version of the solver, so that old ones can be deleted; None = nothing is kept."""
    folder, solver = cache_folder("optima", VARIABLE), version()
    return DiskCache(folder / solver) if folder and solver else None


@lru_cache(maxsize=1)
def version() -> str:
    """16 digits that another text of the solver changes; empty where the text is not at hand."""
    found = hashlib.sha256()
    try:
        for name in SOURCES:
            found.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    except OSError:
        return ""
    return found.hexdigest()[:16]
