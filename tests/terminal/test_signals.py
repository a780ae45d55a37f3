"""Ctrl-C and SIGTERM at any moment of a command: never a traceback, and one is enough."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.tiny import TINY
from waker.storage.tables import read_rows

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
READY = """
import sys, time
wanted = sys.argv.pop(1)
class Tells:
    # Says which module is about to be imported, and waits there for the signal.
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            print("ready", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Tells())
"""
COMMAND = "import runpy; runpy.run_module('waker', run_name='__main__', alter_sys=True)"


def stopped(module: str, number: signal.Signals, *argv: str, cwd: Path) -> tuple[int, str]:
    """Exit code and standard error of a command that is stopped when it begins to import ``module``."""
    process = subprocess.Popen(
        [sys.executable, "-c", READY + COMMAND, module, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process.returncode, error


@pytest.mark.parametrize(
    ("module", "number"),
    # From the first line that this project has a word in to those of the slowest packages.
    [
        ("waker.cli", signal.SIGINT),
        ("waker.errors", signal.SIGTERM),
        ("waker.terminal.notices", signal.SIGINT),
        ("gymnasium", signal.SIGTERM),
        ("waker.cli.verbs.train", signal.SIGINT),
        ("torch", signal.SIGINT),
        ("torch", signal.SIGTERM),
        ("pandas", signal.SIGTERM),
        ("mujoco", signal.SIGINT),
    ],
)
def test_a_signal_during_an_import_is_one_line(module: str, number: signal.Signals, tmp_path: Path) -> None:
    argv = ["train", *TINY, *(["--env", "TerrainWalker"] if module == "mujoco" else [])]
    code, error = stopped(module, number, *argv, cwd=tmp_path)
    assert (code, error) == (CODES[number], "waker: stopped\n")


def test_signals_at_any_time_of_the_start_are_one_line(tmp_path: Path) -> None:
    """From when Python has begun our first module on; before that it is Python's own start that ends."""
    code = (
        "from waker.terminal.startup import guard; guard(); print('ready', flush=True)\n"
        "import sys; sys.argv[0] = 'waker'; from waker.cli import run; run()"
    )
    for n in range(8):
        command = [sys.executable, "-c", code, "envs", "GridHazards"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + 0.1 * n)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        # −SIGINT: all was done, and the interpreter's own end had put the system's handler back.
        assert (process.returncode, error) in ((130, "waker: stopped\n"), (0, ""), (130, ""), (-signal.SIGINT, ""))


SLOW = """
import sys, time
import waker_envs.testing as t
step = t.HardTheta.advance
def advance(self, action):
    time.sleep(0.004)
    return step(self, action)
t.HardTheta.advance = advance
"""


@pytest.mark.long(
    "tests/training/test_adapt.py::test_a_stopped_evaluation_goes_on_with_adapted_policies_too",
    "tests/evaluation/test_pieces.py::test_rows_do_not_depend_on_when_it_was_stopped",
    "tests/terminal/test_signals.py::test_the_first_signal_says_how_to_stop_at_once",
    "tests/cli/test_quickstart.py::test_side_by_side_hands_a_signal_to_every_command",
)
def test_one_signal_stops_an_evaluation_and_the_next_start_goes_on_with_it(tmp_path: Path) -> None:
    """The rows in the end are those of an evaluation that nobody stopped."""
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    options = [*TINY, "--env", "waker/test-Hard-v0"]

    def start(runs: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "waker", "train", *options, "--runs", runs]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )

    whole = start("whole")
    whole.communicate(timeout=240)
    assert whole.returncode == 0
    told, codes = "", []
    for life in range(3):
        process = start("parts")
        assert process.stderr is not None
        for line in iter(process.stderr.readline, ""):
            told += line
            if "evaluating at step" in line and life < 2:
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)
        codes.append(process.wait(60))
    assert codes == [143, 143, 0]
    assert "Traceback" not in told
    assert "the evaluation goes on with" in told
    assert "SIGTERM: saving as soon as what is under way is done; press Ctrl-C again to stop at once" in told
    for table in ("evaluation", "model_error", "episodes"):
        one, other = (
            read_rows(next((tmp_path / runs).glob("*/*/*/seed-0")) / f"{table}.parquet") for runs in ("whole", "parts")
        )
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert not list(tmp_path.glob("parts/*/*/*/seed-0/evaluating"))


HANGS = """
import sys, threading
from waker.terminal.signals import StopSignals
from waker.terminal.startup import guard
guard()
with StopSignals():
    print("ready", flush=True)
    threading.Event().wait(60)
"""


def test_the_first_signal_says_how_to_stop_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    line = process.stderr.readline()
    assert re.fullmatch(r"waker: Ctrl-C: saving as soon as .*; press Ctrl-C again to stop at once\n", line)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0


@pytest.mark.parametrize("number", CODES)
def test_a_signal_that_meets_a_finaliser_is_not_lost(number: signal.Signals) -> None:
    program = """
import os, sys, time
from waker.terminal.startup import guard
guard()
class Dying:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(1)
from waker_envs.foreign import Stop
try:
    Dying()
    time.sleep(30)
except Stop as stop:
    print("stopped by", stop.number)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))], capture_output=True, text=True, timeout=25, check=False
    )
    assert (done.stdout, done.stderr) == (f"stopped by {int(number)}\n", "")


def test_an_exception_of_a_finaliser_is_no_signal_whatever_it_carries() -> None:
    program = """
from waker.terminal.startup import guard
guard()
class Odd(Exception):
    number = 15
class Dying:
    def __del__(self):
        raise Odd
import time, waker_envs.foreign
Dying()
time.sleep(0.3)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "Odd" in done.stderr


def test_signals_belong_to_the_main_thread() -> None:
    from waker.terminal.signals import StopSignals, stop_requested

    found: list[bool] = []

    def elsewhere() -> None:
        with StopSignals() as stop:
            found.append(stop.requested or stop_requested())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [False]
