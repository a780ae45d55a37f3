"""Freed memory stays with the process, or goes back to the system: seen in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from waker.machine.host_memory import SWITCH, keep_freed_memory

PROGRAM = """
import numpy as np
from waker.machine.host_memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

taken = keep_freed_memory()
block = np.ones(128 << 20, np.uint8)
held = resident()
del block
print(taken, (held - resident()) >> 20)
"""


def given_back(switch: str) -> tuple[bool, int]:
    """Whether the settings were taken, and MiB given back to the system of 128 that were freed."""
    environment = {**os.environ, SWITCH: switch}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    taken, mebibytes = done.stdout.split()
    return taken == "True", int(mebibytes)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
def test_freed_memory_is_kept() -> None:
    taken, mebibytes = given_back("1")
    assert taken
    assert mebibytes < 8


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
def test_the_switch_leaves_the_library_as_it_is() -> None:
    taken, mebibytes = given_back("0")
    assert not taken
    assert mebibytes > 120


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert not keep_freed_memory()
