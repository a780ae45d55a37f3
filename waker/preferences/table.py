"""The file of queries and answers: one row a query, as Parquet, CSV or JSON lines; the only module here with pandas.

=================================  ====================================================================================
column                             meaning
=================================  ====================================================================================
``query``                          its number
``run``, ``replay_sha``            the run that was asked about, and a digest of both segments' records
``source``                         ``replay``, or ``imagined:FILE`` beside it (:mod:`waker.preferences.imagined`)
``slot_1 tick_1 length_1``, ``_2`` the segments (:mod:`waker.preferences.segments`)
``label``                          P(first preferred): 1 first, 0 second, 0.5 a tie; empty where it was skipped
``labeller``                       ``human`` or ``teacher:…``; empty where nobody has answered yet
``teacher``                        JSON of a teacher's parameters, its score and its seed
``task``                           what a teacher answered for
``round``, ``rule``                when and how the query was chosen
``score_1``, ``score_2``           what a teacher thought of the segments: the truth, which no learner reads
=================================  ====================================================================================

People may edit ``label``: a number, or *first*, *second*, *tie*, *skip*. Parquet files carry a checksum of their
content; one that another program wrote has none, and is read as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from waker.errors import UserError
from waker.preferences.queries import Pairs
from waker.preferences.segments import Segments, digests, held
from waker.replay.ring import Replay
from waker.storage.files import Damaged, atomic, reading

HUMAN = "human"
_WHOLE = ("query", "slot_1", "tick_1", "length_1", "slot_2", "tick_2", "length_2", "round")
_TEXT = ("run", "replay_sha", "source", "labeller", "teacher", "task", "rule")
_NUMBER = ("label", "score_1", "score_2")
COLUMNS = (
    *("query", "run", "replay_sha", "source", "slot_1", "tick_1", "length_1", "slot_2", "tick_2", "length_2"),
    *("label", "labeller", "teacher", "task", "round", "rule", "score_1", "score_2"),
)
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("labeller", "teacher", "task", "rule"), ""),
    "source": "replay",
    "round": 0,
    "score_1": math.nan,
    "score_2": math.nan,
}
ASKED = COLUMNS[:10]
"""The columns that say what is asked; answers leave them as they are."""
WORDS = {"first": 1.0, "second": 0.0, "tie": 0.5}
SKIP = "skip"
_CHECKSUM = b"waker.checksum"
_LARGEST = 2**53
"""Whole numbers below it are exact as floats."""


class Answers(NamedTuple):
    """What a learner is given: the pairs that were answered, and their labels (n,), P(first preferred)."""

    pairs: Pairs
    label: NDArray[np.float64]


def questions(
    pairs: Pairs, replay: Replay, run: str, rule: str, round_: int = 0, first: int = 0, source: str = "replay"
) -> pd.DataFrame:
    """Rows of pairs that nobody has answered yet.

    Args:
        pairs, replay: the segments, and what they lie in.
        run: the run's name.
        rule: how they were chosen.
        round_: when.
        first: the number of the first query.
        source: what the segments lie in, by name.
    """
    one, two = pairs
    columns: dict[str, Any] = {
        "query": np.arange(first, first + one.n),
        "run": run,
        "replay_sha": digests(replay, one, two),
        **{f"{name}_1": part for name, part in zip(Segments._fields, one, strict=True)},
        **{f"{name}_2": part for name, part in zip(Segments._fields, two, strict=True)},
        "label": np.full(one.n, np.nan),
        "rule": rule,
    }
    frame = pd.DataFrame({**_DEFAULTS, **columns, "round": round_, "source": source}, index=range(one.n))
    return _typed(frame[list(COLUMNS)])


def pairs_of(frame: pd.DataFrame) -> Pairs:
    """The segments of all queries."""
    one, two = (Segments(*(frame[f"{name}_{side}"].to_numpy(np.int64) for name in Segments._fields)) for side in (1, 2))
    return Pairs(one, two)


def check_name(path: Path) -> None:
    """Refuse a file's name that does not say its form.

    Raises:
        UserError: it ends otherwise than :func:`write` knows.
    """
    _kind(path)


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a file of the form that its name says.

    Raises:
        UserError: its name ends otherwise.
        OSError: it could not be written.
    """
    frame, kind = _typed(frame[list(COLUMNS)]), _kind(path)
    with atomic(path) as file:
        file.write(_parquet(frame) if kind == "parquet" else as_text(frame, kind).encode())


def as_text(frame: pd.DataFrame, kind: str) -> str:
    """The rows as ``csv`` or ``jsonl``; what was skipped is told by the word."""
    rows = _rows(frame)
    for row in rows:
        row["label"] = SKIP if row["label"] is None and row["labeller"] else row["label"]
    if kind == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = io.StringIO()
    pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def _parquet(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _CHECKSUM: _digest(frame).encode()})
    buffer = io.BytesIO()  # through memory, so that a full disk is an OSError and nothing else
    pq.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()


