"""Answers that take long to compute, kept on disk for other processes: one small file each, with its checksum.

A cache never fails. What cannot be read, is damaged or answers another question counts as missing; what cannot be
written is left out. Any number of processes may use one folder at once: a file is written under another name and then
put in its place, so that it is read whole or not at all. Called by :mod:`waker_envs.grids.cleanup_optima`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from uuid import uuid4


def cache_folder(name: str, variable: str) -> Path | None:
    """Where a cache lies: ``waker/NAME`` in the user's cache folder, or where an environment variable says.

    Args:
        variable: its name. Where it is set and empty, there is no cache.

    Returns:
        None = no cache; also where the user has no home.
    """
    given = os.environ.get(variable)
    try:
        if given is not None:
            return Path(given).expanduser() if given else None
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waker" / name
    except RuntimeError:  # pathlib's, of a user without a home
        return None


class DiskCache:
    """Texts by keys, in 256 folders by the first digits of the key's hash, so that no folder grows large.

    A file has three parts, each on a line of its own: the SHA-256 of the rest, the key, the answer.

    Args:
        folder: is made with the first answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> str | None:
        """The answer that was put last under this key; None = there is none, or it is damaged or cannot be read."""
        try:
            checksum, told, answer = self._file(key).read_bytes().decode().split("\n", 2)
        except (OSError, ValueError):  # ValueError: not UTF-8, or fewer lines
            return None
        return answer if told == key and checksum == _digest(f"{told}\n{answer}") else None

    def put(self, key: str, answer: str) -> None:
        """Keep an answer in place of the one before. One that cannot be written is left out.

        Nothing waits for the disk: a file that a loss of power has emptied counts as missing.

        Args:
            key: one line.
        """
        file, kept = self._file(key), f"{key}\n{answer}"
        unfinished = file.with_name(f".{file.name}-{uuid4().hex}")
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                unfinished.write_bytes(f"{_digest(kept)}\n{kept}".encode())
                os.replace(unfinished, file)
            finally:
                with contextlib.suppress(OSError):
                    unfinished.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        digest = _digest(key)
        return self.folder / digest[:2] / digest[2:]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
