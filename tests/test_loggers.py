"""Metric means, sinks, tables and the progress line."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import wandb
from rich.console import Console

from tests.damage import cut, flip
from waker.checkpoint import pack, unpack
from waker.errors import UserError
from waker.files import Damaged
from waker.loggers import Means, MultiSink, NotFinite, TensorBoardSink, WandbSink, make_sink, wandb_id, wandb_mode
from waker.metrics_file import JsonlSink
from waker.progress import Progress
from waker.tables import Table, read_rows, write_rows


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

    sink = TensorBoardSink(tmp_path)
    sink.write({"step": 10, "updates": 1, "loss": 1.0})
    state = sink.sync()
    sink.write({"step": 20, "updates": 2, "loss": 99.0})
    sink.close()
    again = TensorBoardSink(tmp_path)
    again.restore(state)
    again.write({"step": 20, "updates": 2, "loss": 2.0})
    again.close()
    events = EventAccumulator(str(tmp_path))
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


def test_tables_keep_order_types_and_missing_values(tmp_path: Path) -> None:
    table = Table(tmp_path / "episodes.parquet")
    table.append(
        [{"task": "a", "return": 1, "completion": None}, {"task": "b", "return": 2, "completion": float("nan")}]
    )
    assert table.save() == 2
    table.append([{"task": "c", "return": 3, "completion": 0.5}])
    assert table.save() == 3
    assert table.save() == 3
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
    assert rows.save() == arrays.save() == 8
    pd.testing.assert_frame_equal(read_rows(tmp_path / "rows"), read_rows(tmp_path / "arrays"))
    for table in (rows, arrays):
        table.append({"theta_id": np.arange(2), "value": np.ones(2)}, {"run": "r", "step": 9})
        table.append({"theta_id": np.arange(2), "value": np.ones(2)}, {"run": "r", "step": 8})
        table.forget(9)
        assert table.save() == 10


def test_waiting_rows_take_a_bounded_memory_and_a_resume_removes_what_was_written_early(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    column = np.zeros(100_000)
    table.append({"row": column}, {"step": 0})
    kept = table.save()
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
        counts.append(table.save())
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
    assert table.save() == 5
    table.append([{"step": 20}])
    table.forget(20)
    assert table.save() == 2
    assert read_rows(folder)["step"].tolist() == pd.read_parquet(folder)["step"].tolist() == [10, 40]
    again = Table(folder)
    assert again.restore(2, 40) == 0
    again.append([{"step": 50}])
    again.save()
    assert read_rows(folder)["step"].tolist() == [10, 40, 50]


def test_progress_draws_plain_lines_at_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("waker.progress.time.monotonic", lambda: clock)
    out = io.StringIO()
    progress = Progress("run", 10_000, Console(file=out, width=40), every=10)
    asked = 0

    def theta() -> str:
        nonlocal asked
        asked += 1
        return "size=4, slip=[x]"

    progress.start()
    for i in range(31):
        clock = 100.0 + i
        progress.update(100 * i, 10 * i, theta, "explore")
        if i == 5:
            progress.metrics({"loss/model": 0.125, "other": 1.0})
    progress.note("saved")
    progress.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert asked == 4
    assert lines[3] == (
        "run · explore step 3,000/10,000 · 300 updates · 10.0/s · 1:10 left · loss/model 0.125 · θ: size=4, slip=[x]"
    )
    assert lines[4] == "run · saved"
    progress.metrics({"policy_loss": 1.0, "kl_loss": 2.0, "model_loss": 12345.0})
    assert progress.line(1, 1, "").split(" · ")[-2:] == ["model loss 1.23e+04", "kl loss 2"]


def plain_lines(monkeypatch: pytest.MonkeyPatch, label: str, total: int, seconds: float, theta: str) -> list[str]:
    """What a run of 100 updates prints where there is no terminal, a fifth of its time being prefill."""
    clock = 1000.0
    monkeypatch.setattr("waker.progress.time.monotonic", lambda: clock)
    out = io.StringIO()
    progress = Progress(label, total, Console(file=out, width=40), updates=100)
    progress.metrics({"model_loss": 1234.5, "kl_loss": 2.0, "ensemble_loss": 3.0, "credit": 4.0})
    for i in range(1001):
        clock = 1000.0 + seconds * i / 1000
        progress.update(total * i // 1000, max(0, (i - 200) // 8), lambda: theta, "explore")
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "most"),
    [(4.0, 1), (100.0, 12), (7200.0, 132)],  # at once; each tenth; every minute and each tenth
)
def test_where_no_terminal_is_a_line_comes_a_minute_or_at_each_tenth(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    lines = plain_lines(monkeypatch, "gridhazards/waker-m/plan2explore/seed-0", 2_000_000, seconds, "size=3, slip=0.25")
    assert 0.8 * most <= len(lines) <= most
    assert max(map(len, lines)) <= 120
    if seconds > 50:
        assert all(any(f"{n}0 updates" in line for line in lines) for n in range(1, 10))


@pytest.mark.parametrize("label", ["run", "x" * 80, "a/long/name, " + ", ".join(f"task{k}" for k in range(30))])
def test_a_plain_line_is_short_whatever_it_has_to_say(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    theta = ", ".join(f"parameter{k}={k / 7:g}" for k in range(20))
    lines = plain_lines(monkeypatch, label, 2_000_000, 600.0, theta)
    assert max(map(len, lines)) <= 120
    assert all("explore step" in line and "updates" in line for line in lines)


def test_whoever_shows_the_newest_line_asks_for_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAKER_PROGRESS_SECONDS", "2")
    assert len(plain_lines(monkeypatch, "run", 1_000, 100.0, "")) > 45
    monkeypatch.setenv("WAKER_PROGRESS_SECONDS", "often")
    assert len(plain_lines(monkeypatch, "run", 1_000, 100.0, "")) < 13


def test_progress_on_a_terminal_keeps_notes_and_clears_its_line() -> None:
    out = io.StringIO()
    progress = Progress("run", 100, Console(file=out, force_terminal=True, width=120))
    progress.start()
    progress.update(50, 5, lambda: "")
    progress.note("saved")
    progress.close()
    assert "step 50/100" in out.getvalue()
    assert "run · saved" in out.getvalue()
