"""The ring against a list of records, its windows against brute force, and its chunks on disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from waker.errors import UserError
from waker.replay.feed import Feed
from waker.replay.memory import Fields, record_bytes
from waker.replay.ring import Replay, record_fields
from waker.replay.store import ReplayStore
from waker.specs import ActionSpec, EnvSpec, ObservationKey
from waker.storage.checkpoint import CheckpointCorrupt

FIELDS: Fields = {
    "image": ((2, 2, 3), "uint8"),
    "x": ((2,), np.float32),
    "theta_id": ((), np.int32),
    "is_first": ((), np.bool_),
}
Records = list[dict[str, NDArray[Any]]]


def record(tick: int, slots: int) -> dict[str, NDArray[Any]]:
    """A record whose every value tells its tick and slot."""
    code = tick * 10 + np.arange(slots)
    return {
        "image": np.broadcast_to((code % 251)[:, None, None, None], (slots, 2, 2, 3)).astype(np.uint8),
        "x": np.stack([code, -code], 1).astype(np.float32),
        "theta_id": code.astype(np.int32),
        "is_first": code % 3 == 0,
    }


def filled(ticks: int, slots: int, size: int, start: int = 0) -> tuple[Replay, Records]:
    replay = Replay(FIELDS, slots, slots * size)
    records = [record(t, slots) for t in range(start, start + ticks)]
    for r in records:
        replay.add(r)
    return replay, records


def windows_of(records: Records, slots: int, size: int, length: int) -> list[tuple[int, ...]]:
    """All windows by brute force: the codes of each slot's newest ``size`` records, every run of ``length``."""
    found = []
    for slot in range(slots):
        codes = [int(r["theta_id"][slot]) for r in records[-size:]]
        found += [tuple(codes[i : i + length]) for i in range(len(codes) - length + 1)]
    return found


