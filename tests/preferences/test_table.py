"""The file of queries: it comes back as it was in every form, people may edit it, and what is wrong is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.helpers.asked import RUN, answered, asked, replay, written
from waker.errors import UserError
from waker.preferences import table
from waker.storage.files import Damaged


def edited(path: Path, query: int, label: str) -> Path:
    """A CSV in which somebody wrote a label."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[frame["query"] == str(query), "label"] = label
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["q.parquet", "q.csv", "q.jsonl"])
def test_it_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    frame = answered()
    frame.loc[3, "label"] = np.nan  # skipped
    frame.loc[4, ["label", "labeller"]] = [np.nan, ""]  # open
    frame = table.labelled(frame, frame["label"], frame["labeller"], teacher=json.dumps({"beta": None, "seed": 3}))
    pd.testing.assert_frame_equal(table.read(written(tmp_path, frame, name)), frame)


def test_the_columns_are_those_that_are_documented() -> None:
    assert tuple(asked().columns) == table.COLUMNS
    for name in table.COLUMNS:
        assert table.__doc__ is not None and f"{name.removesuffix('_2').removesuffix('_1')}" in table.__doc__


def test_people_write_words_or_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, asked(), "q.csv")
    for query, text in enumerate(["1", "0", "0.5", "skip", "First", "second", " tie ", "0.75"]):
        edited(path, query, text)
    found = table.read(path)
    np.testing.assert_array_equal(found["label"][:8], [1.0, 0.0, 0.5, np.nan, 1.0, 0.0, 0.5, 0.75])
    assert list(found["labeller"][:9]) == ["human"] * 8 + [""]


def test_a_byte_order_mark_and_left_out_columns_do_no_harm(tmp_path: Path) -> None:
    path = written(tmp_path, asked(), "q.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=["score_1", "score_2", "task", "teacher"])
    frame.to_csv(path, index=False, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(table.read(path), asked())


def test_what_a_learner_is_given_has_no_truth_in_it(tmp_path: Path) -> None:
    frame = answered()
    lied = frame.assign(score_1=-frame["score_2"], score_2=7.0)
    one, two = (table.answers_of(Path("q"), f) for f in (frame, lied))
    columns = ([*of.pairs.first, *of.pairs.second, of.label] for of in (one, two))
    for a, b in zip(*columns, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one._fields == ("pairs", "label")


def test_skipped_queries_are_left_out(tmp_path: Path) -> None:
    frame = answered()
    frame.loc[2, "label"] = np.nan
    found = table.answers_of(Path("q"), frame)
    assert found.pairs.first.n == len(frame) - 1 == len(found.label)
    np.testing.assert_array_equal(found.pairs.first.tick, frame["tick_1"].drop(2))


def test_damage_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, answered())
    content = pq.read_table(path)
    label = content.column("label").to_pylist()
    changed = content.set_column(
        content.column_names.index("label"), "label", [[1.0 - value for value in label]]
    ).replace_schema_metadata(content.schema.metadata)
    pq.write_table(changed, path)
    with pytest.raises(Damaged, match="its checksum is another"):
        table.read(path)
    changed.to_pandas().to_parquet(path)
    assert len(table.read(path)) == 12  # another program's, which has no checksum of ours


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no queries"),
        (",".join(table.COLUMNS) + "\n", "holds no queries"),
        ("a,b\n1,2\n", "is no preference file: it lacks query, run, replay_sha"),
        ("\x00\x01", "q.csv"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        table.read(path)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "text"), [("q.jsonl", "[1, 2]\n"), ("q.jsonl", "{"), ("q.parquet", "PAR1 no")])
def test_other_forms_that_are_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        table.read(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("label", "perhaps", "query 5: label 'perhaps' is none; it is the probability that the first is preferred"),
        ("label", "1.5", "query 5: label '1.5' is none"),
        ("label", "nan", "query 5: label 'nan' is none"),
        ("tick_1", "", "query 5: tick_1 is '' where a whole number must be"),
        ("length_2", "2.5", "query 5: length_2 is '2.5' where a whole number must be"),
        ("tick_2", "1e30", "query 5: tick_2 is '1e30' where a whole number must be"),
        ("slot_1", "-1", "query 5: slot_1 is '-1' where a whole number must be"),
        ("query", "4", "has query 4 twice"),
    ],
)
def test_values_that_are_none(tmp_path: Path, column: str, value: str, told: str) -> None:
    path = written(tmp_path, asked(), "q.csv")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[5, column] = value
    frame.to_csv(path, index=False)
    with pytest.raises(UserError) as error:
        table.read(path)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_name_says_the_form() -> None:
    with pytest.raises(UserError, match=r"ends in \.parquet, \.csv or \.jsonl"):
        table.read(Path("answers.pickle"))


