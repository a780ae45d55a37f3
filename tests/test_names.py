"""Names: different ones stay different, whatever they are, and every reader gets what it can read."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.hostile_names import KEYS, SHAPES
from waker.names import (
    ALL,
    DR_SUITE,
    EXPLORER,
    LOSSES,
    RECORD,
    joined_part,
    key_name,
    loss_metric,
    path_part,
    printable,
    suite_name,
    task_name,
    theta_column,
)
from waker.replay.ring import record_fields
from waker.specs import ActionSpec, EnvSpec, ObservationKey
from waker.training.adapt import folder_of

MARKS = ("", " (task)", " (suite)", " (observation)", " (parameter)", " (waker)")
WORDS = (*RECORD, *LOSSES, *SHAPES, ALL, DR_SUITE, EXPLORER, "id", "training", "a%2Eb")
names = st.text() | st.builds(lambda *parts: "".join(parts), st.sampled_from(WORDS), *[st.sampled_from(MARKS)] * 2)
MAPPINGS: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "tasks": (task_name, (ALL, EXPLORER)),
    "suites": (suite_name, (DR_SUITE,)),
    "columns": (theta_column, ("theta_id",)),
    "keys": (key_name, RECORD),
}


@pytest.mark.parametrize("kind", MAPPINGS)
@given(st.lists(names, unique=True, max_size=6))
def test_different_names_stay_different_and_none_is_ours(kind: str, given_names: list[str]) -> None:
    mapping, ours = MAPPINGS[kind]
    mapped = list(map(mapping, given_names))
    assert len(set(mapped)) == len(mapped)
    assert not set(mapped) & set(ours)


@given(st.lists(names, unique=True, max_size=6))
def test_metrics_of_keys_are_different_and_none_is_ours(keys: list[str]) -> None:
    metrics = [loss_metric(key_name(key)) for key in keys]
    assert len(set(metrics)) == len(metrics)
    assert not set(metrics) & {f"{name}_loss" for name in LOSSES}


@pytest.mark.parametrize(
    "name", ["image", "agent", "position", "x/y", "agent-pos", "0", "名前", "two words", "walk-run"]
)
def test_usual_names_are_what_old_runs_called_them(name: str) -> None:
    assert key_name(name) == task_name(name) == suite_name(name) == name
    assert theta_column(name) == f"theta_{name}"
    assert loss_metric(name) == f"{name}_loss"


def test_our_fields_are_the_records() -> None:
    spec = EnvSpec("test", (ObservationKey("x", "vector", (1,), "float32"),), ActionSpec(2, True), ("left",))
    assert tuple(record_fields(spec)) == ("x", *RECORD)


@given(st.lists(names | st.sampled_from(KEYS), unique=True, max_size=6))
def test_keys_are_names_of_modules_and_of_entries_in_an_archive(keys: list[str]) -> None:
    fields = list(map(key_name, keys))
    modules = torch.nn.ModuleDict({field: torch.nn.Linear(1, 1) for field in fields})
    assert {name.rsplit(".", 1)[0] for name in modules.state_dict()} == set(fields)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{field: np.array(i) for i, field in enumerate(fields) if field != "file"})
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as archive:
        assert {name: int(archive[name]) for name in archive.files} == {
            field: i for i, field in enumerate(fields) if field != "file"
        }


@pytest.mark.parametrize("name", SHAPES)
def test_a_name_is_one_part_of_a_path(name: str, tmp_path: Path) -> None:
    for part in (path_part(name), joined_part([name, name])):
        (tmp_path / part / "inside").mkdir(parents=True)
        assert (tmp_path / part).resolve().parent == tmp_path.resolve()
        assert not part.startswith((".", "-"))
        (tmp_path / f".tmp-{part}").touch()


def test_paths_of_different_names_differ_where_case_does_not_count() -> None:
    groups = [["Go"], ["go"], ["GO"], ["a", "b"], ["a-b"], ["a_b"], ["a/b"], [""], ["", ""], ["x" * 400], ["x" * 401]]
    groups += [[name] for name in SHAPES if [name] not in groups]
    parts = [joined_part(group).lower() for group in groups]
    assert len(set(parts)) == len(parts)
    assert joined_part(["stand", "walk"]) == "stand-walk"
    assert path_part("My sampler 2") == "My sampler 2"


def test_policies_of_an_older_run_are_found_where_they_lie(tmp_path: Path) -> None:
    """Folders were the names and a dash between them; one of other tasks is not taken for these."""
    old = tmp_path / "adapted" / "walk-walk-backward"
    old.mkdir(parents=True)
    (old / "tasks.yaml").write_text("tasks: [walk, walk-backward]\nfunctions: {}\nmodel: {step: 1, updates: 1}\n")
    assert folder_of(tmp_path, ["walk", "walk-backward"]) == old
    assert folder_of(tmp_path, ["walk-walk", "backward"]) != old
    (tmp_path / "tasks.yaml").write_text("tasks: ['..']\nfunctions: {}\nmodel: {}\n")
    assert folder_of(tmp_path, [".."]).parent == tmp_path / "adapted"


@given(st.text(st.characters()))
def test_what_is_shown_is_one_line_that_can_be_shown(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert shown
    if name.isprintable() and name:
        assert shown == name
    assert len(printable(name, 10)) <= 10
