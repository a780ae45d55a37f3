"""Rows of metrics: every one is what was written, or its line is named; what is whole goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.faults.damage import cut, flip
from tests.helpers.damage import read_or_told
from waker.errors import UserError
from waker.storage.files import Damaged
from waker.storage.metrics_file import JsonlSink, lost_of, read_metrics, sums_of

ROWS = [{"step": step, "updates": step // 2, "loss": 1 / (step + 1)} for step in range(6)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    for row in ROWS:
        sink.write(row)
    sink.close()
    return tmp_path / "metrics.jsonl"


@pytest.mark.parametrize("which", ["rows", "sums"])
def test_no_bit_and_no_cut_changes_the_rows(file: Path, which: str) -> None:
    harmed = file if which == "rows" else sums_of(file)
    content, told = harmed.read_bytes(), 0
    bits = np.random.default_rng(0).choice(8 * len(content), min(400, 8 * len(content)), replace=False)
    for harm, at in [*((flip, int(bit)) for bit in bits), *((cut, size) for size in range(len(content)))]:
        harmed.write_bytes(content)
        harm(harmed, at)
        found, line = read_or_told(lambda: read_metrics(file))
        assert found == ROWS or (str(file) in line and sums_of(file).name in line and "\n" not in line)
        told += found is None
    assert told > len(bits)


def test_the_damaged_line_is_named_and_left_out_after_a_resume(file: Path) -> None:
    sink = JsonlSink(file)
    state = sink.sync()
    sink.write({"step": 99})  # after the checkpoint
    sink.close()
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], lines[2].replace("2", "3", 1), *lines[3:]]))
    with pytest.raises(Damaged, match=r"metrics.jsonl .*\(line 3\)"):
        read_metrics(file)
    again = JsonlSink(file)
    assert "(line 3): going on without that" in again.restore(state)
    again.write({"step": 6})
    again.close()
    assert read_metrics(file) == [*ROWS[:2], *ROWS[3:], {"step": 6}]
    assert '"step": 3' in lost_of(file).read_text().splitlines()[2]
    another = JsonlSink(file)
    assert not another.mend()
    another.restore({})
    another.close()
    assert not lost_of(file).exists()


@pytest.mark.parametrize("which", ["rows", "sums"])
@pytest.mark.parametrize("harm", [flip, cut])
def test_whatever_was_harmed_a_resume_leaves_files_that_are_read(
    file: Path, which: str, harm: Callable[[Path, int], None]
) -> None:
    sink = JsonlSink(file)
    state = sink.sync()
    sink.close()
    whole = {path: path.read_bytes() for path in (file, sums_of(file))}
    harmed = file if which == "rows" else sums_of(file)
    size = len(whole[harmed])
    for at in range(0, 8 * size, 8 * 7 - 1) if harm is flip else range(size):
        for path, content in whole.items():
            path.write_bytes(content)
        lost_of(file).unlink(missing_ok=True)
        harm(harmed, at)
        again = JsonlSink(file)
        told = again.restore(state)
        again.write({"step": 6})
        again.close()
        rows = read_metrics(file)
        assert rows[-1] == {"step": 6}
        assert rows[:-1] == ROWS or (told and all(row in ROWS for row in rows[:-1]))
        assert bool(told) == lost_of(file).exists()


@pytest.mark.parametrize("torn", [b"", b'{"step": 6, "lo'])
@pytest.mark.parametrize("sums", [0, 9])
def test_what_a_kill_leaves_is_no_damage(file: Path, torn: bytes, sums: int) -> None:
    """A row without its sum yet, or half a row."""
    cut(sums_of(file), sums_of(file).stat().st_size - sums)
    if torn and not sums:
        file.write_bytes(file.read_bytes() + torn)
    assert read_metrics(file) == ROWS


def test_files_of_others_are_read_without_sums(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for text, rows in (('{"a": 1}\n{"a": 2}', [1, 2]), ('{"a": 1}\n{"a": 2', [1]), ("", [])):
        file.write_text(text)
        assert [row["a"] for row in read_metrics(file)] == rows
    file.write_text('{"a": 1\n{"a": 2}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl line 1 is not JSON"):
        read_metrics(file)
    file.write_text('{"a": 1}\n')
    sink = JsonlSink(file)  # a run of an earlier version goes on
    sink.write({"a": 2})
    sink.close()
    assert [row["a"] for row in read_metrics(file)] == [1, 2]
    flip(file, 8 * 6)
    with pytest.raises(Damaged, match="line 1"):
        read_metrics(file)


def test_a_file_that_was_removed_or_replaced_is_missed(file: Path) -> None:
    sink = JsonlSink(file)
    assert sink.gone() is None
    content = sums_of(file).read_bytes()
    sums_of(file).unlink()
    assert sink.gone() == sums_of(file)
    sums_of(file).write_bytes(content)
    assert sink.gone() == sums_of(file)
    file.unlink()
    assert sink.gone() == file
    sink.close()
