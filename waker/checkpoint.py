"""Checkpoints: whole or absent, checked on reading, and never executing anything that was read.

``checkpoints/step-<step>-<updates>/`` holds ``state.pt`` (``torch.save`` of tensors and plain values, loaded with
``weights_only=True``) and ``manifest.json`` (its size and SHA-256, and which replay chunks it needs). The folder is
prepared under another name and renamed when all of it is on the disk. The last ``keep`` are kept, so that a
damaged newest one leaves another to continue from.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
import torch

from waker.errors import UserError
from waker.files import TEMPORARY, atomic, sha256, sync_folder, write_text

FORMAT = 1
_ARRAY, _SCALAR, _INTEGER = "__array__", "__scalar__", "__integer__"
T = TypeVar("T")


class CheckpointCorrupt(UserError):
    """A checkpoint (or a file it needs) is torn, damaged or missing."""


def pack(tree: Any) -> Any:
    """Turn numpy arrays, numpy scalars and integers past 64 bits into what ``weights_only`` loading admits."""
    if isinstance(tree, Mapping):
        return {key: pack(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        packed = [pack(value) for value in tree]
        return tuple(packed) if isinstance(tree, tuple) else packed
    if isinstance(tree, np.ndarray):
        return {_ARRAY: torch.from_numpy(np.array(tree, order="C"))}
    if isinstance(tree, np.generic):
        return {_SCALAR: torch.from_numpy(np.array(tree))}
    if isinstance(tree, int) and not isinstance(tree, bool) and tree.bit_length() > 62:
        return {_INTEGER: hex(tree)}
    return tree


def unpack(tree: Any) -> Any:
    """The inverse of :func:`pack`."""
    if isinstance(tree, Mapping):
        if len(tree) == 1:
            key, value = next(iter(tree.items()))
            if key == _ARRAY:
                return value.numpy()
            if key == _SCALAR:
                return value.numpy()[()]
            if key == _INTEGER:
                return int(value, 16)
        return {key: unpack(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(unpack(value) for value in tree)
    return tree


class _Recorder(io.RawIOBase):
    """Passes writes on and remembers an ``OSError``, which torch would hide behind a ``RuntimeError``."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def _save_state(path: Path, state: Mapping[str, Any]) -> None:
    with atomic(path) as file:
        recorder = _Recorder(file)
        try:
            torch.save(pack(state), cast(BinaryIO, recorder))
        except RuntimeError as error:
            if recorder.error is not None:
                raise recorder.error from error
            raise


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
        folder: ``<run>/checkpoints``; made by the first save.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, max(1, keep)

    def paths(self) -> list[Path]:
        """All checkpoints, newest first."""
        return sorted((p for p in self.folder.glob("step-*") if p.is_dir()), key=lambda p: p.name, reverse=True)

    def save(self, state: Mapping[str, Any], step: int, updates: int, replay: Mapping[str, Any] | None = None) -> Path:
        """Save ``state`` (nested mappings and lists of tensors, arrays and plain values) as the newest checkpoint.

        Args:
            step, updates: agent steps and updates so far; they name the checkpoint.
            replay: the replay store's state, for the manifest; None = it needs no replay.

        Raises:
            OSError: not saved; earlier checkpoints are intact.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"step-{step:010d}-{updates:09d}"
        prepared = self.folder / (TEMPORARY + final.name)
        self.tidy()
        prepared.mkdir()
        try:
            _save_state(prepared / "state.pt", state)
            size = (prepared / "state.pt").stat().st_size
            manifest: dict[str, Any] = {"format": FORMAT, "step": step, "updates": updates, "bytes": size}
            manifest |= {"sha256": sha256(prepared / "state.pt"), "replay": replay or {"chunks": []}}
            write_text(prepared / "manifest.json", json.dumps(manifest))
            sync_folder(prepared)
            if final.exists():
                # The same step saved again: one rename puts the old one aside, the next puts the new one in place.
                os.replace(final, self.folder / (TEMPORARY + "old-" + final.name))
            os.replace(prepared, final)
            sync_folder(self.folder)
        finally:
            shutil.rmtree(prepared, ignore_errors=True)
        for stale in [p for p in self.paths() if p.name > final.name]:  # of a later time that was given up
            shutil.rmtree(stale)
        for stale in self.paths()[self.keep :]:
            shutil.rmtree(stale)
        self.tidy()
        return final

    def manifests(self) -> list[dict[str, Any]]:
        """The readable manifests, newest first."""
        found = []
        for path in self.paths():
            try:
                found.append(self._manifest(path))
            except CheckpointCorrupt:
                continue
        return found

    def load(self, path: Path) -> dict[str, Any]:
        """Read one checkpoint; its tensors are on the CPU.

        Raises:
            CheckpointCorrupt: it is torn or damaged.
        """
        manifest = self._manifest(path)
        file = path / "state.pt"
        if not file.is_file() or file.stat().st_size != manifest["bytes"] or sha256(file) != manifest["sha256"]:
            raise CheckpointCorrupt(f"checkpoint {path} is damaged: state.pt is not what its manifest says")
        try:
            state: dict[str, Any] = unpack(torch.load(file, map_location="cpu", weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise CheckpointCorrupt(f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error
        return state

    def newest(self, use: Callable[[dict[str, Any]], T], note: Callable[[str], None]) -> T | None:
        """``use`` the newest whole checkpoint; a damaged one is passed over with one line to ``note``.

        Args:
            use: given the state; may raise :class:`CheckpointCorrupt` when a file that it needs is damaged.

        Returns:
            What ``use`` returned, or None where there is no checkpoint at all.

        Raises:
            UserError: there are checkpoints, and none is whole.
        """
        paths = self.paths()
        for path in paths:
            try:
                return use(self.load(path))
            except CheckpointCorrupt as error:
                note(f"{path.name} is not usable ({error}); trying the one before")
        if paths:
            raise UserError(f"no checkpoint in {self.folder} is whole; remove {self.folder.parent} to start again")
        return None

    def _manifest(self, path: Path) -> dict[str, Any]:
        try:
            manifest = json.loads((path / "manifest.json").read_text())
            if not isinstance(manifest, dict) or manifest["format"] != FORMAT:
                raise CheckpointCorrupt(f"checkpoint {path} is of another format")
            return manifest
        except (OSError, KeyError, ValueError) as error:
            if isinstance(error, CheckpointCorrupt):
                raise
            raise CheckpointCorrupt(f"checkpoint {path} has no readable manifest") from error

    def tidy(self) -> None:
        """Remove what a killed save left; bring back a checkpoint that was put aside for one that never came.

        For the process that writes this run: a reader would disturb a save under way.
        """
        for aside in self.folder.glob(TEMPORARY + "old-step-*"):
            place = self.folder / aside.name.removeprefix(TEMPORARY + "old-")
            if place.exists():
                shutil.rmtree(aside)
            else:
                os.replace(aside, place)
        for left in self.folder.glob(TEMPORARY + "step-*"):
            shutil.rmtree(left)
