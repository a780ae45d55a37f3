"""``waker sweep``: a study is made, killed, gone on with and collected; its rows are those of single runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from waker.analysis.data import load_runs
from waker.analysis.numbers_file import read_shares
from waker.cli import main
from waker.cli.settings import parse_settings
from waker.cli.verbs.sweep import command as sweep_command
from waker.config.saved import plain
from waker.config.schema import Config
from waker.errors import BLEMISHED, UserError
from waker.storage.run_folder import run_folder
from waker.storage.sealed import write_yaml
from waker.storage.tables import read_rows, write_rows
from waker.sweep.conduct import Outcome
from waker.sweep.rows import kept

STUDY = """
preset: tiny
settings: {train.task-policies: after}
domains: [GridHazards]
samplers: [dr, waker-m]
seeds: 3
"""
CELLS = ("gridhazards/dr/plan2explore/seed-3", "gridhazards/waker-m/plan2explore/seed-3")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    return path


def sweep(study: Path, runs: Path) -> list[str]:
    return [sys.executable, "-m", "waker", "sweep", str(study), "--runs", str(runs), "--jobs", "2"]


def rows_of(runs: Path) -> dict[tuple[str, str], pd.DataFrame]:
    tables = ("evaluation", "model_error", "curriculum", "episodes")
    return {(cell, table): read_rows(runs / "rows" / cell / f"{table}.parquet") for cell in CELLS for table in tables}


class Killed(BaseException):
    """Stands for SIGKILL of the sweep: it does nothing more."""


class Ended:
    """A job that has done its work."""

    def code(self) -> int:
        return 0

    def stop(self, number: int) -> None:
        raise AssertionError("nobody stops it")


class Pretends:
    """In the place of processes: a training leaves its settings and the row that it would always leave.

    Args:
        lives: jobs that this sweep starts before it is killed; -1: it is not.
    """

    def __init__(self, lives: int) -> None:
        self.lives, self.started = lives, list[str]()

    def start(self, command: Sequence[str], log: Path) -> Ended:
        assert command[:4] == [sys.executable, "-m", "waker", "train"]
        args = parse_settings(command[4:], "train")
        run = run_folder(args.runs, args.config)
        self.started.append(str(run.relative_to(args.runs)))
        run.mkdir(parents=True, exist_ok=True)
        if len(self.started) == self.lives:
            (run / "metrics.jsonl").write_text('{"step": 3')  # what a kill leaves
            raise Killed
        write_yaml(run / "config.yaml", {"config": plain(args.config)})
        write_rows(
            run / "evaluation.parquet", [{"task": "green", "return": float(len(args.config.curriculum.sampler))}]
        )
        return Ended()


def test_a_sweep_that_is_killed_twice_goes_on_with_what_is_missing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its trainings are those of ``waker train`` with the study's settings, each made until its rows are kept."""
    monkeypatch.setattr("waker.sweep.conduct._LOOK_EVERY", 0.0)
    command = ["sweep", str(study), "--runs", str(tmp_path), "--jobs", "1"]
    started = []
    for lives in (1, 2, -1):
        launcher = Pretends(lives)
        monkeypatch.setattr("waker.cli.verbs.sweep._launcher", lambda args, runs, one=launcher: one)
        if lives == -1:
            assert main(command) == 0
        else:
            with pytest.raises(Killed):
                sweep_command(command[1:])
        started.append(launcher.started)
    assert started == [[CELLS[0]], [CELLS[0], CELLS[1]], [CELLS[1]]]
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("2 runs, 2 of them with rows in")
    assert not (tmp_path / CELLS[0] / "checkpoints").exists()  # nobody has trained
    for cell, sampler in zip(CELLS, ("dr", "waker-m"), strict=True):
        rows = tmp_path / "rows" / cell
        assert read_rows(rows / "evaluation.parquet")["return"].tolist() == [float(len(sampler))]
        argv = ["--preset", "tiny", "--train.task-policies", "after", "--seed", "3", "--sampler", sampler]
        assert kept(rows, plain(parse_settings(argv, "train").config))


