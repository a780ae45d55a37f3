"""Checkpoints: whole or absent, checked on reading, and never executing anything that was read.

``checkpoints/step-<step>-<updates>/`` holds ``state.pt`` (``torch.save`` of tensors and plain values, loaded with
``weights_only=True``) and ``manifest.json`` (:mod:`waker.storage.manifest`). The folder is prepared under another name
and renamed when all of it is on the disk. The last ``keep`` are kept, so that a damaged newest one leaves another to
continue from.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
import torch

from waker.errors import UserError
from waker.storage.files import TEMPORARY, atomic, sha256, sync_folder
from waker.storage.manifest import (
    CheckpointCorrupt,
    ReplayLost,
    checkpoint_paths,
    read_manifest,
    readable_manifests,
    write_manifest,
)
from waker.terminal.notices import tell_loss

_ARRAY, _SCALAR, _INTEGER = "__array__", "__scalar__", "__integer__"
T = TypeVar("T")


class CheckpointMisfit(UserError):
    """A checkpoint is what was saved, and does not fit what it is loaded into."""


_MISFITS = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)
"""What loading a state of another shape raises, in torch and in this package."""


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


def _fitted(path: Path, use: Callable[[dict[str, Any]], T], state: dict[str, Any]) -> T:
    """``use`` the state of a checkpoint.

    Raises:
        CheckpointMisfit: it is of another shape than what it is loaded into.
    """
    try:
        return use(state)
    except (UserError, torch.OutOfMemoryError):
        raise
    except _MISFITS as error:
        what = " ".join(str(error).split())[:300]
        raise CheckpointMisfit(
            f"checkpoint {path} is whole but does not fit this run ({type(error).__name__}: {what}): it was saved by "
            "another version or with other settings"
        ) from error


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
        return checkpoint_paths(self.folder)

    def save(
        self,
        state: Mapping[str, Any],
        step: int,
        updates: int,
        replay: Mapping[str, Any] | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> Path:
        """Save ``state`` (nested mappings and lists of tensors, arrays and plain values) as the newest checkpoint.

        Args:
            step, updates: agent steps and updates so far; they name the checkpoint.
            replay: the replay store's state, for the manifest; None = it needs no replay.
            beside: what else the manifest tells (``tables``, ``record``).

        Raises:
            OSError: not saved; earlier checkpoints are intact.
        """
        self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that was removed does not come back
        final = self.folder / f"step-{step:010d}-{updates:09d}"
        prepared = self.folder / (TEMPORARY + final.name)
        self.tidy()
        prepared.mkdir()
        try:
            _save_state(prepared / "state.pt", state)
            size = (prepared / "state.pt").stat().st_size
            manifest: dict[str, Any] = {"step": step, "updates": updates, "bytes": size}
            manifest |= {"sha256": sha256(prepared / "state.pt"), "replay": replay or {"chunks": []}, **(beside or {})}
            write_manifest(prepared, manifest)
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
        return readable_manifests(self.folder)

    def load(self, path: Path) -> dict[str, Any]:
        """Read one checkpoint; its tensors are on the CPU.

        Raises:
            CheckpointCorrupt: it is torn or damaged.
        """
        manifest = read_manifest(path)
        file = path / "state.pt"
        try:
            if not file.is_file() or file.stat().st_size != manifest["bytes"] or sha256(file) != manifest["sha256"]:
                raise CheckpointCorrupt(f"checkpoint {path} is damaged: state.pt is not what its manifest says")
            state: dict[str, Any] = unpack(torch.load(file, map_location="cpu", weights_only=True))
        except UserError:
            raise
        except (OSError, pickle.UnpicklingError, EOFError, *_MISFITS) as error:
            what = " ".join(str(error).split())[:200]
            raise CheckpointCorrupt(f"checkpoint {path} cannot be read: {type(error).__name__}: {what}") from error
        if not isinstance(state, dict):
            raise CheckpointCorrupt(f"checkpoint {path} cannot be read: it holds no state")
        return state

    def newest(
        self,
        use: Callable[[dict[str, Any]], T],
        note: Callable[[str], None],
        otherwise: Callable[[dict[str, Any]], T] | None = None,
    ) -> T | None:
        """``use`` the newest whole checkpoint; one that cannot be used is passed over with one line to ``note``.

        Args:
            use: given the state; may raise :class:`CheckpointCorrupt` when a file that it needs is damaged.
            otherwise: tried when no checkpoint can be used, newest first: it does without what may be done without.

        Returns:
            What ``use`` (or ``otherwise``) returned, or None where there is no checkpoint at all.

        Raises:
            CheckpointMisfit: there are checkpoints, none can be used, and the newest whole one does not fit.
            ReplayLost: there are whole ones, but no replay to go on with.
            UserError: there are checkpoints, and none is whole.
        """
        paths, misfit, replay_lost = self.paths(), None, None
        for left, path in zip(reversed(range(len(paths))), paths, strict=True):
            try:
                return _fitted(path, use, self.load(path))
            except (CheckpointCorrupt, CheckpointMisfit) as error:
                misfit = misfit or (error if isinstance(error, CheckpointMisfit) else None)
                then = "trying the one before" if left else "it is the oldest"
                tell_loss(note, f"{path.name} is not usable ({error}); {then}")
        for path in paths if otherwise is not None and misfit is None else ():
            assert otherwise is not None
            try:
                return _fitted(path, otherwise, self.load(path))
            except (CheckpointCorrupt, CheckpointMisfit) as error:  # told above
                replay_lost = replay_lost or (error if isinstance(error, ReplayLost) else None)
        if misfit is not None:
            raise CheckpointMisfit(f"no checkpoint in {self.folder} can be used: {misfit}")
        if replay_lost is not None:
            raise replay_lost
        if paths:
            raise UserError(f"no checkpoint in {self.folder} is whole; remove {self.folder.parent} to start again")
        return None

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
