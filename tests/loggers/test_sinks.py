"""Metric means, and the sinks that rows of metrics go to."""

from __future__ import annotations

import json
import os
import struct
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb

from experiments.faults.damage import cut, flip
from waker import plug_ins
from waker.errors import UserError
from waker.loggers.means import Means
from waker.loggers.named.tensorboard import TensorBoardSink
from waker.loggers.named.wandb import WandbSink, wandb_id, wandb_mode
from waker.loggers.not_finite import NotFinite
from waker.loggers.registry import SINKS, MultiSink, check_sinks, make_sink, register_sink
from waker.storage.checkpoint import pack, unpack
from waker.storage.files import Damaged
from waker.storage.metrics_file import JsonlSink


def test_means_are_means_since_the_last_row() -> None:
    means = Means(lambda key: ("walk", "run"))
    for i in range(4):
        means.add({"loss": torch.tensor(float(i)), "return": torch.tensor([i, 2.0 * i]), "three": torch.ones(3)})
        if i % 2:
            means.add({"episode": float(i)})
    means.add({})
    assert means.take() == {
        "loss": 1.5,
        "return/walk": 1.5,
        "return/run": 3.0,
        "three/0": 1.0,
        "three/1": 1.0,
        "three/2": 1.0,
        "episode": 2.0,
    }
    assert means.take() == {}


def test_means_of_finite_metrics_are_finite() -> None:
    means = Means()
    for _ in range(10):
        means.add({"reward_std": torch.tensor(3e38), "critic": torch.tensor([3e38, -3e38])})
        means.add({"episode/return_walk": 1e300})
    found = means.take()
    assert found["reward_std"] == found["critic/0"] == pytest.approx(3e38)
    assert found["episode/return_walk"] == pytest.approx(1e300)


def test_each_metric_that_is_not_finite_is_told_once() -> None:
    watch, nan, at = NotFinite(), float("nan"), {"step": 1234, "updates": 50}
    assert watch.line({**at, "model_loss": 1.0, "note": "inf"}) == ""
    line = watch.line({**at, "prior_ent": nan, "critic/walk": -float("inf"), "model_loss": 1.0})
    assert (
        "critic/walk (and 1 more: prior_ent) is not finite at step 1,234, update 50, and null in metrics.jsonl" in line
    )
    assert "rewards may exceed 1e19" in line
    assert watch.line({**at, "prior_ent": nan, "critic/walk": nan}) == ""
    line = watch.line({**at, "prior_ent": nan, "model_kl": float("inf"), "time/seconds": 1.0})
    assert line.startswith("model_kl is not finite")
    assert "observations may exceed 1e19" in line
    many = watch.line({**at, **{f"new{i}": nan for i in range(7)}})
    assert "new0 (and 6 more: new1, new2, new3 …) is not finite" in many
    assert "add up to more than 3e38" in watch.line({**at, "episode/return_run": float("inf")})


def test_means_continue_from_their_state() -> None:
    whole, first, second = Means(), Means(), Means()
    values = torch.rand(10, generator=torch.Generator().manual_seed(0))
    for value in values:
        whole.add({"a": value})
    for value in values[:4]:
        first.add({"a": value})
    second.load_state_dict(unpack(pack(first.state_dict())))
    for value in values[4:]:
        second.add({"a": value})
    assert second.take() == whole.take()


def test_metrics_stay_on_the_device_until_a_row_is_taken() -> None:
    """On the meta device any read of a value raises: adding makes none."""
    means = Means()
    for _ in range(3):
        means.add({"loss": torch.zeros((), device="meta"), "vector": torch.zeros(3, device="meta")})
    with pytest.raises((NotImplementedError, RuntimeError)):
        means.take()


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_are_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path)
    sink.write({"step": 1, "updates": 1, "loss": 0.5})
    state = sink.sync()
    sink.write({"step": 2, "updates": 2, "loss": float("nan")})
    sink.close()
    assert read(path)[1]["loss"] is None
    again = JsonlSink(path)
    again.restore(state)
    again.write({"step": 3, "updates": 3})
    assert [r["step"] for r in read(path)] == [1, 3]
    again.restore({})
    assert read(path) == []
    again.close()


