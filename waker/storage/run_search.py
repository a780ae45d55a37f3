"""Which folders are runs, in or below those that a user named: for all commands that take a run or a folder above."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable
from pathlib import Path

from waker.errors import UserError
from waker.storage.manifest import told_of_copies

DEPTH = 6
"""Levels that are searched: two more than `waker train` puts runs below its ``runs``."""
KEPT_ROWS = "rows"
"""Where `waker sweep` keeps copies of its runs' rows, below the runs' own folder."""


def has_settings(folder: Path) -> bool:
    """Whether a folder is a run that can be worked on."""
    return (folder / "config.yaml").is_file()


def is_kept_rows(folder: Path) -> bool:
    """Whether a folder without a checkpoint is what a study keeps of a finished run: rows, and no replay."""
    return any(folder.glob("*.parquet")) and not (folder / "replay").exists()


def run_folders(
    given: Iterable[Path], is_run: Callable[[Path], bool] = has_settings, mark: str = "config.yaml"
) -> list[Path]:
    """Every run folder in or under those ``given`` (:func:`below`), each once, in their order.

    Of a run and the rows that a study keeps of it, only the run.

    Args:
        is_run: tells runs; ``mark`` says what it looks for.

    Raises:
        UserError: a folder that does not exist or holds no run.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_file():
            raise UserError(f"{path} is a file, and a run is a folder")
        if not path.is_dir():
            raise UserError(f"no folder {path}{_nearby(path)}")
        here = [path] if is_run(path) else below(path, is_run)
        if not here:
            where = f"in it or at most {DEPTH} levels below it"
            raise UserError(f"{path} holds no run: expected {mark} {where}{told_of_copies(path)}")
        found.update(dict.fromkeys(here))
    return [path for path in found if not _is_copy(path, found)]


def _is_copy(path: Path, found: Container[Path]) -> bool:
    """Whether it holds the rows that a study keeps of a run which has been found as well."""
    parts = path.parts
    return any(Path(*parts[:i], *parts[i + 1 :]) in found for i, part in enumerate(parts) if part == KEPT_ROWS)


def one_run(path: Path) -> Path:
    """The one run folder in or under ``path``.

    Raises:
        UserError: there is none, or there are several.
    """
    found = run_folders([path])
    if len(found) > 1:
        names = ", ".join(str(run.relative_to(path)) for run in found[:4])
        raise UserError(f"{path} holds {len(found)} runs, and one is wanted: {names}{' …' if len(found) > 4 else ''}")
    return found[0]


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


def _nearby(path: Path) -> str:
    """What is there instead, as the end of a message."""
    parent = path.absolute().parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    inside = sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))[:8]
    return f"; {parent} holds {', '.join(inside)}" if inside else f"; {parent} holds no folder"
