"""Two samplers side by side, and how they stop; the table and the page: :mod:`tests.cli.test_followers`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.helpers.tiny import TINY, waker
from waker.cli.processes import side_by_side

PYTHON = sys.executable


def test_a_failing_run_fails_the_whole(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import waker_envs.testing\n")
    chosen = ["--env", "waker/test-Failing-v0", "--env-kwargs", "failure=raise", "at_step=30"]
    # The environment registers itself in every process through sitecustomize, as a plug-in would.
    done = waker("quickstart", *TINY, *chosen, cwd=tmp_path, environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert "failed at step 10 of an episode" in done.stdout
    assert "waker: waker-m ended with exit code 2" in done.stderr


def test_ctrl_c_stops_and_saves_every_run(tmp_path: Path) -> None:
    argv = [PYTHON, "-m", "waker", "quickstart", *TINY, "--train.steps", "1000000", "--runs", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        deadline = time.monotonic() + 240
        saved: list[Path] = []
        while len({path.parents[3] for path in saved}) < 2 and time.monotonic() < deadline:
            saved = list(tmp_path.glob("gridhazards/*/*/seed-0/checkpoints/step-*"))
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGINT
    assert out.count("stopped and saved at step") == 2


def test_side_by_side_returns_every_code_and_line() -> None:
    with open(os.devnull, "w") as sink:
        codes = side_by_side(
            {"good": [PYTHON, "-c", "print('fine')"], "bad": [PYTHON, "-c", "import sys; sys.exit(3)"]},
            Console(file=sink),
        )
    assert codes == {"good": 0, "bad": 3}


def test_side_by_side_gives_each_command_one_thread(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open(log, "w") as file:
        side_by_side(
            {"a": [PYTHON, "-c", "import os; print('threads', os.environ['OMP_NUM_THREADS'])"]},
            Console(file=file, width=200),
        )
    assert log.read_text() == "a | threads 1\n"
