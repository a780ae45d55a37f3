"""The launchers really launch: processes here, Ray on this machine, and submitit's local executor."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import ray

from waker.cli import main
from waker.errors import UserError
from waker.storage.tables import read_rows
from waker.sweep import launchers
from waker.sweep.launchers import Job, Launcher, Local, Ray, Slurm

SAYS = [sys.executable, "-c", "import os, sys; print('threads', os.environ['OMP_NUM_THREADS']); sys.exit(5)"]
WAITS = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(120)"]

SMALLEST = """
preset: tiny
settings:
  train.steps: 100
  train.adapt_updates: 0
  evaluation.episodes: 1
  evaluation.suite_episodes: 1
  evaluation.model_episodes: 1
domains: [GridHazards]
samplers: [dr]
seeds: 3
"""
"""A study of one run, the smallest."""


def ended(job: Job, patience: float = 120.0) -> int:
    until = time.monotonic() + patience
    while (code := job.code()) is None:
        assert time.monotonic() < until, "the job has not ended"
        time.sleep(0.05)
    return code


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Ray]:
    """One for all tests: it takes seconds to start."""
    yield Ray(1)
    ray.shutdown()


@pytest.fixture(params=["local", "ray", "slurm"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    if request.param == "ray":
        return request.getfixturevalue("on_ray")
    if request.param == "slurm":
        # submitit cancels local jobs by an interrupt, which they ignore if we do, as what a script starts by `&` does.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return Slurm(tmp_path / "queue", minutes=5, cluster="local")
    return Local()


def test_a_command_runs_on_one_thread_its_code_comes_back_and_its_output_is_kept(
    launcher: Launcher, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    assert ended(launcher.start(SAYS, log)) == 5
    assert log.read_text() == "before\nthreads 1\n"


def test_a_command_of_this_machine_follows_who_started_it(tmp_path: Path) -> None:
    says = [sys.executable, "-c", "import os; print(os.environ['WAKER_FOLLOWS'])"]
    assert ended(Local().start(says, tmp_path / "log")) == 0
    assert (tmp_path / "log").read_text() == f"{os.getpid()}\n"


def test_a_command_that_is_stopped_ends_with_another_code_than_zero(launcher: Launcher, tmp_path: Path) -> None:
    job = launcher.start(WAITS, tmp_path / "log")
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        assert job.code() is None
        time.sleep(0.05)
    job.stop(signal.SIGKILL)
    assert ended(job) != 0


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_sweep_on_a_launcher_trains_and_keeps_the_rows(
    name: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "ray":
        request.getfixturevalue("on_ray")
    monkeypatch.setattr("waker.cli.verbs.sweep.Slurm", partial(Slurm, cluster="local"))
    study, runs = tmp_path / "small.yaml", tmp_path / "runs"
    study.write_text(SMALLEST)
    command = ["sweep", str(study), "--runs", str(runs), "--launcher", name, "--jobs", "1", "--minutes", "5"]
    assert main(command) == 0
    cell = "gridhazards/dr/plan2explore/seed-3"
    assert read_rows(runs / "rows" / cell / "evaluation.parquet")["step"].max() >= 100
    assert any((runs / "slurm").glob("*")) == (name == "slurm")  # where submitit keeps what it hands to its jobs
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("1 runs, 1 of them with rows in")


def test_a_package_that_is_missing_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"needs ray: in the clone of waker, pip install -e '\.\[ray\]'"):
        Ray()
    with pytest.raises(UserError, match=r"needs submitit: in the clone of waker, pip install -e '\.\[slurm\]'"):
        Slurm(Path("nowhere"))


def test_the_command_of_a_worker_gives_its_own_code(tmp_path: Path) -> None:
    assert launchers.run_command(SAYS, str(tmp_path / "log")) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])  # the second: a job's time is nearly over
def test_a_signal_from_before_the_command_was_there_is_passed_on(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Local):
        def start(self, command: Sequence[str], log: Path) -> Job:
            signal.raise_signal(number)
            return super().start(command, log)

    monkeypatch.setattr(launchers, "Local", Late)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    try:
        assert launchers.run_command(WAITS, str(tmp_path / "log")) == -signal.SIGTERM
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