def read(path: Path) -> pd.DataFrame:
    """All rows of a file, every column as it should be.

    Raises:
        UserError: it cannot be read, or is no file of preferences; one line.
        Damaged: it is not what was written.
    """
    kind = _kind(path)
    if not path.is_file():
        raise UserError(f"no preference file {path}")
    with reading(path):
        frame = _read_parquet(path) if kind == "parquet" else _read_text(path, kind)
    if not len(frame):
        raise UserError(f"{path} holds no queries")
    missing = [name for name in COLUMNS if name not in frame and name not in _DEFAULTS]
    if missing:
        raise UserError(f"{path} is no preference file: it lacks {', '.join(missing)}")
    frame = frame.assign(**{name: value for name, value in _DEFAULTS.items() if name not in frame})
    return _checked(path, frame[list(COLUMNS)].astype(object))


def _read_parquet(path: Path) -> pd.DataFrame:
    if not path.stat().st_size:
        return pd.DataFrame()
    table = pq.read_table(path, page_checksum_verification=True)
    frame = table.to_pandas()
    told = (table.schema.metadata or {}).get(_CHECKSUM)
    if told is not None and set(COLUMNS) <= set(frame) and told.decode() != _digest(_typed(frame[list(COLUMNS)])):
        raise Damaged(f"{path} is damaged: its checksum is another")
    return frame


def _read_text(path: Path, kind: str) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig")
    if kind == "csv":
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False) if text.strip() else pd.DataFrame()
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is no preference file: each line must be a JSON object")
    return pd.DataFrame(rows, dtype=object)