def test_a_torn_last_line_is_cut_as_well(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path)
    sink.write({"step": 1, "updates": 1})
    state = sink.sync()
    sink.close()
    path.write_bytes(path.read_bytes() + b'{"step": 2, "upd')
    again = JsonlSink(path)
    again.restore(state)
    again.write({"step": 2, "updates": 2})
    again.close()
    assert [r["step"] for r in read(path)] == [1, 2]


def test_a_file_shorter_than_its_checkpoint_is_not_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path)
    for step in (1, 2):
        sink.write({"step": step, "updates": step})
    state = sink.sync()
    sink.close()
    for left, kept in ((path.read_bytes()[:-5], [1]), (b"", [])):
        path.write_bytes(left)
        again = JsonlSink(path)
        assert "lacks rows from before the checkpoint" in again.restore(state)
        again.write({"step": 3, "updates": 3})
        again.close()
        assert [r["step"] for r in read(path)] == [*kept, 3]


def test_tensorboard_hides_what_a_resume_repeats(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = TensorBoardSink(tmp_path, "run", {})
    sink.write({"step": 10, "updates": 1, "loss": 1.0})
    state = sink.sync()
    sink.write({"step": 20, "updates": 2, "loss": 99.0})
    sink.close()
    again = TensorBoardSink(tmp_path, "run", {})
    again.restore(state)
    again.write({"step": 20, "updates": 2, "loss": 2.0})
    again.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 2.0)]


def test_wandb_is_offline_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    assert wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert wandb_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode() == "disabled"


def test_the_wandb_id_is_whole_or_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "wandb" / "run-id"

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        wandb_id(tmp_path)
    monkeypatch.undo()
    assert not place.exists()  # whole or absent
    own = wandb_id(tmp_path)
    assert wandb_id(tmp_path) == own == place.read_text()
    content = place.read_bytes()
    for harm, at in [*((flip, bit) for bit in range(8 * len(content))), *((cut, size) for size in range(len(content)))]:
        place.write_bytes(content)
        harm(place, at)
        with pytest.raises(Damaged, match=r"run-id is damaged: it holds no id of a W&B run; .*remove the file"):
            wandb_id(tmp_path)
    place.write_text("0123456789ab\n")  # of an earlier version
    assert wandb_id(tmp_path) == "0123456789ab"
    place.unlink()
    place.mkdir()
    with pytest.raises(UserError, match="run-id cannot be read: Is a directory"):
        wandb_id(tmp_path)


def history(piece: Path) -> list[dict[str, Any]]:
    """The rows of a ``.wandb`` file: behind seven bytes, protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, at, record, rows = piece.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:  # no header fits into the rest of a block
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            message = wandb_internal_pb2.Record()
            message.ParseFromString(record)
            record = b""
            if message.WhichOneof("record_type") == "history":
                items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in message.history.item}
                own = {k: v for k, v in items.items() if not k.startswith("_")}
                rows.append({**own, "at": message.history.step.num})
    return rows


def test_the_newest_piece_of_an_offline_wandb_run_has_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of pieces with one id a sync keeps the last: the run is stopped, goes back a row and on, and is looked at."""
    monkeypatch.setenv("WANDB_MODE", "offline")

    def begin(state: dict[str, Any]) -> MultiSink:
        sink = make_sink(("wandb",), tmp_path, "run", {"seed": 0})
        sink.restore(state)
        return sink

    sink = begin({})
    sink.write({"step": 10, "updates": 4, "loss": 0.1, "name": "text"})
    sink.write({"step": 20, "updates": 8, "loss": float("nan")})
    state = sink.sync()
    sink.write({"step": 30, "updates": 12, "loss": 7.0})  # after the checkpoint: given up
    sink.close()
    sink = begin(state)
    sink.write({"step": 30, "updates": 12, "loss": 0.3})
    sink.close()
    make_sink(("wandb",), tmp_path, "run", {"seed": 0}).close()  # one that had been finished: nothing is restored
    wandb.teardown()  # its process has then written everything
    pieces = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    rows = history(max(pieces, key=lambda piece: piece.stat().st_mtime_ns))
    assert [(row["at"], row["step"], row["loss"]) for row in rows if row["at"] != 8] == [(4, 10, 0.1), (12, 30, 0.3)]
    assert [(row["step"], str(row["loss"]).lower()) for row in rows if row["at"] == 8] == [(20, "nan")]
    assert len({piece.name for piece in pieces}) == 1  # one id, and a finished run opens none
    assert len(pieces) == 2


