"""``make gpu``: its checks on a CUDA device, and the whole script on a processor in the smallest sizes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from experiments.gpu import checks, table
from experiments.gpu.pool import Pool, descendants
from experiments.gpu.tasks import CHECKS, Task

ROOT = Path(__file__).parents[2]


@pytest.mark.cuda
@pytest.mark.parametrize("name", CHECKS)
def test_a_check_holds_on_cuda(name: str) -> None:
    rows = list(checks.check("cuda", name, (), (), True)())
    assert rows
    assert [row for row in rows if row["holds"] is False] == []


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the script in the smallest sizes."""
    out = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-m", "experiments.gpu", "--device", "cpu", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "quick"


def test_the_script_finds_out_all_of_it_in_the_smallest_sizes(quick: Path) -> None:
    rows = [json.loads(line) for line in (quick / "rows.jsonl").read_text().splitlines()]
    assert {row["part"] for row in rows} == {"card", "checks", "work", "speed", "run", "loop", "render"}
    assert all(row["holds"] for row in rows if row["part"] == "checks")
    assert not any("failed" in row for row in rows)
    page = (quick / "table.md").read_text()
    assert "| reference" not in page and "| all: step_discrete" in page
    assert page.count("| tiny |") == 1
    assert (quick / "losses.csv").read_text().startswith("device,step,updates,")
    assert json.loads((quick / "machine.json").read_text())["torch"] == torch.__version__


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_one_line_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.gpu"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stdout.count("\n") == 1 and "no CUDA device" in done.stdout
    assert done.stderr == ""


def test_tasks_that_fail_or_are_not_reached_are_rows(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    log = tmp_path / "log.txt"
    log.write_text("")
    pool = Pool(
        "cpu", True, tmp_path / "work", log, rows.append, 1, 10.0, time.monotonic() + 300.0
    )  # time enough to prepare
    pool.run([Task("checks", "no such check"), Task("speed", "tiny", waits=True, seconds=0.1)])
    assert [row["name"] for row in rows] == ["no such check", "tiny"]
    assert "KeyError" in str(rows[0]["failed"]) and "no such check" in log.read_text()
    assert rows[1]["failed"] == "took too long"
    about = dict.fromkeys(("device", "torch", "python", "git", "date"), "")
    page = table.page(rows, about)  # type: ignore[arg-type]
    assert "KeyError" in page and "took too long" in page


def test_descendants_are_found_over_generations() -> None:
    sleeps = "import time; time.sleep(30)"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeps!r}])"
    child = subprocess.Popen([sys.executable, "-c", inner])
    try:
        until = time.monotonic() + 20
        while len(descendants(child.pid)) < 1 and time.monotonic() < until:
            time.sleep(0.05)
        (grandchild,) = descendants(child.pid)
        assert grandchild != child.pid
    finally:
        for pid in (*descendants(child.pid), child.pid):
            subprocess.run(["kill", "-9", str(pid)], check=False)
        child.wait()