def _checked(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with values of the right kinds.

    Raises:
        UserError: a value that cannot be one.
    """
    columns: dict[str, Any] = {name: [_text(value) for value in frame[name]] for name in _TEXT}
    rows = [_text(value) for value in frame["query"]]
    for name in _WHOLE:
        columns[name] = [_whole(path, name, query, v) for query, v in zip(rows, frame[name], strict=True)]
    labels = [_label(path, query, value) for query, value in zip(rows, frame["label"], strict=True)]
    columns["label"] = [label for label, _ in labels]
    people = [HUMAN if told and not by else by for (_, told), by in zip(labels, columns["labeller"], strict=True)]
    columns |= {"labeller": people}
    columns |= {name: [_score(value) for value in frame[name]] for name in ("score_1", "score_2")}
    checked = _typed(pd.DataFrame(columns)[list(COLUMNS)])
    if (again := checked["query"].duplicated()).any():
        raise UserError(f"{path} has query {checked['query'][again].iloc[0]} twice")
    return checked


def _text(value: Any) -> str:
    return "" if _is_nothing(value) else str(value)


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _whole(path: Path, name: str, query: str, value: Any) -> int:
    try:
        number = float(value)
        if number == int(number) and 0 <= number < _LARGEST:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"{path}, query {query or '?'}: {name} is {_text(value)!r} where a whole number must be")


def _label(path: Path, query: str, value: Any) -> tuple[float, bool]:
    """The label, NaN where it was skipped or not given, and whether somebody has answered."""
    text = _text(value).strip().lower()
    if text in ("", SKIP):
        return math.nan, text == SKIP
    try:
        number = WORDS[text] if text in WORDS else float(text)
    except ValueError:
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise UserError(
            f"{path}, query {query}: label {_text(value)!r} is none; it is the probability that the first is "
            "preferred, in [0, 1], or one of first, second, tie, skip"
        )
    return number, True


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    kinds = {**dict.fromkeys(_WHOLE, "int64"), **dict.fromkeys(_NUMBER, "float64"), **dict.fromkeys(_TEXT, object)}
    return frame.astype({name: kinds[name] for name in frame}).reset_index(drop=True)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of plain values, None for NaN."""
    found = []
    for row in frame.to_dict("records"):
        found.append({str(k): None if _is_nothing(v) else v for k, v in row.items()})
    return found


def _digest(frame: pd.DataFrame) -> str:
    return hashlib.sha256(json.dumps(_rows(frame), sort_keys=True).encode()).hexdigest()


def _kind(path: Path) -> str:
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("parquet", "csv", "jsonl"):
        raise UserError(f"{path}: a preference file's name ends in .parquet, .csv or .jsonl")
    return kind


def merged(path: Path, frame: pd.DataFrame, answered: pd.DataFrame, source: Path) -> tuple[pd.DataFrame, int]:
    """The rows with the answers of another file of the same queries, and how many these are.

    Args:
        path, frame: the queries.
        answered, source: who answered some of them.

    Raises:
        UserError: it answers something else.
    """
    by_query = answered.set_index("query", drop=False)
    columns = ("label", "labeller", "teacher", "task", "score_1", "score_2")
    values = {name: list(frame[name]) for name in columns}
    taken = 0
    for at, row in enumerate(frame.to_dict("records")):
        if row["query"] not in by_query.index:
            continue
        other = by_query.loc[row["query"]]
        differs = [str(name) for name in ASKED if other[name] != row[name]]
        if differs:
            raise UserError(
                f"{source} answers other queries than those of {path}: of query {row['query']} {differs[0]} differs"
            )
        if other["labeller"]:
            taken += 1
            for name in columns:
                values[name][at] = other[name]
    if unknown := sorted(set(answered["query"]) - set(frame["query"])):
        raise UserError(f"{source} answers query {unknown[0]}, which {path} does not have")
    return _typed(frame.assign(**values)), taken


def check_of_run(path: Path, frame: pd.DataFrame, run: str, replay: Replay) -> None:
    """Refuse a file that was asked of another run, or whose records are no longer held.

    Args:
        replay: that the segments lie in.

    Raises:
        UserError: one line.
    """
    foreign = [name for name in frame["run"] if name != run]
    if foreign:
        raise UserError(f"{path} was asked of run {foreign[0] or '(none)'}, not of {run}")
    if other := [name for name in frame["source"] if name != "replay" and not name.startswith("imagined:")]:
        raise UserError(
            f"{path} has segments of source {other[0]!r}; only those of the replay, or imagined:FILE, can be read"
        )
    pairs = pairs_of(frame)
    gone = ~(held(replay, pairs.first) & held(replay, pairs.second))
    if gone.any():
        raise UserError(f"{path}: the replay no longer holds the segments of query {frame['query'][gone].iloc[0]}")
    for query, told, found in zip(frame["query"], frame["replay_sha"], digests(replay, *pairs), strict=True):
        if told != found:
            raise UserError(
                f"{path} was asked of another run's replay, or edited: the records of query {query} are not those that "
                "were asked about"
            )


def answers_of(path: Path, frame: pd.DataFrame) -> Answers:
    """What a learner is given of a file: no scores, and nothing that was skipped.

    Raises:
        UserError: some queries are unanswered, or nothing can be learned from the answers.
    """
    open_ = frame["labeller"] == ""
    if open_.all():
        raise UserError(f"none of the {len(frame)} queries of {path} is answered yet (`waker answer`, or its page)")
    if open_.any():
        raise UserError(
            f"{int(open_.sum())} of {len(frame)} queries of {path} are not answered yet, the first is query "
            f"{frame['query'][open_].iloc[0]}; answer them, or `waker answer {path} --skip-rest`"
        )
    told = frame[frame["label"].notna()]
    if not len(told):
        raise UserError(f"all {len(frame)} queries of {path} were skipped: there is nothing to learn from")
    if (told["label"] == 0.5).all():
        raise UserError(
            f"all {len(told)} answers of {path} are ties: nothing is better than anything else; ask about more segments"
        )
    return Answers(pairs_of(told), told["label"].to_numpy(np.float64))


def by_people(frame: pd.DataFrame) -> int:
    """How many queries were answered, or skipped, by somebody and not by a simulated teacher."""
    return int(((frame["labeller"] != "") & (frame["teacher"] == "")).sum())


def replaced(path: Path) -> str:
    """What is lost where other queries are written to a file: nothing, or a line about those of a teacher or nobody.

    Raises:
        UserError: it holds answers of people, which nobody can compute again; or it is no file of queries.
    """
    if not path.exists():
        return ""
    frame = read(path)
    if kept := by_people(frame):
        raise UserError(f"{path} holds {kept} answers of people, which would be lost: name another file by --out")
    return f"{path} is replaced; it held {told(counts(frame))}"


def skip_rest(frame: pd.DataFrame, labeller: str = HUMAN) -> tuple[pd.DataFrame, int]:
    """The rows with what nobody has answered marked as skipped, and how many these are."""
    open_ = frame["labeller"] == ""
    return frame.assign(labeller=frame["labeller"].mask(open_, labeller)), int(open_.sum())


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many queries were asked, answered, skipped, answered by a tie, and answered by a choice."""
    label, answered = frame["label"], frame["labeller"] != ""
    ties = int((label == 0.5).sum())
    return {
        "asked": len(frame),
        "answered": int(answered.sum()),
        "skipped": int((answered & label.isna()).sum()),
        "tied": ties,
        "untied": int(label.notna().sum()) - ties,
    }


def told(found: Mapping[str, int]) -> str:
    """:func:`counts` in words."""
    return (
        f"{found['asked']} queries, {found['answered']} answered: {found['untied']} with a choice, {found['tied']} "
        f"ties, {found['skipped']} skipped"
    )


def labelled(
    frame: pd.DataFrame, label: Sequence[float] | NDArray[np.float64], labeller: str | Sequence[str], **columns: Any
) -> pd.DataFrame:
    """The rows with these labels (n,), NaN = skipped, by one labeller or one each; ``columns`` beside them."""
    return _typed(frame.assign(label=label, labeller=labeller, **columns))
