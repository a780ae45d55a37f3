"""Tables on damaged disks: rows that are read are those that were written, and what is lost is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.damage import cut, flip, read_or_told
from waker.errors import UserError
from waker.files import Damaged
from waker.tables import Table, lost_parts, read_rows, write_rows


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
    assert table.save() == 7
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
