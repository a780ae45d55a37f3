"""Tables: rows come back in order, are cut back and replaced; damage to them is told and costs no other row."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.faults.damage import cut, flip
from tests.helpers.damage import read_or_told
from waker.errors import UserError
from waker.storage.files import Damaged
from waker.storage.tables import Table, lost_parts, read_rows, write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = Table(tmp_path / "episodes.parquet")
    for part in range(3):
        table.append([{"step": 10 * part + row, "return": 0.5 * row, "task": "go"} for row in range(2)])
        table.save()
    return tmp_path / "episodes.parquet"


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*"))


@pytest.mark.parametrize("digest", [True, False], ids=["digests", "pages alone"])
def test_no_bit_and_no_cut_gives_other_rows(folder: Path, digest: bool) -> None:
    """Without a digest in its name (moved by somebody), pages have checksums; then the footer alone has none."""
    part = parts(folder)[1]
    whole, content = read_rows(folder), part.read_bytes()
    if not digest:
        part = part.rename(folder / f"{part.name[:26]}.parquet")
    rng, wrong = np.random.default_rng(0), 0
    bits = rng.choice(8 * len(content), 60, replace=False).tolist()
    for harm, at in [*((flip, bit) for bit in bits), *((cut, int(rng.integers(len(content)))) for _ in range(30))]:
        part.write_bytes(content)
        harm(part, at)
        found, line = read_or_told(lambda: read_rows(folder))
        wrong += found is not None and not found.equals(whole)
        assert not line or (part.name in line and "\n" not in line)
    assert wrong <= (0 if digest else 2)


def test_pages_have_checksums_for_other_readers(folder: Path) -> None:
    whole = pd.read_parquet(folder, page_checksum_verification=True)
    assert whole.equals(read_rows(folder))
    content, found = parts(folder)[0].read_bytes(), 0
    for at in range(4, 200):
        parts(folder)[0].write_bytes(content)
        flip(parts(folder)[0], 8 * at)
        try:
            pd.read_parquet(folder, page_checksum_verification=True)
        except (OSError, ValueError) as error:
            found += "checksum" in str(error) or "CRC" in str(error)
    assert found > 50


def test_a_part_that_is_missing_is_told(folder: Path) -> None:
    parts(folder)[1].unlink()
    with pytest.raises(Damaged, match=r"episodes.parquet is damaged: a part of its rows 2 to 4 is missing"):
        read_rows(folder)
    (folder / "part-of-mine.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"part-of-mine.parquet is no part of a table"):
        read_rows(folder)


def test_what_is_damaged_is_set_aside_and_the_rest_goes_on(folder: Path) -> None:
    first, second, third = parts(folder)
    cut(first, first.stat().st_size - 1)
    second.unlink()
    third.unlink()
    table = Table(folder)
    told = table.mend(rows=6, generation=0)
    assert [str(first) in told[0], "without its rows 0 to 2" in told[0]] == [True, True]
    assert "lacks a part: going on without its rows 2 to 6" in told[1]
    assert len(told) == 2 and not Table(folder).mend(6, 0)
    assert table.restore(6, 99) == 0
    table.append([{"step": 60, "return": 1.0, "task": "go"}])
    assert table.save()["rows"] == 7
    assert read_rows(folder)["step"].tolist() == pd.read_parquet(folder)["step"].tolist() == [60]
    aside, missing = lost_parts(folder)
    assert "rows 0 to 2 of episodes.parquet are lost (damaged and set aside: _lost-" in aside
    assert "rows 2 to 6 of episodes.parquet are lost (their part was missing)" in missing
    write_rows(folder, [{"step": 1}])
    assert read_rows(folder)["step"].tolist() == [1] and len(lost_parts(folder)) == 2
    Table(folder).restore(0, -1)  # a run that begins again
    assert not list(folder.iterdir())


def test_what_was_lost_after_a_checkpoint_is_repeated_and_not_lost(folder: Path) -> None:
    flip(parts(folder)[2], 100)
    table = Table(folder)
    assert table.mend(4, 0)
    assert table.restore(4, 99) == 0
    assert not lost_parts(folder) and len(read_rows(folder)) == 4


def test_a_table_that_was_written_anew_since_lacks_nothing(folder: Path) -> None:
    write_rows(folder, [{"step": 1}])
    assert not Table(folder).mend(rows=6, generation=0)
    assert Table(folder).mend(rows=6, generation=1)


def test_parts_of_earlier_versions_are_read_on(folder: Path) -> None:
    for part, old in zip(parts(folder), ("0000-0002", "0002-0004", "0004-0006"), strict=True):
        part.rename(folder / f"part-{old}.parquet")
    assert read_rows(folder)["step"].tolist() == [0, 1, 10, 11, 20, 21]
    assert not Table(folder).mend()
    cut(folder / "part-0002-0004.parquet", 30)
    with pytest.raises(Damaged, match=r"part-0002-0004.parquet"):
        read_rows(folder)
    assert "going on without its rows 2 to 4" in Table(folder).mend()[0]
    (folder / "part-0004-0006.parquet").rename(folder / "part-0004-0009.parquet")
    with pytest.raises(Damaged, match="it has 2 rows, not 5"):
        read_rows(folder)


def test_parts_that_were_removed_are_missed(folder: Path) -> None:
    table = Table(folder)
    table.restore(6, 99)
    assert table.gone() is None
    removed = parts(folder)[1]
    removed.unlink()
    assert table.gone() == removed
    for part in parts(folder):
        part.unlink()
    folder.rmdir()
    assert table.gone() == folder


def test_tables_keep_order_types_and_missing_values(tmp_path: Path) -> None:
    table = Table(tmp_path / "episodes.parquet")
    table.append(
        [{"task": "a", "return": 1, "completion": None}, {"task": "b", "return": 2, "completion": float("nan")}]
    )
    assert table.save()["rows"] == 2
    table.append([{"task": "c", "return": 3, "completion": 0.5}])
    for _ in range(2):
        assert table.save() == {"rows": 3, "generation": 0}
    frame = read_rows(tmp_path / "episodes.parquet")
    assert frame["task"].tolist() == ["a", "b", "c"]
    assert frame["return"].dtype == np.int64
    assert frame["completion"].isna().tolist() == [True, True, False]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "episodes.parquet"), frame)


def test_tables_take_arrays_as_they_take_rows(tmp_path: Path) -> None:
    rows, arrays = Table(tmp_path / "rows"), Table(tmp_path / "arrays")
    for step in (1, 2):
        shared = {"run": "r", "step": step}
        values = {"theta_id": np.arange(3), "value": np.array([0.5, np.nan, step])}
        arrays.append(values, shared)
        rows.append([{k: v[i].item() for k, v in values.items()} for i in range(3)], shared)
        for table in (rows, arrays):
            table.append([{"run": "r", "step": 7, "theta_id": 9, "value": 1.0}])
            table.append([])
            table.append({})
    assert rows.save() == arrays.save() == {"rows": 8, "generation": 0}
    pd.testing.assert_frame_equal(read_rows(tmp_path / "rows"), read_rows(tmp_path / "arrays"))


def test_waiting_rows_take_a_bounded_memory_and_a_resume_removes_what_was_written_early(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    column = np.zeros(100_000)
    table.append({"row": column}, {"step": 0})
    kept = table.save()["rows"]
    for step in range(1, 20):
        table.append({"row": column}, {"step": step})
        assert table._waiting <= 2 << 20
    assert len(read_rows(tmp_path / "t")) > kept
    again = Table(tmp_path / "t")
    assert again.restore(kept, 0) == 0
    assert len(read_rows(tmp_path / "t")) == kept


def test_tables_are_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "t.parquet"
    table = Table(folder)
    counts = []
    for part in range(3):
        table.append([{"row": 2 * part}, {"row": 2 * part + 1}])
        counts.append(table.save()["rows"])
    (folder / ".tmp-part-0000000006-0000000008.parquet").write_bytes(b"torn")
    again = Table(folder)
    assert again.restore(counts[1], 0) == 0
    again.append([{"row": 40}])
    again.save()
    assert read_rows(folder)["row"].tolist() == [0, 1, 2, 3, 40]
    assert not list(folder.glob(".tmp-*"))


def test_rows_that_wait_survive_a_save_that_fails(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("in the way")
    table = Table(tmp_path / "t")
    table.append([{"row": 1}])
    with pytest.raises(OSError):
        table.save()
    (tmp_path / "t").unlink()
    table.save()
    assert read_rows(tmp_path / "t")["row"].tolist() == [1]


def test_written_rows_replace_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(folder)
    assert read_rows(folder)["a"].tolist() == [1]
    for values in ([1, 2, 3], [4]):
        write_rows(folder, [{"a": v} for v in values])
        assert read_rows(folder)["a"].tolist() == values
    write_rows(folder, [])
    assert read_rows(folder).empty
    assert read_rows(tmp_path / "absent").empty


def test_a_full_disk_keeps_the_table_that_was_to_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, single = tmp_path / "t.parquet", tmp_path / "f.parquet"
    write_rows(folder, [{"a": v} for v in range(10)])
    pd.DataFrame({"a": range(10)}).to_parquet(single)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for path in (folder, single):
        with pytest.raises(OSError):
            write_rows(path, [{"a": 1}])
        assert read_rows(path)["a"].tolist() == list(range(10))


def test_a_kill_while_a_table_is_replaced_neither_loses_nor_doubles_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "t.parquet"
    table = Table(folder)
    for value in range(3):
        table.append([{"a": value}])
        table.save()

    class Killed(BaseException):
        pass

    unlink, left = Path.unlink, 1

    def kill(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", kill)
    with pytest.raises(Killed):
        write_rows(folder, [{"a": 7}, {"a": 8}])
    monkeypatch.undo()
    assert len(list(folder.glob("part-*"))) == 3
    assert read_rows(folder)["a"].tolist() == [7, 8]
    write_rows(folder, [{"a": 9}])
    assert read_rows(folder)["a"].tolist() == pd.read_parquet(folder)["a"].tolist() == [9]


def test_a_table_written_anew_is_cut_by_step_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "t.parquet"
    write_rows(folder, [{"step": step} for step in (10, 10, 20, 20, 30)])
    write_rows(folder, [{"step": step} for step in (10, 20, 20, 30)])  # one of a checkpoint's five rows is gone
    table = Table(folder)
    assert table.restore(3, 20) == 1
    table.append([{"step": 20}, {"step": 40}])
    assert table.save()["rows"] == 5
    table.append([{"step": 20}])
    table.replace([{"step": 25}], lambda rows: np.asarray(rows["step"] == 20))
    assert table.save() == {"rows": 3, "generation": 3}
    assert read_rows(folder)["step"].tolist() == pd.read_parquet(folder)["step"].tolist() == [10, 40, 25]
    again = Table(folder)
    assert again.restore(3, 40) == 0
    again.replace([{"step": 50}], lambda rows: np.asarray(rows["step"] == 50))
    assert again.save() == {"rows": 4, "generation": 3}
    assert read_rows(folder)["step"].tolist() == [10, 40, 25, 50]
