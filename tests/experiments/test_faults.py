"""The search for faults: its judgement, its damage, and a slice of each part in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.faults import __main__ as search
from experiments.faults import command_lines, damaged_runs, finished, killed_runs, misbehaving, warm
from experiments.faults.__main__ import without_places
from experiments.faults.damage import files_by_kind, flip_bit, kind_of, truncate
from experiments.faults.damaged_runs import tells_of
from experiments.faults.finished import RUN
from experiments.faults.options import every_option, hostile
from experiments.faults.outcome import outcome
from experiments.faults.rows import Rows, command_line, summary
from experiments.faults.verdict import told, verdict
from experiments.faults.warm import Ended
from waker.config.saved import plain
from waker.config.schema import Config

ROOT = Path(__file__).resolve().parents[2]
TRACE = 'Traceback (most recent call last)\n  File "/a/waker/cli.py", line 3\nValueError: no\n'


def ended(
    code: int | None, out: str = "", err: str = "", argv: tuple[str, ...] = ("train", "--preset", "tiny"), **more: bool
) -> Ended:
    return Ended(argv, code, out, err, 1.0, **more)


@pytest.mark.parametrize(
    ("end", "right"),
    [
        (ended(0, "Finished: runs/a\n"), "done"),
        (ended(0, "evaluating\n"), "exit 0 without a word"),
        (ended(0, "usage: waker train\n", argv=("train", "--help")), "done"),
        (ended(0, "training\n", argv=("train", "--help")), "exit 0 without a word"),
        (ended(0), "exit 0 without a word"),
        (ended(2, err="waker: unknown preset\n"), "refused"),
        (ended(2, err="something else\n"), "failed without a line"),
        (ended(1, err=TRACE), "traceback"),
        (ended(0, "Finished: runs/a\n", TRACE), "traceback"),
        (ended(None), "hang"),
        (ended(-signal.SIGSEGV), "killed by SIGSEGV"),
        (ended(-signal.SIGTERM), "killed by SIGTERM"),
        (ended(-signal.SIGTERM, asked=True), "stopped"),
        (ended(143, asked=True), "stopped"),
        (ended(143, err="waker: SIGTERM: saving\nwaker: stopped\n", asked=True), "stopped"),
        (ended(143, err="waker: SIGTERM: saving\nwaker: waiting for step 10\nwaker: stopped\n", asked=True), "stopped"),
        (ended(2, err="waker: it failed\n", asked=True), "refused"),
        (ended(0, "Finished: runs/a\n", left=True), "processes left"),
    ],
)
def test_verdicts(end: Ended, right: str) -> None:
    assert verdict(end) == right


def test_what_is_told_of_a_traceback_is_its_last_line_and_where() -> None:
    assert told(ended(1, err=TRACE)) == 'ValueError: no [File "/a/waker/cli.py", line 3]'
    assert told(ended(2, "x\n", "waker: no such thing\n")) == "waker: no such thing"


def test_a_flip_changes_one_bit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    before = bytes(range(256)) * 4
    for seed in range(20):
        file.write_bytes(before)
        flip_bit(file, np.random.default_rng(seed))
        after = file.read_bytes()
        assert sum((a ^ b).bit_count() for a, b in zip(before, after, strict=True)) == 1


def test_a_truncation_keeps_a_beginning(tmp_path: Path) -> None:
    file = tmp_path / "file"
    kept = set()
    for seed in range(40):
        file.write_bytes(b"0123456789")
        truncate(file, np.random.default_rng(seed))
        assert b"0123456789".startswith(file.read_bytes())
        kept.add(file.stat().st_size)
    assert 10 not in kept
    assert {0, 9} <= kept


@pytest.mark.parametrize("damage", [flip_bit, truncate])
def test_an_empty_file_cannot_be_damaged(damage: object, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="is empty"):
        damage(tmp_path / "empty", np.random.default_rng(0))  # type: ignore[operator]


def test_kinds_of_files_of_a_run(finished: Path) -> None:
    run = next(finished.rglob("config.yaml")).parent
    kinds = files_by_kind(run)
    assert {"config.yaml", "metrics.jsonl", "checkpoints/*/state.pt", "replay/*", "evaluation.parquet/*"} <= set(kinds)
    assert len(kinds["checkpoints/*/state.pt"]) == 2
    assert kind_of(Path("adapted/green/checkpoints/step-3/state.pt")) == "adapted/*/checkpoints/*/state.pt"


def test_every_setting_is_an_option_that_is_tried() -> None:
    def leaves(section: dict[str, object], prefix: str = "") -> list[str]:
        found = []
        for key, value in section.items():
            nested = leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]
            found += nested
        return found

    tried = {option.flag.removeprefix("--").replace("-", "_") for option in every_option() if option.verb == "train"}
    assert {name.replace("-", "_") for name in leaves(plain(Config()))} <= tried


def test_no_hostile_value_is_an_absolute_path() -> None:
    rng = np.random.default_rng(0)
    for option in every_option():
        for _ in range(20):
            words = hostile(option, rng)
            assert not any(word.startswith("/") or "=/" in word for word in words), words


def test_cases_are_fixed_by_their_numbers() -> None:
    assert command_lines.words_of(17, 3) == command_lines.words_of(17, 3)
    assert len({command_line(command_lines.words_of(case, 0)[1]) for case in range(60)}) > 55
    assert len(misbehaving.BEHAVIOURS) >= 40
    assert len(set(misbehaving.BEHAVIOURS)) == len(misbehaving.BEHAVIOURS)


def test_rows_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    file = tmp_path / "fuzz.csv"
    rows = Rows(file, "abc", 0)
    row = {"kind": "k", "command": "waker a|b", "verdict": "hang", "fault": 1, "told": "", "seconds": 1.5}
    rows.add({"case": 0, **row})
    rows.add({"case": 4, **row, "fault": 0, "verdict": "done"})
    with file.open("a") as torn:
        torn.write("abc,0,5,half of a ro")
    again = Rows(file, "abc", 0)
    assert again.cases == {0, 4}
    again.add({"case": 5, **row})
    assert Rows(file, "abc", 0).cases == {0, 4, 5}
    assert Rows(file, "another", 0).cases == set()
    page = summary({"fuzz": again})
    assert "| fuzz | abc | 3 | 2 | hang 2, done 1 |" in page
    assert Rows.newest(file).cases == {0, 4, 5}
    assert not Rows.newest(tmp_path / "none.csv").rows
    assert r"waker a\|b" in page


def test_rows_name_no_folder_of_this_machine() -> None:
    told = f"/tmp/f/work/fuzz-12/up/here/runs/a/config.yaml is not /tmp/f/base/b.py [File {ROOT}/waker/cli.py]"
    assert without_places(told, Path("/tmp/f")) == "runs/a/config.yaml is not b.py [File waker/cli.py]"


# Each part on command lines that only pretend ----------------------------------------------------------------------

End = Callable[[Path], tuple[int | None, str, str]]
"""What a command line does in a folder: exit code, output, errors."""


@pytest.fixture
def base(finished: Path, tmp_path: Path) -> Path:
    """The folder that cases begin with: a finished run and a file of tasks."""
    folder = tmp_path / "base"
    shutil.copytree(finished, folder / "finished" / "runs")
    (folder / "finished" / "tasks.py").touch()
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, end: End) -> list[tuple[str, ...]]:
    """Every command line ends as ``end`` says, in this process; those that were called."""
    called: list[tuple[str, ...]] = []

    def run(argv: Sequence[str], cwd: Path, limit: float = 0.0, *rest: Any, **more: Any) -> Ended:
        called.append(tuple(argv))
        return Ended(tuple(argv), *end(cwd), 1.0)

    monkeypatch.setattr(warm, "run", run)
    monkeypatch.setattr(warm, "call", lambda function, *args: function(*args))
    return called


@pytest.mark.parametrize(
    ("end", "found", "fault"),
    [
        ((2, "", "waker: there is no such thing\n"), "refused", 0),
        ((0, "", ""), "exit 0 without a word", 1),
        ((1, "", TRACE), "traceback", 1),
        ((None, "", ""), "hang", 1),
    ],
)
def test_a_command_line_is_judged_by_its_end(
    end: tuple[int | None, str, str],
    found: str,
    fault: int,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = pretend(monkeypatch, lambda cwd: end)
    row = command_lines.run_case(0, 0, base, tmp_path / "work")
    assert (row["verdict"], row["fault"]) == (found, fault)
    assert [list(argv) for argv in called] == [command_lines.words_of(0, 0)[1]]
    assert not list((tmp_path / "work").iterdir())


def comparison(cwd: Path) -> tuple[int, str, str]:
    """A file of numbers that depends on the run's bytes."""
    files = sorted(path for path in (cwd / RUN).rglob("*") if path.is_file())
    (cwd / "numbers.csv").write_text(repr([path.read_bytes()[-64:] for path in files if path.suffix == ".yaml"]))
    return 0, "Numbers: numbers.csv\n", ""