def test_wandb_continues_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    ids = set()
    for step in (1, 2):
        sink = WandbSink(tmp_path, "name", {"seed": 0})
        ids.add(sink.id)
        sink.write({"step": step, "updates": step, "loss": 0.1})
        sink.close()
    assert len(ids) == 1
    recorded = [p.name for p in (tmp_path / "wandb").glob("offline-run-*")]
    assert recorded
    assert all(next(iter(ids)) in name for name in recorded)


def test_json_lines_are_always_written(tmp_path: Path) -> None:
    sink = make_sink((), tmp_path, "run", {})
    sink.write({"step": 1, "updates": 1})
    assert list(sink.sync()) == ["jsonl"]
    sink.close()
    assert len(read(tmp_path / "metrics.jsonl")) == 1


class Mine:
    """A third party's logger: one class, named by an entry point."""

    needs = ("json",)

    def __init__(self, folder: Path, name: str, config: dict[str, Any]) -> None:
        self.file = folder / f"{name}-{config['seed']}.txt"

    def write(self, row: dict[str, Any]) -> None:
        self.file.write_text(f"step {row['step']}")

    def sync(self) -> dict[str, Any]:
        return {"here": True}

    def restore(self, state: dict[str, Any]) -> str:
        return "lost" if not state else ""

    def close(self) -> None:
        self.file.rename(self.file.with_suffix(".closed"))


class NeedsMore(Mine):
    needs = ("json", "no_such_package")


def points(group: str) -> tuple[EntryPoint, ...]:
    here = Mine.__module__
    named = {"mine": f"{here}:Mine", "more": f"{here}:NeedsMore", "broken": "no_such_package:Logger"}
    return tuple(EntryPoint(name, value, group) for name, value in named.items())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers of another package, for one test."""
    SINKS.names()  # ours are registered before what is registered is copied
    monkeypatch.setattr(SINKS, "registered", dict(SINKS.registered))
    monkeypatch.setattr(plug_ins, "entry_points", points)


@pytest.mark.usefixtures("installed")
def test_a_logger_of_another_package_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, Mine.__module__, sys.modules[Mine.__module__])
    check_sinks(("mine", "jsonl"))
    sink = make_sink(("jsonl", "mine"), tmp_path, "run", {"seed": 3})
    assert sink.restore({}) == "lost"
    sink.write({"step": 1, "updates": 1})
    assert sink.sync()["mine"] == {"here": True}
    sink.close()
    assert (tmp_path / "run-3.closed").read_text() == "step 1"


@pytest.mark.usefixtures("installed")
def test_a_logger_of_the_package_is_a_class_with_a_decorator(tmp_path: Path) -> None:
    assert set(SINKS.names()) >= {"jsonl", "wandb", "tensorboard"}
    assert register_sink("noted")(Mine) is Mine
    check_sinks(("noted",))
    assert list(make_sink(("noted",), tmp_path, "run", {"seed": 3}).sinks) == ["jsonl", "noted"]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("more", "sink 'more' needs the package 'no_such_package', which is not installed"),
        ("broken", "sink 'broken' of no_such_package:Logger cannot be loaded: ModuleNotFoundError"),
        ("tensorbord", "unknown sink 'tensorbord'; did you mean 'tensorboard'?"),
    ],
)
def test_a_logger_that_is_not_there_is_refused(name: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        check_sinks((name,))
    assert told in str(refused.value)
