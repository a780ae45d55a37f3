"""Writing files so that a kill, a full disk or a torn write never leaves half of one behind; reading damaged ones.

Everything a run saves (checkpoints, replay chunks, table parts, the configuration) goes through :func:`atomic`;
whoever saves wraps the whole act in :func:`saving`, which turns the operating system's complaint into one line.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import stat
import zlib
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from waker.errors import UserError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Out of disk, out of quota, past the largest file allowed."""
TEMPORARY = ".tmp-"
"""Prefix of unfinished files; table readers skip names that begin with a dot."""

LOST = "_lost-"
"""Prefix of what was damaged and set aside; table readers skip names that begin with an underscore."""


_numbers = itertools.count()


def _temporary(name: str) -> str:
    """A name for an unfinished file that no other writer uses, in this process or another, here or on another host."""
    return f"{TEMPORARY}{_host():x}-{os.getpid()}-{next(_numbers)}-{name}"


def _host() -> int:
    return zlib.crc32(os.uname().nodename.encode())


def clear_unfinished(folder: Path, alone: bool = False) -> None:
    """Remove unfinished files that nobody will finish: those of processes of this host which are no more.

    Args:
        alone: nobody else writes in this folder, as it lies in a run folder that this process has locked: then all
            are, of other hosts as well.

    Raises:
        OSError: one cannot be removed.
    """
    for path in folder.glob(f"{TEMPORARY}*" if alone else f"{TEMPORARY}{_host():x}-*"):
        if path.is_file() and (alone or _left_behind(path.name)):
            path.unlink(missing_ok=True)


def _left_behind(name: str) -> bool:
    pid = name.removeprefix(TEMPORARY).split("-")[1]
    return pid.isdecimal() and not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


class SaveFailed(UserError):
    """Something could not be written; what was written before is intact."""


class Damaged(UserError):
    """A file is not what was written, as its checksum tells; the message names it."""


def sync_folder(folder: Path) -> None:
    """Make renames and deletions inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under ``path`` only when the block ends well, whole and on the disk.

    A link is followed and stays. What is there and is no file (a device, a pipe) is never replaced: the content goes
    into it when the block ends well.

    Raises:
        OSError: it could not be written; ``path`` is as it was before.
    """
    if _is_special(path):
        content = io.BytesIO()
        yield content
        _pour(content, path)
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if not path.name:  # "", "." or "/"
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(_temporary(path.name))
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_special(path: Path) -> bool:
    """Whether ``path`` is a device, a pipe or a socket, or a link to one."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing yet, or it cannot be looked at: making it will tell
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _pour(content: io.BytesIO, path: Path) -> None:
    """Write into what is there.

    Raises:
        OSError: it takes no writing, or nobody reads it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)  # else a pipe without a reader waits on
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "nobody reads from this pipe, or it is a socket", str(path)) from error
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as file:
        file.write(content.getbuffer())


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically."""
    with atomic(path) as file:
        file.write(text.encode())


@contextmanager
def saving(what: str, hint: str = "") -> Iterator[None]:
    """Turn an ``OSError`` of the block into :class:`SaveFailed`: one line that ends with ``hint``."""
    try:
        yield
    except OSError as error:
        reason = "no space left" if error.errno in NO_SPACE else (error.strerror or str(error))
        named = error.filename2 or error.filename  # of a rename, where to: the other one is an unfinished file
        where = f" ({named})" if named else ""
        raise SaveFailed(f"cannot save {what}: {reason}{where}{hint}") from error


def check_writable(what: str, path: Path | None) -> None:
    """Look whether a file can be made where a command will write it in the end, before it works for it.

    Nothing stays of it: of a folder that is not there yet, the nearest one above is looked at.

    Args:
        what: it is, for the message: ``the page``.
        path: the file; None = there is none to write.

    Raises:
        UserError: it is a folder.
        SaveFailed: it lies in what is no folder, or its folder cannot be made or written.
    """
    if path is None:
        return
    if os.path.isdir(path) or not path.name:
        raise UserError(f"{what} must be a file, and {path} is a folder")
    with saving(f"{what} {path}"):
        _probe(path)


def _probe(path: Path) -> None:
    if _is_special(path):  # a device or a pipe, which opening might wait for or change
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"{folder} cannot be written")
    temporary = folder / _temporary(path.name)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError as error:
        raise OSError(error.errno, f"{folder} takes no file: {error.strerror}") from error
    temporary.unlink()


def check_folder(what: str, path: Path) -> None:
    """Look whether a path can be a folder that a command makes or reads.

    Args:
        what: the option that it was given to.

    Raises:
        UserError: it, or what it lies in, is a file.
    """
    for place in (path, *path.parents):
        if os.path.lexists(place):
            if not place.is_dir():
                inside = "" if place == path else f": {place}"
                raise UserError(f"{what} {path}{inside} is {'a file' if place.is_file() else 'no folder'}")
            return


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes its reader raise in the block into a ``UserError`` of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # readers of Parquet, archives and YAML have many ways to fail
        what = " ".join(str(error).split())[:200]
        if (mark := getattr(error, "problem_mark", None)) is not None:  # of YAML: its own words quote the parser's
            problem = getattr(error, "problem", None) or "it cannot be parsed"
            raise UserError(f"{path} cannot be read: it is no YAML, line {mark.line + 1}: {problem}") from error
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {what}") from error


def missing_from(folder: Path, names: Set[str]) -> Path | None:
    """One of ``names`` that is no longer in ``folder``, or the folder where it is gone; None while all are there."""
    try:
        missing = names - set(os.listdir(folder)) if names else set()
    except OSError:
        return folder
    return folder / min(missing) if missing else None


def is_open_as(file: IO[Any], path: Path) -> bool:
    """Whether ``path`` still names the file that is open, and not nothing or another one."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
