"""Starting the same run twice: nothing is written before the folder is held, and no two writers share a name."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.helpers import dummies
from tests.helpers.tiny import RUN, TINY, waker
from waker.errors import UserError
from waker.storage.files import atomic, clear_unfinished
from waker.storage.run_folder import RunFolder

HOLDS = """
import sys
from pathlib import Path
from waker.config.schema import Config
from waker.storage.run_folder import RunFolder
with RunFolder(Path(sys.argv[1]), Config()).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_who_finds_the_folder_held_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / RUN
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        done = waker("train", *TINY, "--runs", "runs", cwd=tmp_path)
    finally:
        holder.communicate()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"waker: another process is working in {folder}"
    assert [p.name for p in folder.iterdir()] == [".lock"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """As two processes would: the second begins and ends while the first is writing."""
    path = tmp_path / "settings"
    with atomic(path) as first:
        first.write(b"first")
        other = threading.Thread(target=lambda: _write(path, b"second"))
        other.start()
        other.join()
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def _write(path: Path, text: bytes) -> None:
    with atomic(path) as file:
        file.write(text)


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from waker.storage.files import atomic\n"
        "with atomic(Path(sys.argv[1])): "
    )
    for act in ("os._exit(0)", "os.kill(os.getpid(), 9)"):
        subprocess.run([sys.executable, "-c", code + act, str(tmp_path / "settings")], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic(tmp_path / "mine"):
        clear_unfinished(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    config = dummies.config()
    (tmp_path / ".lock").symlink_to(".lock")
    with (
        pytest.raises(UserError, match="cannot save the lock of .*symbolic links"),
        RunFolder(tmp_path, config).locked(),
    ):
        pass
