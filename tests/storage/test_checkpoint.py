"""Checkpoints: whole or absent, damage found, never code, the last k kept."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from waker.errors import UserError
from waker.storage.checkpoint import CheckpointCorrupt, Checkpoints, pack, unpack
from waker.storage.files import SaveFailed, atomic, saving
from waker.storage.manifest import read_manifest, write_manifest

STATE: dict[str, Any] = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "flags": torch.tensor([True, False])},
    "array": np.arange(5, dtype=np.int32)[::-1],
    "scalar": np.float64(0.1),
    "rng": np.random.default_rng(3).bit_generator.state,
    "plain": [1, 0.5, "text", None, True, (1, 2)],
}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_saved_comes_back_exactly(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    found = checkpoints.load(checkpoints.save(STATE, 10, 2))
    assert torch.equal(found["weights"]["a"], STATE["weights"]["a"])
    assert found["weights"]["flags"].dtype == torch.bool
    assert found["array"].dtype == np.int32
    assert found["array"].tolist() == [4, 3, 2, 1, 0]
    assert found["scalar"] == 0.1
    assert isinstance(found["scalar"], np.float64)
    assert found["rng"] == STATE["rng"]
    assert found["plain"] == STATE["plain"]


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
TREES = st.recursive(
    PLAIN, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=3), t, max_size=3), max_leaves=8
)


@settings(deadline=None)
@given(tree=TREES)
def test_packing_is_undone_by_unpacking(tree: Any) -> None:
    assert unpack(pack(tree)) == tree


def test_loading_runs_no_code(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "harmed"),))

    checkpoints = Checkpoints(tmp_path / "c")
    path = checkpoints.save({"x": 1}, 1, 0)
    torch.save({"x": Harm()}, path / "state.pt")

    def forge() -> None:
        content = (path / "state.pt").read_bytes()
        told = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        write_manifest(path, read_manifest(path) | told)

    forge()
    with pytest.raises(CheckpointCorrupt, match="cannot be read"):
        checkpoints.load(path)
    assert not (tmp_path / "harmed").exists()
    (path / "state.pt").write_bytes(pickle.dumps(Harm(), protocol=2))
    forge()
    with pytest.raises(CheckpointCorrupt):
        checkpoints.load(path)
    assert not (tmp_path / "harmed").exists()


def test_the_last_k_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 20, 300):
        checkpoints.save({"step": step}, step, 0)
    assert names(tmp_path) == ["step-0000000020-000000000", "step-0000000300-000000000"]
    assert checkpoints.newest(lambda s: s["step"], print) == 300


def test_a_checkpoint_of_a_time_given_up_goes_with_the_next_save(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 9):
        checkpoints.save({"step": step}, step, 0)
    checkpoints.save({"step": 5}, 5, 0)
    assert names(tmp_path) == ["step-0000000001-000000000", "step-0000000005-000000000"]


def test_the_same_step_saved_again_replaces_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    for value in (1, 2):
        checkpoints.save({"value": value}, 7, 3)
    assert names(tmp_path) == ["step-0000000007-000000003"]
    assert checkpoints.newest(lambda s: s["value"], print) == 2


DAMAGE = [
    "state missing",
    "state empty",
    "state short",
    "state flipped",
    "manifest missing",
    "manifest torn",
    "both empty",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_one_line(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1}, 1, 0)
    path = checkpoints.save({"step": 2}, 2, 0)
    state, manifest = path / "state.pt", path / "manifest.json"
    content = bytearray(state.read_bytes())
    if damage == "state missing":
        state.unlink()
    elif damage == "state short":
        state.write_bytes(content[:-1])
    elif damage == "state flipped":
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    elif damage == "manifest missing":
        manifest.unlink()
    elif damage == "manifest torn":
        manifest.write_text(manifest.read_text()[:20])
    if damage in ("state empty", "both empty"):
        state.write_bytes(b"")
    if damage == "both empty":
        manifest.write_bytes(b"")
    notes: list[str] = []
    assert checkpoints.newest(lambda s: s["step"], notes.append) == 1
    assert len(notes) == 1
    assert notes[0].startswith("step-0000000002-000000000 is not usable (")
    assert "\n" not in notes[0]


def test_damage_found_while_using_a_checkpoint_counts_as_well(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save({"step": step}, step, 0)

    def use(state: dict[str, Any]) -> int:
        if state["step"] == 2:
            raise CheckpointCorrupt("ticks-0.npz is missing")
        return int(state["step"])

    notes: list[str] = []
    assert checkpoints.newest(use, notes.append) == 1
    assert "ticks-0.npz is missing" in notes[0]


def test_no_checkpoint_is_none_and_no_whole_one_is_an_error(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    assert checkpoints.newest(lambda s: s, print) is None
    with pytest.raises(FileNotFoundError):  # a run folder that was removed does not come back
        checkpoints.save({"step": 1}, 1, 0)
    (tmp_path / "run").mkdir()
    path = checkpoints.save({"step": 1}, 1, 0)
    (path / "state.pt").unlink()
    with pytest.raises(UserError, match="is whole; remove .*run to start again"):
        checkpoints.newest(lambda s: s, lambda note: None)


def test_a_save_killed_anywhere_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill (by an exception nothing catches cleanly) before each rename in turn; what is found after is whole."""

    class Killed(BaseException):
        pass

    replace, rmtree = os.replace, shutil.rmtree
    for kill_at in range(1, 6):
        folder = tmp_path / str(kill_at)
        checkpoints = Checkpoints(folder, keep=1)
        checkpoints.save({"value": "old"}, 7, 3)
        calls = 0

        def killing(*args: Any, kill_at: int = kill_at) -> None:
            nonlocal calls
            calls += 1
            if calls == kill_at:
                raise Killed
            replace(*args)

        monkeypatch.setattr(os, "replace", killing)
        monkeypatch.setattr(shutil, "rmtree", lambda *a, **k: None)  # a killed process tidies nothing
        completed = True
        try:
            checkpoints.save({"value": "new"}, 7, 3)
        except Killed:
            completed = False
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        again = Checkpoints(folder, keep=1)
        again.tidy()
        assert again.newest(lambda s: s["value"], print) == ("new" if completed else "old")
        again.save({"value": "last"}, 8, 3)
        assert names(folder) == ["step-0000000008-000000003"]
    assert completed  # the last round had no rename left to kill


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import waker.storage.checkpoint as module

    class Full:
        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 1000

        def write(self, data: Any) -> int:
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self.file.write(data))

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1}, 1, 0)
    recorder = module._Recorder
    monkeypatch.setattr(module, "_Recorder", lambda file: recorder(Full(file)))  # type: ignore[arg-type]
    with (
        pytest.raises(SaveFailed, match="cannot save the run: no space left; try again"),
        saving("the run", "; try again"),
    ):
        checkpoints.save({"step": torch.zeros(9999)}, 2, 0)
    assert names(tmp_path) == ["step-0000000001-000000000"]
    assert checkpoints.newest(lambda s: s["step"], print) == 1


def test_an_atomic_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic(path) as file:
        file.write(b"first")
        assert not path.exists()
    with pytest.raises(TypeError), atomic(path) as file:
        file.writelines([b"second", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["file"]
