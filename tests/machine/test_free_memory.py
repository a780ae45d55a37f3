"""Free memory is the least of what machine, control group and process have left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from waker.machine.free_memory import free_memory

V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
V1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file")


def system(tmp_path: Path, available: int, group: tuple[str, ...] = (), limit: str = "", used: int = 0) -> list[Path]:
    """Folders that look like ``/proc`` and ``/sys/fs/cgroup``."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (groups / "memory").mkdir(parents=True)
    proc.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available // 1024} kB\n")
    if group:
        (groups / group[0]).write_text(f"{limit}\n")
        (groups / group[1]).write_text(f"{used}\n")
        (groups / group[2]).write_text(f"anon 5\n{group[3]} 1000\n")
    return [proc, groups]


def test_of_the_machine_alone(tmp_path: Path) -> None:
    assert free_memory(*system(tmp_path, 8192)) == 8192


@pytest.mark.parametrize("group", [V1, V2])
def test_a_container_may_have_less(tmp_path: Path, group: tuple[str, ...]) -> None:
    # 6,000 less the 4,000 in use, of which 1,000 are files that the kernel drops when asked.
    assert free_memory(*system(tmp_path, 8192, group, "6000", 4000)) == 3000


def test_a_container_without_a_limit(tmp_path: Path) -> None:
    assert free_memory(*system(tmp_path, 8192, V2, "max", 4000)) == 8192


def test_where_nothing_is_told(tmp_path: Path) -> None:
    assert free_memory(tmp_path, tmp_path) is None


def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import resource; from waker.machine.free_memory import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); print(free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1 << 30
