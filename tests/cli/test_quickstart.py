"""Two samplers side by side, how they stop, and the table and the page in the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.helpers.tiny import TINY, waker
from waker.cli import main
from waker.cli.part_options import without_others
from waker.cli.processes import side_by_side
from waker.cli.verbs.quickstart import plan

PYTHON = sys.executable


def test_what_was_finished_before_is_kept_and_all_end_in_a_table_and_a_page(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, one training after the other; the page is without its sections, which take seconds."""
    monkeypatch.setattr("waker.report.page.domain_sections", lambda runs, prefix, compared: [])
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "runs")

    def in_turns(commands: Mapping[str, Sequence[str]], console: Console) -> dict[str, int]:
        assert all(command[:3] == [PYTHON, "-m", "waker"] for command in commands.values())
        return {name: main(command[3:]) for name, command in commands.items()}

    monkeypatch.setattr("waker.cli.processes.side_by_side", in_turns)
    assert main(["quickstart", *TINY, "--train.task-policies", "after"]) == 0
    out, told = capsys.readouterr()
    assert told.count("finished before, at step") == 1
    assert out.count("Finished: ") == 1
    for wanted in ("mean return", "CVaR 0.1", "worst-θ regret", "worst-θ model error", "data on hard θ"):
        assert wanted in out
    made = Path("runs/gridhazards")
    assert "gridhazards: dr against waker-m" in (made / "report.html").read_text()
    assert (made / "comparison.csv").is_file()
    assert (made / "dr/plan2explore/seed-0/evaluation.parquet").exists()


@pytest.mark.parametrize(("ended", "code"), [(2, 2), (128 + signal.SIGINT, 130), (-signal.SIGKILL, 137)])
def test_a_run_that_fails_or_is_stopped_fails_the_whole(
    ended: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("waker.cli.processes.side_by_side", lambda commands, console: {"dr": 0, "waker-m": ended})
    assert main(["quickstart", *TINY, "--runs", str(tmp_path / "runs")]) == code
    told = f"waker: waker-m ended with exit code {ended}; the same command goes on from there\n"
    assert capsys.readouterr().err == told
    assert not (tmp_path / "runs").exists()


@pytest.mark.long(
    "tests/cli/test_quickstart.py::test_a_run_that_fails_or_is_stopped_fails_the_whole",
    "tests/cli/test_quickstart.py::test_side_by_side_returns_every_code_and_line",
    "tests/training/test_loop.py::test_a_failing_environment_is_named_and_data_is_kept",
)
def test_a_failing_run_fails_the_whole(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import waker_envs.testing\n")
    chosen = ["--env", "waker/test-Failing-v0", "--env-kwargs", "failure=raise", "at_step=30"]
    # The environment registers itself in every process through sitecustomize, as a plug-in would.
    done = waker("quickstart", *TINY, *chosen, cwd=tmp_path, environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert "failed at step 10 of an episode" in done.stdout
    assert "waker: waker-m ended with exit code 2" in done.stderr


@pytest.mark.long(
    "tests/cli/test_quickstart.py::test_side_by_side_hands_a_signal_to_every_command",
    "tests/cli/test_quickstart.py::test_a_run_that_fails_or_is_stopped_fails_the_whole",
    "tests/training/test_resume.py::test_a_stopped_run_goes_on_bit_for_bit",
)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_side_by_side_hands_a_signal_to_every_command(number: signal.Signals, tmp_path: Path) -> None:
    """Each ends as it wants to, and what it says in its end is shown."""
    waits = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit('saved'))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    log = tmp_path / "log"

    def stop() -> None:
        deadline = time.monotonic() + 60
        while log.read_text().count("| ready") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    with open(log, "w", buffering=1) as file:
        thread = threading.Thread(target=stop)
        thread.start()
        codes = side_by_side({name: [PYTHON, "-c", waits] for name in "ab"}, Console(file=file, width=200))
        thread.join()
    assert codes == dict.fromkeys("ab", 128 + number)
    assert sorted(log.read_text().split("\n")[-3:-1]) == ["a | saved", "b | saved"]


def test_side_by_side_s_commands_follow_this_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open(log, "w") as file:
        side_by_side(
            {"a": [PYTHON, "-c", "import os; print(os.environ['WAKER_FOLLOWS'])"]}, Console(file=file, width=200)
        )
    assert log.read_text() == f"a | {os.getpid()}\n"


def test_side_by_side_gives_each_command_one_thread(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open(log, "w") as file:
        side_by_side(
            {"a": [PYTHON, "-c", "import os; print('threads', os.environ['OMP_NUM_THREADS'])"]},
            Console(file=file, width=200),
        )
    assert log.read_text() == "a | threads 1\n"


def test_a_sampler_s_own_setting_goes_to_it_alone() -> None:
    todo = plan(["--samplers", "plr", "dr", *TINY, "--curriculum.plr.beta", "0.1", "--seed", "4"])
    assert "--curriculum.plr.beta" in todo.trainings["plr"]
    assert "--curriculum.plr.beta" not in todo.trainings["dr"]
    assert todo.trainings["dr"][-4:] == ["--seed", "4", "--curriculum.sampler", "dr"]


@pytest.mark.parametrize("given", [["--curriculum.plr.beta=0.1"], ["--curriculum.plr.beta", "0.1"]])
def test_what_is_left_out_takes_its_value_along(given: list[str]) -> None:
    words = ["--seed", "1", *given, "--steps", "9"]
    assert without_others(words, "curriculum", "dr", ["dr", "plr"]) == ["--seed", "1", "--steps", "9"]
    assert without_others(words, "curriculum", "plr", ["dr", "plr"]) == words
    assert without_others(words, "curriculum", "dr", ["dr", "waker-m"]) == words  # then it is refused, by name