def test_open_skipped_and_tied_files_teach_nothing() -> None:
    path, frame = Path("q.parquet"), answered()
    with pytest.raises(UserError, match="none of the 12 queries of q.parquet is answered yet"):
        table.answers_of(path, asked())
    half = frame.assign(labeller=frame["labeller"].mask(frame["query"] >= 7, ""))
    half["label"] = half["label"].mask(half["labeller"] == "")
    with pytest.raises(UserError, match=r"5 of 12 queries of q\.parquet are not answered yet, the first is query 7"):
        table.answers_of(path, half)
    with pytest.raises(UserError, match="all 12 answers of q.parquet are ties"):
        table.answers_of(path, frame.assign(label=0.5))
    with pytest.raises(UserError, match="all 12 queries of q.parquet were skipped"):
        table.answers_of(path, frame.assign(label=np.nan))
    rest, skipped = table.skip_rest(half)
    assert skipped == 5
    assert len(table.answers_of(path, rest).label) == 7


def test_foreign_and_edited_questions_are_refused() -> None:
    path, frame = Path("q.parquet"), answered()
    table.check_of_run(path, frame, RUN, replay())
    with pytest.raises(UserError, match=f"was asked of run {RUN}, not of another/run"):
        table.check_of_run(path, frame, "another/run", replay())
    moved = frame.assign(tick_2=frame["tick_2"].where(frame["query"] != 3, frame["tick_2"] - 1).clip(lower=0))
    with pytest.raises(UserError, match="the records of query 3 are not those that were asked about"):
        table.check_of_run(path, moved, RUN, replay())
    with pytest.raises(UserError, match="no longer holds the segments of query 5"):
        table.check_of_run(path, frame.assign(tick_1=frame["tick_1"].where(frame["query"] != 5, 10**9)), RUN, replay())
    with pytest.raises(UserError, match="segments of source 'imagined'"):
        table.check_of_run(path, frame.assign(source="imagined"), RUN, replay())


def test_answers_of_another_file_are_taken_over() -> None:
    frame, told = asked(), answered().head(5)
    merged, taken = table.merged(Path("q"), frame, told, Path("a"))
    assert taken == 5
    assert list(merged["labeller"][:6]) == ["teacher:oracle"] * 5 + [""]
    np.testing.assert_array_equal(merged["label"][:5], told["label"])
    again, taken = table.merged(Path("q"), merged, asked().assign(label=np.nan), Path("a"))
    assert taken == 0
    pd.testing.assert_frame_equal(again, merged)
    with pytest.raises(UserError, match="a answers other queries than those of q: of query 0 tick_1 differs"):
        table.merged(Path("q"), frame, told.assign(tick_1=told["tick_1"] + 1), Path("a"))
    with pytest.raises(UserError, match="a answers query 100, which q does not have"):
        table.merged(Path("q"), frame, told.assign(query=told["query"] + 100), Path("a"))


def test_counts() -> None:
    frame = answered()
    frame.loc[0, "label"], frame.loc[1, "label"] = np.nan, 0.5
    found = table.counts(frame)
    assert found["asked"] == found["answered"] == 12 and found["skipped"] == 1
    assert found["tied"] == (frame["label"] == 0.5).sum() and found["tied"] + found["untied"] == 11
    assert table.counts(asked())["answered"] == 0


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_an_empty_file_holds_no_queries(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"q.{ending}").write_bytes(b"")
    with pytest.raises(UserError, match="holds no queries"):
        table.read(tmp_path / f"q.{ending}")


def test_answers_of_people_are_not_replaced(tmp_path: Path) -> None:
    assert table.replaced(tmp_path / "q.parquet") == ""
    open_ = written(tmp_path, asked(), "open.parquet")
    assert "0 answered" in table.replaced(open_)
    frame = answered()
    simulated = table.labelled(frame, frame["label"], frame["labeller"], teacher=json.dumps({"beta": None}))
    assert f"{len(frame)} answered" in table.replaced(written(tmp_path, simulated, "oracle.parquet"))
    one = asked()
    one.loc[2, "labeller"] = table.HUMAN  # skipped by a person: an answer as well
    with pytest.raises(UserError, match="holds 1 answers of people, which would be lost: name another file by --out"):
        table.replaced(written(tmp_path, one, "clicked.parquet"))
    other = tmp_path / "notes.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no preference file"):
        table.replaced(other)