@pytest.mark.parametrize(
    ("said", "changed", "found", "fault"),
    [
        ("", False, "the same", 0),
        ("manifest.json is damaged\n", True, "told", 0),
        ("", True, "silent difference", 1),
    ],
)
def test_a_verb_on_a_damaged_run_is_compared_with_the_undamaged(
    said: str, changed: bool, found: str, fault: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(damaged_runs.VERBS, "resume", damaged_runs.VERBS["compare"])  # the first in turn
    monkeypatch.setattr(finished, "make_stopped", lambda folder: folder.mkdir())
    pretend(monkeypatch, comparison)
    damaged_runs.make_baselines(base, ["resume"])

    def end(cwd: Path) -> tuple[int, str, str]:
        code, out, _ = comparison(cwd)
        if changed:
            (cwd / "numbers.csv").write_text("other numbers")
        return code, out, said

    pretend(monkeypatch, end)
    monkeypatch.setattr(damaged_runs, "flip_bit", lambda path, rng: "flipped nothing")
    row = damaged_runs.run_case(0, 0, base, tmp_path / "work")
    assert (row["verdict"], row["fault"]) == (found, fault)
    assert row["kind"] == "resume: bit flip of checkpoints/*/manifest.json"


class Mortal:
    """A command under way that ends when it is let be, or killed."""

    def __init__(self, argv: Sequence[str], cwd: Path) -> None:
        self.argv, self.killed = tuple(argv), False

    def wait(self, seconds: float) -> bool:
        return self.killed

    def send(self, number: int) -> None:
        assert number == signal.SIGKILL
        self.killed = True

    def ended(self, grace: float = 0.0) -> Ended:
        return Ended(self.argv, -signal.SIGKILL, "", "", 0.1)


@pytest.mark.parametrize(("loses", "found", "fault"), [(False, "the same", 0), (True, "different", 1)])
def test_a_killed_run_is_compared_with_the_uninterrupted(
    loses: bool, found: str, fault: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {"seconds": [1.0, 1.0, 1.0], "outcome": outcome(base / "finished" / RUN)}
    (base / "whole-online.json").write_text(json.dumps(whole))
    killed: list[Mortal] = []
    said = {"train": "Finished: runs", "adapt": "Trained: near", "evaluate": "runs: 8 episodes"}

    def start(argv: Sequence[str], cwd: Path) -> Mortal:
        command = Mortal(argv, cwd)
        killed.append(command)
        if not (cwd / "runs").exists():
            shutil.copytree(base / "finished" / "runs", cwd / "runs")
            if loses:
                (cwd / RUN / "metrics.jsonl").write_text("")
        return command

    pretend(monkeypatch, lambda cwd: (0, "", ""))
    monkeypatch.setattr(warm, "start", start)
    monkeypatch.setattr(
        warm, "finish", lambda command, limit: Ended(command.argv, 0, f"{said[command.argv[0]]}\n", "", 1.0)
    )
    row = killed_runs.run_case(0, 0, base, tmp_path / "work")
    assert (row["verdict"], row["fault"], row["told"]) == (found, fault, "metrics" * loses)
    assert row["kind"] == "online: 5 kills"
    assert sum(command.killed for command in killed) == 5
    assert list(dict.fromkeys(command.argv for command in killed)) == killed_runs.verbs_of("online")


@pytest.mark.parametrize(
    ("end", "found", "fault"),
    [
        ((2, "", "waker: the environment failed (RuntimeError: boom)\n"), "refused", 0),
        ((0, "Finished: runs\n", ""), "different", 1),
    ],
)
def test_a_misbehaving_environment_must_be_told(
    end: tuple[int, str, str], found: str, fault: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "corridor.json").write_text(json.dumps({"weights": "those of the well-behaved one"}))
    called = pretend(monkeypatch, lambda cwd: end)
    monkeypatch.setattr(misbehaving, "outcome", lambda run: {"weights": "others"})
    row = misbehaving.run_case(8, 0, base, tmp_path / "work")
    assert (row["verdict"], row["fault"]) == (found, fault)
    assert called == [misbehaving.training("raise", "init", 0)]


@pytest.mark.parametrize("fault", [0, 1])
def test_rows_and_a_summary_are_written_and_faults_are_the_exit_code(
    fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_case(case: int, seed: int, base: Path, work: Path) -> dict[str, Any]:
        told = f"{work}/kills-{case}/here/config.yaml"
        return {"kind": "k", "command": "c", "verdict": "hang" if fault and case == 3 else "the same"} | {
            "fault": fault * (case == 3), "told": told, "seconds": 1.0
        }  # fmt: skip

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(search, "PARTS", {"kills": (run_case, 9)})
    monkeypatch.setattr(warm, "warm_up", lambda: None)
    monkeypatch.setattr(search, "prepare", lambda part, cases, base: None)
    monkeypatch.setattr(search.bad_envs, "register", lambda: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(search, "_stop_as_usual", lambda: None)
    arguments = ["--part", "kills", "--case", "kills:0", "kills:3", "--jobs", "1", "--out", str(tmp_path)]
    assert search.main(arguments) == fault
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with (tmp_path / "kills.csv").open(newline="") as file:
        rows = {row["case"]: (row["verdict"], row["told"]) for row in csv.DictReader(file)}
    assert rows == {"0": ("the same", "config.yaml"), "3": ("hang" if fault else "the same", "config.yaml")}
    page = (tmp_path / "README.md").read_text()
    verdicts = "the same 1, hang 1" if fault else "the same 2"
    assert re.search(rf"^\| kills \| \w+(\+changes)? \| 2 \| {fault} \| {verdicts} \|$", page, re.MULTILINE), page
    assert ("FAULT" in capsys.readouterr().out) == bool(fault)
    assert search.main(arguments) == fault  # what was found stays found


# In whole processes -----------------------------------------------------------------------------------------------

SLICES = {
    "fuzz": ["0"],
    "envs": ["8"],
    "damage": ["0"],
    "kills": ["0"],
}
"""Cases of each part, a few seconds of one core; those of sweeps take a minute, and tests/cli/test_sweep.py kills
one."""


@pytest.mark.long(
    "tests/experiments/test_faults.py::test_a_command_line_is_judged_by_its_end",
    "tests/experiments/test_faults.py::test_a_verb_on_a_damaged_run_is_compared_with_the_undamaged",
    "tests/experiments/test_faults.py::test_a_killed_run_is_compared_with_the_uninterrupted",
    "tests/experiments/test_faults.py::test_a_misbehaving_environment_must_be_told",
    "tests/experiments/test_faults.py::test_rows_and_a_summary_are_written_and_faults_are_the_exit_code",
    "tests/storage/test_damage.py::test_damage_is_told_or_changes_nothing",
    "tests/cli/test_third_party.py::test_a_killed_run_ends_as_the_undisturbed_one",
)
def test_a_slice_of_the_parts_finds_no_fault(tmp_path: Path) -> None:
    """In one process of its own: children of this one would inherit its threads."""
    cases = [f"{part}:{case}" for part, numbers in SLICES.items() for case in numbers]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "envs")])}
    done = subprocess.run(
        [sys.executable, "-m", "experiments.faults", "--case", *cases, "--jobs", "1", "--out", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part, numbers in SLICES.items():
        with (tmp_path / f"{part}.csv").open(newline="") as file:
            found = {row["case"]: row["verdict"] for row in csv.DictReader(file)}
        assert list(found) == numbers
        assert set(found.values()) <= {"done", "refused", "stopped", "the same", "told"}
    page = (tmp_path / "README.md").read_text()
    assert re.search(r"^\| kills \| \w+(\+changes)? \| 1 \| 0 \| the same 1 \|$", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "file", "tells"),
    [
        ("going on without ticks 0 to 4: ticks-0-4.npz is damaged (it has 3 bytes)", "replay/ticks-0-4.npz", True),
        ("step-12-3 is not usable (…); trying the one before", "checkpoints/step-12-3/state.pt", True),
        ("metrics.jsonl is damaged (line 3)", "metrics.sums", True),
        ("rows of evaluation.parquet are lost", "evaluation.parquet/part-0-5.parquet", True),
        ("task 'corner' is left out", "evaluation.parquet/part-0-5.parquet", False),
        ("going on with config.yaml", "config.yaml", False),
        ("theta_space.json is damaged", "config.yaml", False),
    ],
)
def test_damage_is_told_only_by_a_line_that_names_the_file(line: str, file: str, tells: bool) -> None:
    assert tells_of(line, Path(file)) is tells
