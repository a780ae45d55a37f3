"""Which folders below one a user named are runs: for all commands that take a folder above them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

DEPTH = 6
"""Levels that are searched: two more than `waker train` puts runs below its ``runs``."""


def below(folder: Path, is_run: Callable[[Path], bool]) -> list[Path]:
    """The run folders at most :data:`DEPTH` levels below ``folder``, sorted.

    Links are not followed, hidden folders are skipped, and what a run keeps in itself (adapted policies, a logger's
    files) is no run: whoever names a folder that is high up does not search a whole disk, nor work on what is there.
    """
    found = []
    for place, inside, _ in os.walk(folder):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) + 1  # of what is inside
        names = [name for name in inside if not name.startswith(".") and not (here / name).is_symlink()]
        runs = [name for name in names if is_run(here / name)]
        found += [here / name for name in runs]
        inside[:] = [name for name in names if name not in runs] if deep < DEPTH else []
    return sorted(found)
