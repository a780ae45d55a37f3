"""Runs on damaged disks: they go on with what is whole, say what is not, and keep a record of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.faults.damage import cut, flip
from tests.helpers import dummies
from tests.training.test_resume import Killed, assert_same, die, killer, outcome, terminate
from waker.analysis.data import load_run
from waker.errors import UserError
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import SaveFailed
from waker.storage.manifest import read_manifest, recover_settings, write_manifest
from waker.storage.metrics_file import read_metrics
from waker.storage.run_folder import read_record, run_folder
from waker.storage.run_search import run_folders
from waker.storage.salvage import saved_rows
from waker.storage.tables import read_rows, write_rows
from waker.terminal.notices import Losses
from waker.terminal.signals import Interrupted
from waker.training.loop import Outcome

CONFIG = dummies.config(save_every=60)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one that was killed late in its exploration."""
    root = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        dummies.run(root, CONFIG, dummies.Quiet(killer([165], die)))
    return root


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """A run folder of the test's own, killed, with several parts, chunks and two checkpoints."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    return run_folder(tmp_path, CONFIG)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dummies.run(tmp_path_factory.mktemp("whole"), CONFIG)[0]


def gone_on(folder: Path, root: Path, config: Any = CONFIG) -> list[str]:
    """Go on to the end; the notes."""
    progress = dummies.Quiet()
    path, ended = dummies.run(root, config, progress)
    assert (path, ended) == (folder, Outcome.FINISHED)
    return progress.notes


def short(path: Path) -> None:
    cut(path, path.stat().st_size - 1)


@pytest.mark.parametrize("table", ["episodes", "curriculum", "evaluation"])
@pytest.mark.parametrize("harm", [short, lambda path: flip(path, 999), Path.unlink], ids=["cut", "flipped", "missing"])
def test_a_resume_tells_damaged_rows_and_reports_go_on_without_them(
    killed: Path, tmp_path: Path, whole: Path, table: str, harm: Callable[[Path], None]
) -> None:
    part = min((killed / f"{table}.parquet").glob("part-*"))
    rows = int(part.name.split("-")[2])
    harm(part)
    notes = gone_on(killed, tmp_path)
    assert [f"{table}.parquet" in note and f"without its rows 0 to {rows}" in note for note in notes[:1]] == [True]
    left = read_rows(whole / f"{table}.parquet").iloc[rows:].reset_index(drop=True)
    assert read_rows(killed / f"{table}.parquet").equals(left)
    run = load_run(killed)
    assert len(run.lost) == 1 and f"rows 0 to {rows} of {table}.parquet are lost" in run.lost[0]
    assert run.lost[0] in run.notes
    # The weights are those of the whole run.
    states = [Checkpoints(path / "checkpoints") for path in (killed, whole)]
    mine, theirs = (checkpoints.load(checkpoints.paths()[0])["agent"]["net"]["weight"] for checkpoints in states)
    assert torch.equal(mine, theirs)


def test_a_resume_tells_a_damaged_metric_row(killed: Path, tmp_path: Path, whole: Path) -> None:
    flip(killed / "metrics.jsonl", 8 * 10 + 1)
    with pytest.raises(UserError, match=r"metrics.jsonl does not fit its checksums"):
        load_run(killed)
    assert "(line 1): going on without that" in gone_on(killed, tmp_path)[0]
    rows, theirs = read_metrics(killed / "metrics.jsonl"), read_metrics(whole / "metrics.jsonl")
    assert [row["updates"] for row in rows] == [row["updates"] for row in theirs[1:]]
    assert "rows of metrics.jsonl are lost" in load_run(killed).lost[0]


def test_a_finished_run_sets_damage_aside_and_keeps_what_was_measured_since(whole: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, CONFIG)
    shutil.copytree(whole, folder)
    write_rows(folder / "evaluation.parquet", [{"step": 1}])  # as `waker evaluate` does
    flip(min((folder / "episodes.parquet").glob("part-*")), 4000)
    flip(folder / "metrics.jsonl", 0)
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, CONFIG, progress)[1] is Outcome.SKIPPED
    assert ["episodes.parquet" in progress.notes[0], "metrics.jsonl" in progress.notes[1]] == [True, True]
    assert read_rows(folder / "evaluation.parquet")["step"].tolist() == [1]
    assert len(load_run(folder).lost) == 2
    again = dummies.Quiet()
    dummies.run(tmp_path, CONFIG, again)
    assert again.notes[0].startswith("finished before")


def test_a_report_misses_the_last_part(killed: Path) -> None:
    max((killed / "episodes.parquet").glob("part-*")).unlink()
    with pytest.raises(UserError, match=r"episodes.parquet is damaged: a part of its rows \d+ to \d+ is missing"):
        saved_rows(killed / "episodes.parquet")


# The settings -----------------------------------------------------------------------------------------------------


def test_lost_settings_are_those_of_the_checkpoints(killed: Path, tmp_path: Path, whole: Path) -> None:
    record = read_record(killed)
    (killed / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"no config.yaml; its checkpoints have a copy: .*waker train"):
        read_record(killed)
    with pytest.raises(UserError, match=r"holds no run: .*; its checkpoints have a copy: .*waker train"):
        run_folders([killed])
    other = replace(CONFIG, behaviour=replace(CONFIG.behaviour, discount=0.5))
    with pytest.raises(UserError, match=r"belongs to other settings: behaviour.discount is 0.99 there and 0.5 now"):
        dummies.run(tmp_path, other)
    (killed / "config.yaml").unlink()
    notes: list[str] = []
    recover_settings(killed, notes.append)
    assert notes == [f"{killed / 'config.yaml'} was missing: written anew from the newest checkpoint"]
    assert read_record(killed) == record
    gone_on(killed, tmp_path)
    assert_same(killed, whole)


def test_checkpoints_that_do_not_know_their_settings_are_refused_without_them(killed: Path, tmp_path: Path) -> None:
    for path in Checkpoints(killed / "checkpoints").paths():
        write_manifest(path, {k: v for k, v in read_manifest(path).items() if k != "record"})
    (killed / "config.yaml").unlink()
    with pytest.raises(UserError, match="has checkpoints but no config.yaml, and they do not tell their settings"):
        dummies.run(tmp_path, CONFIG)


# The folder -------------------------------------------------------------------------------------------------------


def remove(path: Path) -> None:
    (shutil.rmtree if path.is_dir() else Path.unlink)(path)  # type: ignore[operator]


@pytest.mark.parametrize(
    "what", ["", "replay", "metrics.jsonl", "metrics.sums", "episodes.parquet", "config.yaml", ".lock", "a chunk"]
)
def test_what_is_removed_during_a_run_is_told_at_the_next_save(tmp_path: Path, what: str) -> None:
    folder = run_folder(tmp_path, CONFIG)

    def at(step: int, updates: int) -> None:
        if step == 240:
            remove(min((folder / "replay").glob("ticks-*")) if what == "a chunk" else folder / what)

    with pytest.raises(SaveFailed, match=r"cannot save in .*: removed or replaced during the run: ") as caught:
        dummies.run(tmp_path, CONFIG, dummies.Quiet(at))
    assert (what if what not in ("", "a chunk") else ".lock" if not what else "ticks-") in str(caught.value)
    assert "\n" not in str(caught.value)
    if not what:
        assert not folder.exists()


def test_a_folder_put_in_place_of_a_run_is_not_written_to(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, CONFIG)

    def at(step: int, updates: int) -> None:
        if step == 240:
            folder.rename(tmp_path / "moved")
            shutil.copytree(tmp_path / "moved", folder)

    with pytest.raises(SaveFailed, match=r"removed or replaced during the run: .lock, metrics.jsonl"):
        dummies.run(tmp_path, CONFIG, dummies.Quiet(at))


def test_a_lock_that_cannot_be_had_is_one_line(killed: Path, tmp_path: Path) -> None:
    (killed / ".lock").unlink()
    (killed / ".lock").symlink_to(".lock")
    with pytest.raises(UserError, match=r"cannot save the lock of .*: Too many levels of symbolic links"):
        dummies.run(tmp_path, CONFIG)


# The replay -------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_without_an_old_chunk_and_says_so(killed: Path, tmp_path: Path, whole: Path) -> None:
    """Every checkpoint needs it; the weights are whole. What it does then is as repeatable as ever."""
    newest, before = (read_manifest(path) for path in Checkpoints(killed / "checkpoints").paths())
    chunk = killed / "replay" / before["replay"]["chunks"][-1]["name"]
    assert chunk.name in [c["name"] for c in newest["replay"]["chunks"][:-1]]
    start, stop = (int(number) for number in chunk.stem.split("-")[1:])
    flip(chunk, 800)
    shutil.copytree(tmp_path, tmp_path / "again")
    shutil.copytree(tmp_path / "again", tmp_path / "cut")
    notes = gone_on(killed, tmp_path)
    for note, then in zip(notes[:2], ("trying the one before", "it is the oldest"), strict=True):
        assert chunk.name in note
        assert note.endswith(then)
    told = f"going on without ticks {start} to {stop} of the replay: {chunk.name} is damaged"
    assert notes[2].startswith(told)
    assert read_record(killed)["lost"][0]["what"].startswith(told)
    assert f"on {told}" in load_run(killed).lost[0]
    assert outcome(killed)["metrics"] != outcome(whole)["metrics"]
    again = run_folder(tmp_path / "again", CONFIG)
    gone_on(again, tmp_path / "again")
    assert_same(killed, again)
    with pytest.raises(Interrupted):
        dummies.run(tmp_path / "cut", CONFIG, dummies.Quiet(killer([3], terminate)))
    notes = gone_on(run_folder(tmp_path / "cut", CONFIG), tmp_path / "cut")
    assert "going on from step" in notes[0]  # the checkpoint knows what it is without
    assert_same(killed, run_folder(tmp_path / "cut", CONFIG))


def test_without_enough_of_the_replay_nothing_goes_on(killed: Path, tmp_path: Path) -> None:
    for chunk in (killed / "replay").glob("ticks-*"):
        short(chunk)
    with pytest.raises(UserError, match="too little of the replay in .* is left to learn from; put it back, or remove"):
        dummies.run(tmp_path, CONFIG)


def test_a_finished_run_needs_no_replay_but_to_go_on(whole: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, CONFIG)
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "replay")
    before, progress = Losses.told, dummies.Quiet()
    assert dummies.run(tmp_path, CONFIG, progress)[1] is Outcome.SKIPPED
    assert "chunks of the replay are gone: only `waker adapt` and more steps would need them" in progress.notes[0]
    assert progress.notes[1].startswith("finished before")
    assert Losses.told == before + 1
    longer = replace(CONFIG, train=replace(CONFIG.train, steps=500))
    with pytest.raises(UserError, match=r"too little of the replay in .*replay is left to learn from"):
        dummies.run(tmp_path, longer)


# Checkpoints ------------------------------------------------------------------------------------------------------


def spoil(manifest: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = json.loads(json.dumps(manifest))
    place = changed["replay"]["chunks"][0] if key == "start" else changed["replay"] if key == "chunks" else changed
    if value is None:
        del place[key]
    else:
        place[key] = value
    return changed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, None) for key in ("format", "step", "updates", "bytes", "sha256", "replay", "chunks", "start")),
        *(("step", "x"), ("replay", 3), ("chunks", [1]), ("chunks", {"a": 1}), ("bytes", True), ("sha256", 7)),
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_manifest_that_lacks_something_gives_way_to_the_checkpoint_before(
    killed: Path, tmp_path: Path, key: str, value: Any, sealed: bool
) -> None:
    newest = Checkpoints(killed / "checkpoints").paths()[0]
    changed = spoil({"format": 1, **read_manifest(newest)}, key, value)
    (newest / "manifest.json").write_text(json.dumps(changed))
    if sealed:
        changed["checksum"] = "0" * 64
        (newest / "manifest.json").write_text(json.dumps(changed))
    checkpoints, notes = Checkpoints(killed / "checkpoints"), list[str]()
    assert checkpoints.newest(lambda state: state["updates"], notes.append) is not None
    assert len(notes) == 1 and newest.name in notes[0] and "\n" not in notes[0]
    assert len(checkpoints.manifests()) == 1


def misfit(state: dict[str, Any], how: str) -> Any:
    if how == "weights":
        state["agent"]["net"]["weight"] = torch.zeros(3, 2)
    elif how == "no agent":
        del state["agent"]
    elif how == "lacks a weight":
        del state["agent"]["net"]["bias"]
    elif how == "another weight":
        state["agent"]["net"]["other"] = torch.zeros(1)
    elif how == "optimiser":
        state["agent"]["optimizer"]["param_groups"] = []
    elif how == "collector":
        state["collector"] = None
    return [1, 2] if how == "no mapping" else state


@pytest.mark.parametrize(
    "how", ["weights", "no agent", "lacks a weight", "another weight", "optimiser", "collector", "no mapping"]
)
def test_a_state_that_does_not_fit_is_one_line(killed: Path, tmp_path: Path, how: str) -> None:
    checkpoints = Checkpoints(killed / "checkpoints")
    newest, before = checkpoints.paths()
    manifest = read_manifest(newest)
    state = misfit(checkpoints.load(newest), how)
    shutil.rmtree(newest)
    beside = {"tables": manifest["tables"], "record": manifest["record"]}
    checkpoints.save(state, manifest["step"], manifest["updates"], manifest["replay"], beside)
    progress = dummies.Quiet()
    shutil.copytree(tmp_path, tmp_path / "alone")
    assert dummies.run(tmp_path, CONFIG, progress)[1] is Outcome.FINISHED
    assert newest.name in progress.notes[0] and "trying the one before" in progress.notes[0]
    assert "\n" not in progress.notes[0]
    alone = run_folder(tmp_path / "alone", CONFIG)
    shutil.rmtree(alone / "checkpoints" / before.name)
    told = (
        "is whole; remove"
        if how == "no mapping"
        else "can be used: .* is whole but does not fit this run .*another ver"
    )
    with pytest.raises(UserError, match=rf"no checkpoint in .* {told}") as caught:
        dummies.run(tmp_path / "alone", CONFIG)
    assert "\n" not in str(caught.value)