@pytest.mark.long(
    "tests/cli/test_sweep.py::test_a_sweep_that_is_killed_twice_goes_on_with_what_is_missing",
    "tests/sweep/test_launchers.py::test_a_command_of_this_machine_follows_who_started_it",
    "tests/cli/test_followers.py::test_a_follower_ends_with_its_parent",
    "tests/cli/test_sweep.py::test_kept_rows_are_enough",
)
def test_a_sweep_that_is_killed_ends_with_the_rows_of_single_runs(study: Path, tmp_path: Path) -> None:
    runs, alone = tmp_path / "runs", tmp_path / "alone"
    child = subprocess.Popen(sweep(study, runs), stdout=subprocess.DEVNULL, process_group=0)
    while not list(runs.glob("gridhazards/*/*/*/checkpoints")):  # a training is under way
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = subprocess.run(sweep(study, runs), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for sampler in ("dr", "waker-m"):
        argv = ["train", "--preset", "tiny", "--train.task-policies", "after", "--seed", "3", "--sampler", sampler]
        assert main([*argv, "--runs", str(alone)]) == 0
    for (cell, table), frame in rows_of(runs).items():
        pd.testing.assert_frame_equal(frame, read_rows(alone / cell / f"{table}.parquet"))
    again = subprocess.run(sweep(study, runs), capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout.startswith("2 runs, 2 of them with rows in")


@pytest.mark.usefixtures("undrawn")
def test_kept_rows_are_enough(
    study: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are compared and reported, and no run is made again, when the runs themselves are gone."""
    monkeypatch.chdir(tmp_path)
    study.write_text(STUDY.replace("dr, waker-m", "waker-m").replace("seeds: 3", "seeds: 0"))
    assert main(["sweep", str(study), "--keep", "rows", "--jobs", "1"]) == 0
    rows = tmp_path / "runs" / "small" / "rows"
    assert not (tmp_path / "runs" / "small" / "gridhazards" / "waker-m" / "plan2explore" / "seed-0").exists()
    assert main(["compare", str(rows), "--page", str(tmp_path / "study.html")]) == 0
    shares = read_shares(tmp_path / "study-shares.csv")  # also of what training sampled
    assert shares[shares["parameter"] == "theta_size"].groupby("begin")["share"].sum().tolist() == pytest.approx(
        [1.0] * shares["begin"].nunique()
    )
    assert [run.seed for run in load_runs([rows])] == [0]  # what a report is made of
    capsys.readouterr()
    assert main(["sweep", str(study)]) == 0
    assert "1 runs, 1 of them with rows in" in capsys.readouterr().out
    study.write_text(study.read_text().replace("after", "online"))
    assert main(["sweep", str(study)]) == 2
    assert "holds rows of other settings: train.task_policies is 'after' there and 'online' now" in (
        capsys.readouterr().err
    )


def test_a_dry_sweep_lists_the_runs_and_writes_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(study), "--runs", str(tmp_path / "runs"), "--dry"]) == 0
    out = capsys.readouterr().out
    assert "GridHazards · dr · plan2explore · seed 3" in out
    assert "SBATCH" not in out
    assert not (tmp_path / "runs").exists()


def test_a_dry_sweep_on_slurm_shows_what_would_be_submitted(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    runs = tmp_path / "runs"
    queue = ["--partition", "long", "--minutes", "90", "--memory-gb", "16", "--cpus", "3", "--gpus", "1", "--jobs", "7"]
    line = ["sweep", str(study), "--runs", str(runs), "--launcher", "slurm", *queue, "--dry"]
    assert main(line) == 2
    assert "--gpus 1 asks for GPUs, and no run computes on one: add `device: cuda`" in capsys.readouterr().err
    study.write_text(STUDY.replace("settings: {", "settings: {device: cuda, "))
    assert main(line) == 0
    out = capsys.readouterr().out
    lines = ["partition=long", "time=90", "mem=16GB", "cpus-per-task=3", "gpus-per-node=1", "job-name=waker"]
    for line in lines:
        assert f"#SBATCH --{line}\n" in out
    assert "a job each, 7 at a time" in out
    assert "-m waker train --preset tiny" in out and f"--runs {runs}" in out
    assert not runs.exists()


def test_without_slurm_a_sweep_on_it_is_refused_in_a_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))  # no srun on it
    assert main(["sweep", str(study), "--runs", str(tmp_path / "runs"), "--launcher", "slurm"]) == 2
    assert "no Slurm here: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tiny", "tinny"), "GridHazards · dr · plan2explore · seed 3: unknown preset 'tinny'"),
        (("waker-m]", "waker-x]"), "unknown sampler 'waker-x'"),
        (
            ("train.task-policies", "train.tusk-policies"),
            "unknown setting 'train.tusk-policies'; did you mean 'train.task-policies'?",
        ),
        (
            ("{train.task-policies: after}", "{trian: {steps: 400}}"),
            "unknown setting 'trian.steps'; did you mean 'train.steps'",
        ),
        (("[GridHazards]", "[GridHazards, waker/GridHazards-v0]"), "are one run"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_before_anything_starts(
    study: Path, tmp_path: Path, change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(STUDY.replace(*change))
    assert main(["sweep", str(study), "--runs", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("train.task-policies: after", "env-kwargs: {gaols: top}"), "GridHazards · dr · plan2explore · seed 3: "),
        (("[dr, waker-m]", "[dr, bidirectional-lp]"), "reports no info['completion']"),
    ],
)
def test_a_run_that_cannot_be_built_is_refused_by_a_dry_sweep(
    study: Path, tmp_path: Path, change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(STUDY.replace(*change))
    assert main(["sweep", str(study), "--runs", str(tmp_path / "runs"), "--dry"]) == 2
    assert said in capsys.readouterr().err


def test_a_study_whose_runs_learn_nothing_says_so(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(STUDY.replace("{train", "{train.prefill: 160, train"))
    assert main(["sweep", str(study), "--runs", str(tmp_path / "runs"), "--dry"]) == 0
    assert "nothing will be learned in 160 steps" in capsys.readouterr().err


def test_two_sweeps_of_one_folder_do_not_meet(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from waker.cli.verbs.sweep import only_one

    with only_one(tmp_path / "runs"):
        assert main(["sweep", str(study), "--runs", str(tmp_path / "runs")]) == 2
    assert "another sweep is at work" in capsys.readouterr().err


def test_a_study_of_which_something_was_left_out_says_so_with_its_exit_code(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waker.cli.verbs.sweep.Conductor.conduct", lambda self: Outcome(done=["a"], blemished=["a"]))
    assert main(["sweep", str(study), "--runs", str(tmp_path / "runs")]) == BLEMISHED


def test_rows_of_a_shorter_run_are_not_yet_those_of_a_longer_one(tmp_path: Path) -> None:
    config = Config()
    write_yaml(tmp_path / "config.yaml", {"config": plain(config)})
    longer = replace(config, train=replace(config.train, steps=2 * config.train.steps))
    assert kept(tmp_path, plain(config))
    assert not kept(tmp_path, plain(longer))
    with pytest.raises(UserError, match="train.steps may only grow"):
        kept(tmp_path, plain(replace(config, train=replace(config.train, steps=1))))