@settings(deadline=None, max_examples=150)
@given(
    ticks=st.integers(1, 25),
    slots=st.integers(1, 4),
    size=st.integers(1, 9),
    length=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_samples_are_windows_of_the_list_model(ticks: int, slots: int, size: int, length: int, seed: int) -> None:
    replay, records = filled(ticks, slots, size)
    expected = windows_of(records, slots, size, length)
    assert replay.windows(length) == len(expected)
    assert len(replay) == slots * min(ticks, size)
    if not expected:
        with pytest.raises(UserError, match=f"a window of {length} steps does not fit"):
            replay.sample(np.random.default_rng(seed), 3, length)
        return
    batch = replay.sample(np.random.default_rng(seed), 16, length)
    allowed = set(expected)
    for b in range(16):
        window = tuple(batch["theta_id"][b].tolist())
        assert window in allowed
        for t, code in enumerate(window):
            same = record(code // 10, slots)
            if t == 0:
                same["is_first"] = np.ones(slots, np.bool_)  # to the learner an episode begins here
            for name in FIELDS:
                assert np.array_equal(batch[name][b, t], same[name][code % 10])
    for name, (shape, dtype) in FIELDS.items():
        assert batch[name].shape == (16, length, *shape)
        assert batch[name].dtype == np.dtype(dtype)


def test_a_window_begins_as_an_episode_does_and_the_replay_stays_as_it_is() -> None:
    replay, _ = filled(20, 3, 15)
    held = replay.arrays["is_first"].copy()
    assert not held.all()
    out = replay.buffers(40, 4)
    for batch in (replay.sample(np.random.default_rng(0), 40, 4), replay.sample(np.random.default_rng(0), 40, 4, out)):
        assert batch["is_first"][:, 0].all()
        assert np.array_equal(batch["is_first"][:, 1:], batch["theta_id"][:, 1:] % 3 == 0)
    relabelled = replay.replaced("x", replay.arrays["x"] + 1)
    assert relabelled.sample(np.random.default_rng(0), 40, 4)["is_first"][:, 0].all()
    assert np.array_equal(replay.arrays["is_first"], held)


@pytest.mark.parametrize("ticks", [5, 7, 23])
def test_every_window_is_equally_likely(ticks: int) -> None:
    replay, records = filled(ticks, 3, 7)
    expected = windows_of(records, 3, 7, 4)
    n = 40_000
    batch = replay.sample(np.random.default_rng(0), n, 4)["theta_id"]
    counts = dict.fromkeys(expected, 0)
    for window in map(tuple, batch.tolist()):
        counts[window] += 1
    share = np.array(list(counts.values())) / n
    p = 1 / len(expected)
    assert (abs(share - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


def test_buffers_are_filled_in_place_with_the_same_draws() -> None:
    replay, _ = filled(23, 3, 7)
    out = replay.buffers(5, 4)
    got = replay.sample(np.random.default_rng(1), 5, 4, out=out)
    fresh = replay.sample(np.random.default_rng(1), 5, 4)
    for name in FIELDS:
        assert got[name] is out[name]
        assert np.array_equal(out[name], fresh[name])


def test_feed_gives_tensors_of_the_native_dtypes() -> None:
    replay, _ = filled(23, 3, 7)
    feed = Feed(replay, np.random.default_rng(1), 5, 4, "cpu")
    expected = replay.sample(np.random.default_rng(1), 5, 4)
    batch = feed.next()
    for name in FIELDS:
        assert batch[name].numpy().dtype == np.dtype(FIELDS[name][1])
        assert np.array_equal(batch[name].numpy(), expected[name])


def test_a_batch_is_on_the_device_before_its_buffers_are_filled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing reads an adaptation's update back, so only a blocking copy is done when the next batch is drawn."""
    asynchronous: list[bool] = []
    to = torch.Tensor.to

    def spy(tensor: torch.Tensor, *args: Any, non_blocking: bool = False, **kwargs: Any) -> torch.Tensor:
        asynchronous.append(non_blocking)
        return to(tensor, *args, **kwargs)

    replay, _ = filled(23, 3, 7)
    feed = Feed(replay, np.random.default_rng(1), 5, 4, "cpu")
    monkeypatch.setattr(torch.Tensor, "to", spy)
    feed.next()
    assert asynchronous == [False] * len(FIELDS)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from waker.replay.ring import Replay
from waker.replay.memory import record_bytes

def resident():
    return 1024 * sum(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS:"))

fields = {"image": ((64, 64, 3), "uint8"), "action": ((6,), "float32"), "is_first": ((), "bool")}
steps, slots = 8_000, 4
record = {n: np.ones((slots, *shape), dtype) for n, (shape, dtype) in fields.items()}
small = Replay(fields, slots, slots)
small.add(record)
before = resident()
replay = Replay(fields, slots, steps, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
empty = resident() - before
for _ in range(steps // slots + 10):
    replay.add(record)
print(steps * record_bytes(fields), replay.bytes, empty, resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("mapped", [True, False], ids=["file", "memory"])
def test_a_full_ring_holds_its_bytes_and_no_more(tmp_path: Path, mapped: bool) -> None:
    """A hundred megabytes of pictures, measured in a process of its own."""
    folder = [str(tmp_path / "run")] if mapped else []
    done = subprocess.run([sys.executable, "-c", SCRIPT, *folder], capture_output=True, text=True, check=True)
    expected, stated, empty, full = map(int, done.stdout.split())
    assert stated == expected > 90e6
    assert empty < 0.01 * expected
    assert 0.99 * expected < full < 1.05 * expected
    assert not mapped or not list((tmp_path / "run").iterdir())  # the file has no name


def test_what_cannot_fit_is_refused_with_what_would(tmp_path: Path) -> None:
    fields: Fields = {"image": ((1024, 1024, 3), "uint8")}
    with pytest.raises(UserError, match=r"a replay of 1,000,000,000 steps takes .* free in memory; --train") as e:
        Replay(fields, 10, 10**9)
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match=r"free on the disk of .*not/yet") as e:
        Replay(fields, 10, 10**9, tmp_path / "not" / "yet")
    fits = int(str(e.value).split("--train.replay ")[1].split()[0])
    assert fits * record_bytes(fields) <= shutil.disk_usage(tmp_path).free
    assert not (tmp_path / "not").exists()


def test_a_replay_must_hold_a_step_of_each_slot() -> None:
    with pytest.raises(UserError, match="at least one step of each of the 4 environments, not 3"):
        Replay(FIELDS, 4, 3)


def test_fields_of_a_record_keep_native_dtypes() -> None:
    keys = (
        ObservationKey("image", "image", (8, 8, 3), "uint8"),
        ObservationKey("agent", "categorical", (2,), "int32", (5, 300)),
    )
    fields = record_fields(EnvSpec("e", keys, ActionSpec(4, True), ("a", "b", "c")))
    assert {name: (shape, np.dtype(dtype).name) for name, (shape, dtype) in fields.items()} == {
        "image": ((8, 8, 3), "uint8"),
        "agent": ((2,), "int32"),
        "action": ((4,), "float32"),
        "task_rewards": ((3,), "float32"),
        "theta_id": ((), "int32"),
        "is_first": ((), "bool"),
        "is_last": ((), "bool"),
        "is_terminal": ((), "bool"),
    }


def held(replay: Replay) -> dict[str, Any]:
    return {name: a.tolist() for name, a in replay.read(replay.first, replay.ticks).items()}


@settings(deadline=None, max_examples=40)
@given(adds=st.lists(st.integers(0, 12), min_size=1, max_size=7), size=st.integers(1, 9), cut=st.integers(0, 6))
def test_chunks_give_back_the_ring_of_any_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, adds: list[int], size: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    replay = Replay(FIELDS, 2, 2 * size)
    store = ReplayStore(folder, replay)
    saved = []
    for count in adds:
        for _ in range(count):
            replay.add(record(replay.ticks, 2))
        saved.append((store.save(), held(replay), replay.ticks))
        store.prune(state for state, _, _ in saved)
    state, content, ticks = saved[min(cut, len(saved) - 1)]
    again = Replay(FIELDS, 2, 2 * size)
    reader = ReplayStore(folder, again)
    reader.restore(state)
    assert again.ticks == ticks
    assert held(again) == content
    # What was added after the checkpoint is gone from the disk; what is added now is saved on top.
    reader.prune([])
    assert {p.name for p in folder.iterdir()} == {c["name"] for c in state["chunks"]}
    again.add(record(again.ticks, 2))
    last = Replay(FIELDS, 2, 2 * size)
    ReplayStore(folder, last).restore(reader.save())
    assert held(last) == held(again)


def test_a_save_writes_only_what_is_new(tmp_path: Path) -> None:
    replay, _ = filled(20, 2, 100)
    store = ReplayStore(tmp_path, replay)
    store.save()
    first = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    replay.add(record(20, 2))
    state = store.save()
    assert [(c["start"], c["stop"]) for c in state["chunks"]] == [(0, 20), (20, 21)]
    assert all(p.stat().st_mtime_ns == t for p, t in first.items())
    assert store.save() == state


def test_chunks_out_of_the_ring_leave_the_disk_unless_a_checkpoint_names_them(tmp_path: Path) -> None:
    replay = Replay(FIELDS, 1, 5)
    store = ReplayStore(tmp_path, replay)
    states = []
    for _ in range(4):
        for _ in range(4):
            replay.add(record(replay.ticks, 1))
        states.append(store.save())
        store.prune(states[-2:])
    assert sorted(p.name[6:18] for p in tmp_path.iterdir()) == ["000000000004", "000000000008", "000000000012"]
    again = Replay(FIELDS, 1, 5)
    ReplayStore(tmp_path, again).restore(states[-2])
    assert again.read(7, 12)["theta_id"].tolist() == [[70, 80, 90, 100, 110]]


@pytest.mark.parametrize("harm", ["missing", "short", "flipped", "compression", "encrypted", "folder"])
@pytest.mark.parametrize("known", [True, False], ids=["with SHA-256", "saved before there was one"])
def test_damaged_chunks_are_found(tmp_path: Path, harm: str, known: bool) -> None:
    replay, _ = filled(20, 2, 100)
    state = ReplayStore(tmp_path, replay).save()
    (path,) = tmp_path.iterdir()
    if not known:
        del state["chunks"][0]["sha256"]
    content = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    elif harm == "short":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "folder":
        path.unlink()
        path.mkdir()
        state["chunks"][0]["bytes"] = path.stat().st_size
    elif harm in ("compression", "encrypted"):
        entry = content.rindex(b"PK\x01\x02")  # the zip directory's last entry: its flags at 8, its method at 10
        content[entry + (10 if harm == "compression" else 8)] ^= 0x61
        path.write_bytes(content)
    else:
        content[len(content) // 3] ^= 0x10
        path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=path.name):
        ReplayStore(tmp_path, Replay(FIELDS, 2, 200)).restore(state)


def test_a_chunk_of_another_environment_is_refused(tmp_path: Path) -> None:
    replay, _ = filled(20, 2, 100)
    state = ReplayStore(tmp_path, replay).save()
    changes: list[tuple[Fields, str]] = [
        ({**FIELDS, "x": ((3,), np.float32)}, r"'x' float32 \(2,\); the environment now has it float32 \(3,\)"),
        ({**FIELDS, "y": ((), np.int32)}, r"'y' absent; the environment now has it int32 \(\)"),
        ({k: v for k, v in FIELDS.items() if k != "x"}, "now has it absent"),
    ]
    for fields, message in changes:
        with pytest.raises(UserError, match=message) as caught:
            ReplayStore(tmp_path, Replay(fields, 2, 200)).restore(state)
        assert not isinstance(caught.value, CheckpointCorrupt)
    with pytest.raises(UserError, match="has 2 slots, not 4"):
        ReplayStore(tmp_path, Replay(FIELDS, 4, 200)).restore(state)


def test_a_killed_save_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    replay, _ = filled(20, 2, 100)
    store = ReplayStore(tmp_path, replay)
    state = store.save()
    (tmp_path / ".tmp-ticks-000000000020-000000000030.npz").write_bytes(b"half")
    again = Replay(FIELDS, 2, 200)
    reader = ReplayStore(tmp_path, again)
    reader.restore(state)
    reader.prune([])
    assert held(again) == held(replay)
    assert [p.name for p in tmp_path.iterdir()] == ["ticks-000000000000-000000000020.npz"]


@pytest.mark.parametrize("added", [0, 12, 70])
def test_no_window_meets_records_that_are_lost(tmp_path: Path, added: int) -> None:
    """Windows of what is left are all drawn, and alike; those of a whole replay as before."""
    replay = Replay(FIELDS, 2, 2 * 60)
    store = ReplayStore(tmp_path, replay)
    for count in (20, 10, 15):
        for _ in range(count):
            replay.add(record(replay.ticks, 2))
        state = store.save()
    (tmp_path / state["chunks"][1]["name"]).write_bytes(b"torn")
    left = Replay(FIELDS, 2, 2 * 60)
    again = ReplayStore(tmp_path, left)
    with pytest.raises(CheckpointCorrupt, match=state["chunks"][1]["name"]):
        again.restore(state)
    (told,) = again.restore(state, without_damaged=True)
    assert told.startswith("going on without ticks 20 to 30 of the replay: ticks-")
    for _ in range(added):
        left.add(record(left.ticks, 2))
    ticks = 45 + added
    whole = [t for t in range(max(0, ticks - 60), ticks) if not 20 <= t < 30]
    assert len(left) == 2 * len(whole)
    starts = [t for t in whole if {*range(t, t + 4)} <= {*whole}]
    assert left.windows(4) == 2 * len(starts)
    drawn = left.sample(np.random.default_rng(0), 4000, 4)["theta_id"]
    assert (np.diff(drawn, axis=1) == 10).all()
    seen, counts = np.unique(drawn[:, 0], return_counts=True)
    expected = sorted(int(record(t, 2)["theta_id"][slot]) for t in starts for slot in range(2))
    assert seen.tolist() == expected
    assert counts.max() < 2.5 * counts.mean()
    # The next checkpoint says what is lost; from it the same is drawn.
    after = Replay(FIELDS, 2, 2 * 60)
    assert ReplayStore(tmp_path, after).restore(again.save()) == []
    same = after.sample(np.random.default_rng(0), 4000, 4)["theta_id"]
    assert (same == drawn).all()
