"""How tests call the command, and the settings of the smallest run that does everything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from waker.cli import main

RUN = Path("gridhazards/waker-m/plan2explore/seed-0")
"""Where that run lies below its folder of runs."""
TINY = ["--preset", "tiny"]


def waker(
    *args: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m waker`` in a process of its own; its result, whatever the exit code."""
    return subprocess.run(
        [sys.executable, "-m", "waker", *map(str, args)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; its one line."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("waker: ")
    return error
