"""Peak memory, and measurements in a process of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.bench.memory import in_fresh_process
from tests.helpers import forked
from waker.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


PEAK = """
import numpy as np
import torch
from experiments.bench.memory import device_peak_bytes, peak_bytes
before = peak_bytes()
size = 2 * before  # more than this process ever held
block = np.ones(size, np.uint8)
peak = peak_bytes()
assert peak > size
del block
assert peak_bytes() > peak - 0.1 * size  # the system counts pages in batches
assert device_peak_bytes(torch.device("cpu")) is None
"""


def test_the_peak_sees_memory_that_was_touched_and_does_not_come_down(tmp_path: Path) -> None:
    """In a process that holds little: one that has run other tests has held gigabytes."""
    done = forked.python(PEAK, tmp_path, {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'envs'}"})
    assert done.returncode == 0, done.stderr


def test_a_failure_in_the_process_is_one_line() -> None:
    with pytest.raises(UserError, match=r"measuring nonsense failed: .*unknown configuration 'nonsense'"):
        in_fresh_process("nonsense", "cpu", 1)
