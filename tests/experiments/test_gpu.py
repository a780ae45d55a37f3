"""``make gpu``: its checks on a CUDA device, and the whole script on a processor in the smallest sizes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.gpu import __main__ as script
from experiments.gpu import checks, table, whole, worker
from experiments.gpu.pool import Pool, descendants
from experiments.gpu.tasks import CHECKS, Task
from waker.cli.settings import parse_settings

ROOT = Path(__file__).parents[2]


@pytest.mark.cuda
@pytest.mark.parametrize("name", CHECKS)
def test_a_check_holds_on_cuda(name: str) -> None:
    rows = list(checks.check("cuda", name, (), (), True)())
    assert rows
    assert [row for row in rows if row["holds"] is False] == []


PARTS = {"card", "checks", "work", "speed", "run", "loop", "render"}
TRAINS = """
import json, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
folder = pathlib.Path(sys.argv[1], "domain")
folder.mkdir(parents=True)
row = {"step": 30, "updates": 2, "time/updates_per_second": 1.5, "model_loss": 3.0, "reward_loss/green": 0.5, "kl": 1.0}
(folder / "metrics.jsonl").write_text(json.dumps(row) + "\\n")
time.sleep(60)
"""


def pretended(place: str, way: str, folder: Path, quick: bool) -> subprocess.Popen[bytes]:
    """In the place of a training: it logs a row, and waits to be stopped."""
    return subprocess.Popen([sys.executable, "-c", TRAINS, str(folder)])


class InTurns:
    """The script's pool, with its tasks in this process, one after the other."""

    def __init__(
        self, device: str, quick: bool, folder: Path, log: Path, found: Callable[[Any], None], *limits: float
    ) -> None:
        self.device, self.quick, self.folder, self.found = device, quick, folder, found

    def run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            folder = self.folder / task.label
            folder.mkdir()
            (folder / "go").touch()
            asked = {"task": asdict(task), "device": self.device, "folder": str(folder), "quick": self.quick}
            assert worker.main(json.dumps(asked)) == 0, (folder / "rows.jsonl").read_text()
            assert (folder / "ready").exists() == task.waits
            for line in (folder / "rows.jsonl").read_text().splitlines():
                self.found(json.loads(line))


def test_every_task_of_the_smallest_sizes_gives_its_rows_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one step of the published code, and trainings that only pretend."""
    (tmp_path / "reference").mkdir()
    shutil.copy(checks.REFERENCES / "step_discrete.npz", tmp_path / "reference")
    monkeypatch.setattr(checks, "REFERENCES", tmp_path / "reference")
    monkeypatch.setattr(whole, "_started", pretended)
    monkeypatch.setattr(script, "Pool", InTurns)
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--quick", "--out", str(tmp_path)])
    assert script.main() == 0
    rows = [json.loads(line) for line in (tmp_path / "quick" / "rows.jsonl").read_text().splitlines()]
    assert {row["part"] for row in rows} == PARTS
    judged = [row for row in rows if row["part"] == "checks"]
    assert all(row["holds"] for row in judged) and len(judged) >= 8
    page = (tmp_path / "quick" / "table.md").read_text()
    assert page in capsys.readouterr().out
    assert "| reference" not in page and "| all: step_discrete" in page
    assert page.count("| tiny |") == 1
    assert (tmp_path / "quick" / "losses.csv").read_text().startswith("device,step,updates,")
    assert json.loads((tmp_path / "quick" / "machine.json").read_text())["torch"] == torch.__version__


def test_a_run_of_the_device_stands_beside_the_processor_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_started", pretended)
    run, losses = list(whole.run("cpu", "both", (), (), True)())
    assert (run["what"], run["steps"], run["updates"], run["exit_code"]) == ("run", 30, 2, 143)
    assert run["time/updates_per_second"] == 1.5
    assert losses == {
        "what": "losses", "device": "cpu", "step": 30, "updates": 2, "model_loss": 3.0, "reward_loss/green": 0.5
    }  # fmt: skip


def test_a_training_of_the_script_is_a_command_that_goes_on_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(whole.subprocess, "Popen", lambda command, **rest: begun.append(command))
    whole._started("cpu", "off", tmp_path, quick=True)
    assert begun[0][:4] == [sys.executable, "-m", "waker", "train"]
    args = parse_settings(begun[0][4:], "train")
    assert (args.runs, args.config.device, args.config.train.compile) == (tmp_path, "cpu", "off")
    assert args.config.train.steps == 1_000_000


@pytest.fixture
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the script in the smallest sizes."""
    out = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-m", "experiments.gpu", "--device", "cpu", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "quick"


@pytest.mark.long(
    "tests/experiments/test_gpu.py::test_every_task_of_the_smallest_sizes_gives_its_rows_in_this_process",
    "tests/experiments/test_gpu.py::test_a_run_of_the_device_stands_beside_the_processor_s",
    "tests/experiments/test_gpu.py::test_tasks_that_fail_or_are_not_reached_are_rows",
)
def test_the_script_finds_out_all_of_it_in_the_smallest_sizes(quick: Path) -> None:
    rows = [json.loads(line) for line in (quick / "rows.jsonl").read_text().splitlines()]
    assert {row["part"] for row in rows} == PARTS
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
