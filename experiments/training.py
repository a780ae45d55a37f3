"""Runs for the experiments: ``waker train`` in processes of one thread each, several at a time, resumable."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from waker.errors import BLEMISHED
from waker.terminal.children import environment_of_child


def train_all(jobs: dict[str, Sequence[str]], workers: int, logs: Path) -> None:
    """Run ``waker train`` with each job's arguments, ``workers`` at a time; finished runs are skipped by the command.

    Args:
        jobs: name → arguments.
        logs: folder for the jobs' output, one file each.

    Raises:
        RuntimeError: a job ended with an error.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running = list(jobs), {}
    while waiting or running:
        while waiting and len(running) < workers:
            name = waiting.pop(0)
            log = (logs / f"{name}.log").open("w")
            command = [sys.executable, "-m", "waker", "train", *jobs[name]]
            running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment_of_child())
            print(f"started {name}; {len(waiting)} waiting", flush=True)
        time.sleep(1.0)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                if process.returncode not in (0, BLEMISHED):
                    raise RuntimeError(f"{name} ended with exit code {process.returncode}: see {logs / name}.log")
                print(f"finished {name}", flush=True)
