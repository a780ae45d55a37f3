"""Processes that end with the one that started them, and the trainings of a quickstart that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collection.test_worker_pool import alive
from tests.helpers.tiny import TINY, waker

FOLLOWER = """
import os, sys, time
if sys.argv[1] == "look":  # a system that does not tell of a parent's end
    import ctypes
    ctypes.CDLL = lambda name: object()
from waker.terminal.startup import follow
follow()
print(os.getpid(), os.environ.get("WAKER_FOLLOWS"), flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
environment = {**os.environ, "WAKER_FOLLOWS": str(os.getpid())}
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=environment)
time.sleep(600)
"""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("way", ["told", "look"])
def test_a_follower_ends_with_its_parent(way: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, FOLLOWER, way], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, left = parent.stdout.readline().split()
    assert left == "None"  # its own children follow nobody
    assert alive(int(pid))
    parent.kill()
    parent.wait()
    gone = until(lambda: not alive(int(pid)))
    if not gone:
        os.kill(int(pid), signal.SIGKILL)
    assert gone


def test_a_follower_whose_parent_is_no_more_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWER, "told"],
        env={**os.environ, "WAKER_FOLLOWS": "1"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.long(
    "tests/cli/test_followers.py::test_a_follower_ends_with_its_parent",
    "tests/cli/test_quickstart.py::test_side_by_side_s_commands_follow_this_process",
    "tests/cli/test_quickstart.py::test_what_was_finished_before_is_kept_and_all_end_in_a_table_and_a_page",
    "tests/cli/test_quickstart.py::test_side_by_side_hands_a_signal_to_every_command",
    "tests/cli/test_third_party.py::test_a_killed_run_ends_as_the_undisturbed_one",
)
def test_a_killed_quickstart_takes_its_trainings_along_and_the_same_command_goes_on_to_a_table_and_a_page(
    tmp_path: Path,
) -> None:
    options = ["quickstart", *TINY, "--steps", "800", "--train.save-every", "100", "--runs", "runs"]
    command = [sys.executable, "-m", "waker", *options]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: len({p.parents[3] for p in tmp_path.glob("runs/*/*/*/*/checkpoints/step-*")}) == 2, 240)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) == 2
    process.kill()
    process.wait()
    assert until(lambda: not any(map(alive, children)))
    done = waker(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "another process" not in done.stdout
    assert done.stdout.count("going on from step") == 2
    for wanted in ("mean return", "CVaR 0.1", "worst-θ regret", "worst-θ model error", "data on hard θ"):
        assert wanted in done.stdout
    made = tmp_path / "runs/gridhazards"
    assert (made / "report.html").stat().st_size > 10_000
    assert (made / "comparison.csv").is_file()
    assert (made / "dr/plan2explore/seed-0/evaluation.parquet").exists()
