"""The run folder: where it lies, whose settings it belongs to, what it says in one line when it cannot be used."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from waker.config.presets import PRESETS
from waker.config.same_run import difference
from waker.config.saved import config_from, plain
from waker.config.schema import Config
from waker.errors import UserError
from waker.storage.run_folder import RunFolder, domain_of, git_commit, read_config, read_record, run_folder


def test_a_folder_is_named_after_its_run() -> None:
    config = replace(Config(), seed=3)
    assert run_folder(Path("runs"), config) == Path("runs/gridhazards/waker-m/plan2explore/seed-3")
    assert domain_of("else/Two-v1-Rooms-v12") == "two-v1-rooms"
    assert domain_of("Bare") == "bare"


@pytest.mark.parametrize("name", PRESETS)
def test_settings_come_back_from_the_file(tmp_path: Path, name: str) -> None:
    config = replace(PRESETS[name](), env_kwargs={"obs": "pixels", "n": 3, "p": 0.5, "fresh": True}, sinks=("wandb",))
    RunFolder.open(tmp_path / "run", config, ("size",), ("a", "b"))
    assert read_config(tmp_path / "run") == config
    record = read_record(tmp_path / "run")
    assert record["theta"] == ["size"]
    assert record["tasks"] == ["a", "b"]
    assert {"torch", "numpy"} <= record["versions"].keys()


def test_the_first_setting_that_differs_is_named(tmp_path: Path) -> None:
    config = Config()
    RunFolder.open(tmp_path, config, (), ())
    RunFolder.open(tmp_path, config, (), ())
    free = replace(
        config, device="cuda", sinks=("wandb",), train=replace(config.train, env_processes=2, save_every=1, keep=9)
    )
    assert RunFolder.open(tmp_path, free, (), ()).config is free
    changes = {
        "model.deter is 512 there and 3 now": replace(config, model=replace(config.model, deter=3)),
        "model.optimizer.lr is 0.0003 there and 1.0 now": replace(
            config, model=replace(config.model, optimizer=replace(config.model.optimizer, lr=1.0))
        ),
        "env_kwargs.obs is not set there and 'pixels' now": replace(config, env_kwargs={"obs": "pixels"}),
        "train.steps is 100000 there and 5 now": replace(config, train=replace(config.train, steps=5)),
    }
    for message, other in changes.items():
        with pytest.raises(UserError) as caught:
            RunFolder.open(tmp_path, other, (), ())
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    assert read_config(tmp_path) == config


@pytest.mark.parametrize(("was", "now"), [(False, "off"), (True, "compile"), ("graphs", "graphs")])
def test_runs_made_when_compiling_was_a_yes_or_no_are_understood(was: Any, now: str) -> None:
    assert config_from({"train": {"compile": was}}).train.compile == now
    with pytest.raises(UserError, match="train.precision = False must be 'fp32' or"):
        config_from({"train": {"compile": was, "precision": False}})


def test_a_setting_only_there_counts_as_a_difference() -> None:
    assert difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {}}) == ("b.c is 2 there and not set now")
    assert difference({"a": 1}, {"a": 1}) is None


def test_of_many_differences_the_first_are_told_and_the_others_named() -> None:
    told = difference(dict.fromkeys("abcde", 1), {**dict.fromkeys("abde", 2), "c": 1})
    assert told == "a is 1 there and 2 now, b is 1 there and 2 now, d is 1 there and 2 now; also other: e"


def test_unknown_settings_name_the_nearest() -> None:
    data = plain(Config())
    data["train"]["step"] = data["train"].pop("steps")
    with pytest.raises(UserError, match=r"unknown setting 'train.step'; did you mean 'train.steps'"):
        config_from(data)
    with pytest.raises(UserError, match="setting 'train' must be a section"):
        config_from({"train": 3})


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"env": 3}, "env"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"train": {"steps": "many"}}, "train.steps"),
        ({"train": {"train_every": None}}, "train.train_every"),
        ({"model": {"head_units": [8, "x"]}}, "model.head_units"),
        ({"model": {"symlog": 1}}, "model.symlog"),
        ({"model": {"act": "relu"}}, "model.act"),
        ({"env_kwargs": {"obs": [1]}}, "env_kwargs"),
        ({"sinks": "jsonl"}, "sinks"),
    ],
)
def test_values_of_another_type_are_named(data: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=rf"{key} = .* must be "):
        config_from(data)


def test_a_whole_number_is_a_float_too() -> None:
    assert config_from({"train": {"train_every": 8}, "curriculum": {"temperature": 1}}).train.train_every == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run folder"),
        ("a: [", r"config\.yaml cannot be read: .*; put back a copy of this file"),
        ("- 1", "holds no mapping"),
        ("a: 1", "no section"),
    ],
)
def test_folders_that_cannot_be_read_say_so(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot save settings in .*Not a directory"):
        RunFolder.open(tmp_path / "file" / "run", Config(), (), ())


def test_the_lock_is_let_go(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path, Config(), (), ())
    for _ in range(2):
        with folder.locked(), pytest.raises(UserError, match="another process"), folder.locked():
            pass


def test_a_commit_is_told_only_of_tracked_sources(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *author, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert git_commit(tmp_path) is None
    git("init")
    (tmp_path / "run_folder.py").write_text("1")
    (tmp_path / "other").write_text("1")
    git("add", "other")
    git("commit", "-m", "one")
    assert git_commit(tmp_path) is None
    git("add", "run_folder.py")
    git("commit", "-m", "two")
    sha = git("rev-parse", "HEAD").strip()
    assert git_commit(tmp_path) == sha
    (tmp_path / "run_folder.py").write_text("2")
    assert git_commit(tmp_path) == sha + "+changes"


def test_looking_for_the_commit_does_not_touch_the_index(tmp_path: Path) -> None:
    for words in (
        ["init"],
        ["add", "run_folder.py"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "one"],
    ):
        (tmp_path / "run_folder.py").write_text("1")
        subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, check=True)
    # Newer than the index says, with the same content: `git status` would take the lock and write that down.
    os.utime(tmp_path / "run_folder.py", (0, 0))
    before = (tmp_path / ".git" / "index").read_bytes()
    commit = git_commit(tmp_path)
    assert commit is not None and not commit.endswith("+changes")
    assert (tmp_path / ".git" / "index").read_bytes() == before


def test_rows_begin_with_what_identifies_the_run(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path, Config(), (), ())
    assert folder.columns == {
        "run": "gridhazards/waker-m/plan2explore/seed-0",
        "domain": "gridhazards",
        "sampler": "waker-m",
        "explorer": "plan2explore",
        "seed": 0,
    }
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["config"]["seed"] == 0


def test_settings_that_were_edited_are_refused_with_the_way_to_edit_them(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, Config(), (), ())
    file = tmp_path / "config.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(UserError, match=r"config.yaml is not what was written: .*removes its line 'checksum'"):
        read_config(tmp_path)
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("checksum")))
    assert read_config(tmp_path).seed == 1
