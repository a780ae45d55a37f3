"""``metrics.jsonl``: one row a line, and beside it ``metrics.sums``, one CRC-32 a line.

A row is appended and flushed by itself, so the file cannot have one checksum; the sums find a changed digit in any row,
those after the newest checkpoint included, and say which one it is. A file without sums was written by an earlier
version, or by somebody else: it is read as it is.

What a resume finds damaged it sets aside as ``_lost-metrics.jsonl``, tells it, and goes on with the other rows.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from waker.errors import UserError
from waker.storage.files import LOST, Damaged, atomic, is_open_as

Metrics = Mapping[str, float | int | str]
_SUM_BYTES = 9


def sums_of(path: Path) -> Path:
    """Where the checksums of a file of rows lie."""
    return path.with_suffix(".sums")


def lost_of(path: Path) -> Path:
    """Where a file of rows lies that was damaged and has been written anew."""
    return path.with_name(LOST + path.name)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a file.

    Raises:
        Damaged: a row is not what was written, or missing.
        UserError: a line is not JSON.
    """
    sums = sums_of(path)
    known = sums.read_bytes() if sums.is_file() else None  # before the rows: a run may add some meanwhile
    content = path.read_bytes()
    lines, faults = _checked(content, known)
    if faults:
        raise Damaged(
            f"{path} does not fit its checksums in {sums.name} ({faults}): one of them is damaged; the run's own "
            "`waker train` command sets that aside and goes on without it"
        )
    rest = content.rpartition(b"\n")[2]
    if rest and known is None:  # of other programs, which may end without a newline
        lines = [*lines, rest]
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if line is rest:  # a run killed while writing leaves a torn last line
                break
            raise UserError(f"{path} line {number} is not JSON") from error
    return rows


def _checked(content: bytes, sums: bytes | None) -> tuple[list[bytes], str]:
    """The lines that are as they were written, and what is wrong with others, if anything.

    Lines are compared with sums wherever they stand: a newline more or less shifts all after it. A last line that is
    cut and has no sum is what a kill leaves, and so is a last line without a sum.
    """
    lines = _split(content)
    if sums is None:
        return lines, ""
    known = Counter(_split(sums))
    whole, odd = [], []
    for number, line in enumerate(lines, 1):
        if known[_sum(line)] > 0:
            known[_sum(line)] -= 1
            whole.append(line)
        else:
            odd.append(number)
    left = known.total()
    if not left and odd == [len(lines)]:
        return lines, ""
    faults = [f"line {number}" for number in odd[:5]] + ["…"] * (len(odd) > 5)
    if left > len(odd):
        faults.append(f"{left - len(odd)} missing or cut at the end")
    return whole, ", ".join(faults)


def _split(content: bytes) -> list[bytes]:
    """Whole lines, their newlines included; bytes.splitlines would cut at carriage returns as well."""
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _sum(line: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(line)


class JsonlSink:
    """Appends rows to one file, flushed row by row, and their sums to another. Values not finite become null."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Unbuffered: after a full disk no forgotten rest is written later.
        self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115 — held for the whole run
        if not sums_of(path).exists():  # of an earlier version: what is there is taken as it is
            self._write_sums(_split(path.read_bytes()))
        self._sums: IO[bytes] = open(sums_of(path), "ab", buffering=0)  # noqa: SIM115

    def write(self, row: Metrics) -> None:
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        line = (json.dumps(clean) + "\n").encode()
        for file, content in ((self._file, line), (self._sums, _sum(line))):
            while content:
                content = content[file.write(content) :]

    def sync(self) -> dict[str, Any]:
        for file in (self._file, self._sums):
            os.fsync(file.fileno())
        return {"bytes": os.fstat(self._file.fileno()).st_size, "sums": os.fstat(self._sums.fileno()).st_size}

    def restore(self, state: Mapping[str, Any]) -> str:
        """Cut the file back to a checkpoint, and set aside what is damaged before it; see :class:`Sink`."""
        wanted, found = int(state.get("bytes", 0)), os.fstat(self._file.fileno()).st_size
        if not wanted:
            lost_of(self.path).unlink(missing_ok=True)
        told = ""
        if wanted > found:
            told = f"{self.path} lacks rows from before the checkpoint ({found:,} of {wanted:,} bytes are there)"
        else:
            self._file.truncate(wanted)
        lines = self.path.read_bytes().count(b"\n")
        self._sums.truncate(min(int(state.get("sums", _SUM_BYTES * lines)), os.fstat(self._sums.fileno()).st_size))
        return self.mend(known=told)

    def mend(self, known: str = "") -> str:
        """Set aside a damaged file and write its whole rows anew.

        Args:
            known: one line about damage that is known already.

        Returns:
            One line about it; empty where nothing is damaged.

        Raises:
            OSError: it could not be written.
        """
        content, sums = self.path.read_bytes(), sums_of(self.path).read_bytes()
        lines, faults = _checked(content, sums)
        if not (faults or known) and sums == b"".join(map(_sum, lines)):
            return ""
        if (faults or known) and not lost_of(self.path).exists():
            # Else a resume that was killed before its first save finds the same damage again.
            with atomic(lost_of(self.path)) as file:
                file.write(content)
        self._write_sums(lines)  # one that was cut must not run into the next
        with atomic(self.path) as file:
            file.writelines(lines)
        self.close()
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._sums = open(sums_of(self.path), "ab", buffering=0)  # noqa: SIM115
        if not (faults or known):
            return ""
        told = known or f"{self.path} does not fit its checksums in {sums_of(self.path).name} ({faults})"
        return f"{told}: going on without that; as it was it is {lost_of(self.path).name}"

    def gone(self) -> Path | None:
        """The file that is no longer where it is being written; None while both are there."""
        pairs = ((self._file, self.path), (self._sums, sums_of(self.path)))
        return next((path for file, path in pairs if not is_open_as(file, path)), None)

    def close(self) -> None:
        self._file.close()
        self._sums.close()

    def _write_sums(self, lines: list[bytes]) -> None:
        with atomic(sums_of(self.path)) as file:
            file.writelines(map(_sum, lines))
