"""Manifests: what a checkpoint consists of, which files beside it belong to it, and the settings of its run.

``checkpoints/step-<step>-<updates>/manifest.json`` holds ``format``, ``step``, ``updates``; ``bytes`` and ``sha256`` of
``state.pt``; ``replay`` (its chunks); ``tables`` (rows and generation of each); ``metrics``, the bytes of
``metrics.jsonl``; ``files``, what an evaluation had written beside the tables; and ``record``, the content of
``config.yaml``, which is written anew from there where it is lost. Read without torch, by reports as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from waker.errors import UserError
from waker.storage.files import saving
from waker.storage.sealed import read_json, write_json, write_yaml

FORMAT = 1
NAME = "manifest.json"
_WHOLE: Mapping[str, type] = {"step": int, "updates": int, "bytes": int, "sha256": str, "replay": dict}
_CHUNK: Mapping[str, type] = {"name": str, "start": int, "stop": int}


class CheckpointCorrupt(UserError):
    """A checkpoint (or a file it needs) is torn, damaged or missing."""


class ReplayLost(CheckpointCorrupt):
    """A checkpoint is whole, and the replay that it needs is not there."""


def checkpoint_paths(folder: Path) -> list[Path]:
    """All checkpoints of a folder, newest first."""
    return sorted((p for p in folder.glob("step-*") if p.is_dir()), key=lambda p: p.name, reverse=True)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a checkpoint's manifest.

    Args:
        path: the checkpoint's folder.

    Raises:
        OSError: it could not be written.
    """
    write_json(path / NAME, {"format": FORMAT, **manifest})


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of one checkpoint, with all that it must have.

    Raises:
        CheckpointCorrupt: it is missing, damaged, or lacks something.
    """
    try:
        manifest = read_json(path / NAME)
    except (OSError, UserError) as error:
        raise CheckpointCorrupt(f"checkpoint {path} has no readable manifest: {error}") from error
    if manifest.get("format") != FORMAT:
        raise CheckpointCorrupt(f"checkpoint {path} is of another format")
    wrong = _unlike(manifest, _WHOLE)
    chunks = manifest["replay"].get("chunks") if not wrong else None
    if not wrong and not isinstance(chunks, list):
        wrong = "replay.chunks"
    for chunk in chunks or ():
        wrong = wrong or (_unlike(chunk, _CHUNK) if isinstance(chunk, dict) else "replay.chunks")
    if wrong:
        raise CheckpointCorrupt(f"checkpoint {path} has no readable manifest: {wrong!r} is missing or of another type")
    return manifest


def readable_manifests(folder: Path) -> list[dict[str, Any]]:
    """The readable manifests of a folder of checkpoints, newest first."""
    found = []
    for path in checkpoint_paths(folder):
        try:
            found.append(read_manifest(path))
        except CheckpointCorrupt:
            continue
    return found


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


def _unlike(found: Mapping[str, Any], wanted: Mapping[str, type]) -> str | None:
    """The first key that is missing or of another type."""
    return next((k for k, kind in wanted.items() if type(found.get(k)) is not kind), None)
