"""Manifests: what a checkpoint consists of, which files beside it belong to it, and the settings of its run.

``checkpoints/step-<step>-<updates>/manifest.json`` holds ``format``, ``step``, ``updates``; ``bytes`` and ``sha256`` of
``state.pt``; ``replay`` (its chunks); ``tables`` (rows and generation of each); ``metrics``, the bytes of
``metrics.jsonl``; ``files``, what an evaluation had written beside the tables; and ``record``, the content of
``config.yaml``, which is written anew from there where it is lost. Read without torch, by reports as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waker.errors import UserError
from waker.storage.sealed import read_json, write_json

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


def _unlike(found: Mapping[str, Any], wanted: Mapping[str, type]) -> str | None:
    """The first key that is missing or of another type."""
    return next((k for k, kind in wanted.items() if type(found.get(k)) is not kind), None)
