"""A run's settings where ``config.yaml`` is lost: every checkpoint's manifest has a copy. Called by run folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from waker.errors import UserError
from waker.storage.files import saving
from waker.storage.manifest import checkpoint_paths, readable_manifests
from waker.storage.sealed import write_yaml


def copies_of_settings(path: Path) -> list[dict[str, Any]]:
    """The contents of a run folder's ``config.yaml`` that its checkpoints kept, newest first."""
    manifests = readable_manifests(path / "checkpoints")
    return [m["record"] for m in manifests if isinstance(m.get("record"), dict)]


def told_of_copies(path: Path) -> str:
    """The end of a message that a folder has no ``config.yaml``; empty where its checkpoints have no copy."""
    copied = "; its checkpoints have a copy: the run's own `waker train` command writes it anew"
    return copied if copies_of_settings(path) else ""


def recover_settings(path: Path, note: Callable[[str], None] = lambda text: None) -> None:
    """Write a lost ``config.yaml`` anew from the newest checkpoint; without one that has a copy, refuse the folder.

    Args:
        path: a run folder, or what is to become one.
        note: told in one line.

    Raises:
        UserError: there are checkpoints, and none tells whose they are.
        SaveFailed: it cannot be written.
    """
    file, folder = path / "config.yaml", path / "checkpoints"
    if file.exists() or not checkpoint_paths(folder):
        return
    records = copies_of_settings(path)
    if not records:
        raise UserError(
            f"{path} has checkpoints but no config.yaml, and they do not tell their settings; put config.yaml back, or "
            "remove the folder to start again"
        )
    with saving(f"settings in {path}"):
        write_yaml(file, records[0])
    note(f"{file} was missing: written anew from the newest checkpoint")
