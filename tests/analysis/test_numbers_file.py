"""Files of a study's numbers: what is written is read again, whatever the names; what is wrong is told in a line."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.hostile_names import SHAPES
from waker.analysis import numbers_file
from waker.analysis.numbers_file import NUMBERS, beside, read_notes, read_numbers, read_shares, write_table
from waker.analysis.sampling import COLUMNS
from waker.errors import UserError

VALUES = (0.1 + 0.2, math.nan, 1e-300, -1.5e22, 0.0, 3.0)
ROW = "d,dr,e,1,a,mean_return,0.5,d/dr/e/seed-1,100,abc"
HEAD = ",".join(NUMBERS)


def rows() -> pd.DataFrame:
    """A number for each hostile name, as sampler and as task, with all digits."""
    return pd.DataFrame(
        [
            ("d", name, "e", 10 + i, name, "q", VALUES[i % len(VALUES)], f"d/{i}", str(i) if i % 2 else "", "abc")
            for i, name in enumerate(SHAPES)
        ],
        columns=list(NUMBERS),
    )


@pytest.mark.parametrize("names", [slice(None), slice(0, 4)], ids=["every name", "plain ones"])
def test_what_is_written_is_read_again(tmp_path: Path, names: slice) -> None:
    written = rows()[names].reset_index(drop=True)
    path = tmp_path / "new" / "study-numbers.csv"
    write_table(path, written)
    read = read_numbers(path)
    assert read.to_dict("records")[0] == written.to_dict("records")[0]
    pd.testing.assert_frame_equal(read, written, check_exact=True, check_dtype=False)
    write_table(tmp_path / "again.csv", read)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_files_that_go_together() -> None:
    assert beside(Path("a/study-numbers.csv"), "shares") == Path("a/study-shares.csv")
    assert beside(Path("a/all.csv"), "notes") == Path("a/all-notes.csv")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is neither a run folder nor a file of numbers"),
        (HEAD, "holds no numbers"),
        (HEAD.replace(",value", ""), "lacks the column value"),
        (f"{HEAD}\n{ROW}\n{ROW.replace('0.5', 'high')}", "row 2: value is 'high', not a finite number"),
        (f"{HEAD}\n{ROW.replace('0.5', 'inf')}", "row 1: value is 'inf', not a finite number"),
        (f"{HEAD}\n{ROW.replace(',1,', ',1.5,')}", "row 1: seed is '1.5', not a whole number"),
        (f"{HEAD}\n{ROW}\n{ROW},more", "row 2: 11 fields instead of 10"),
        (f"{HEAD}\n{ROW}\n{ROW}", "row 2: there are two rows of domain d, sampler dr, explorer e, seed 1, task a"),
        (f'{HEAD}\n"{ROW}', "cannot be read"),
        ("\0\xff", "is neither a run folder nor a file of numbers"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="numbers.csv") as error:
        read_numbers(path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_bytes(b"PAR1\xff\xfe\x80")
    with pytest.raises(UserError, match="cannot be read"):
        read_numbers(path)


def test_shares_are_checked_and_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "shares.csv"
    assert read_shares(path).empty
    assert read_notes(path).empty
    row = "d,dr,e,1,0,10,hard θ,,0.25,4"
    path.write_text(f"{','.join(COLUMNS)}\n{row}\n")
    assert read_shares(path)["share"].tolist() == [0.25]
    path.write_text(f"{','.join(COLUMNS)}\n{row.replace('0.25', '1.25')}\n")
    with pytest.raises(UserError, match="row 1: share is 1.25, not within 0 … 1"):
        read_shares(path)


def test_a_number_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "numbers.csv"
    write_table(path, rows()[:4])
    before = path.read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("waker.storage.files.os.replace", fails)
    with pytest.raises(OSError, match="disk full"):
        numbers_file.write_table(path, rows())
    assert path.read_bytes() == before
