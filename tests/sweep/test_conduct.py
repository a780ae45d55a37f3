"""Conducting a study with short commands in the place of trainings: order, failures, forecasts and signals."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from waker.sweep import conduct
from waker.sweep.conduct import Conductor, Outcome, Work
from waker.sweep.launchers import Local

RECORD = "config: {env: waker/GridHazards-v0, seed: 0}\n"
FINISHES = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(parents=True, exist_ok=True)\n"
FINISHES += f"(p / 'config.yaml').write_text({RECORD!r})"
FAILS = "import sys; print('starting'); print('it is broken'); sys.exit(5)"
WAITS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\nprint('up', flush=True)\n"
WAITS += "time.sleep(60)"


def work(folder: Path, name: str, code: str, updates: float = 10.0) -> Work:
    run = folder / name
    return Work(
        name, [sys.executable, "-c", code, str(run)], run, folder / "rows" / name, folder / f"{name}.log", updates
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "_LOOK_EVERY", 0.01)


def test_a_run_that_fails_stops_nobody_and_is_named_with_its_last_line(tmp_path: Path) -> None:
    told: list[str] = []
    todo = [work(tmp_path, "a", FINISHES), work(tmp_path, "b", FAILS), work(tmp_path, "c", FINISHES)]
    outcome = Conductor(todo, Local(), 1, told.append).conduct()
    assert outcome.done == ["a", "c"]
    assert outcome.failed == {"b": "exit code 5: it is broken"}
    assert "b failed (exit code 5: it is broken); the others go on" in told
    assert told[-1] == "2 of 3 runs done, 1 failed · 67% of the training"
    assert not any("0 running" in line or "0 training" in line for line in told)
    assert (tmp_path / "rows" / "a" / "config.yaml").read_text() == RECORD


def test_the_only_run_that_fails_leaves_no_others(tmp_path: Path) -> None:
    told: list[str] = []
    code = "import sys; sys.exit('waker: no such goal')"
    Conductor([work(tmp_path, "a", code)], Local(), 1, told.append).conduct()
    assert told == ["a failed (exit code 1: no such goal)", "0 of 1 runs done, 1 failed · 0% of the training"]


def test_a_run_that_left_something_out_is_done_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    code = FINISHES + "\nprint('no film strip'); sys.exit(3)"
    outcome = Conductor([work(tmp_path, "a", code)], Local(), 1, told.append).conduct()
    assert outcome.done == outcome.blemished == ["a"]
    assert told[0] == "a is done but for something that was left out: no film strip"


def test_a_run_without_rows_to_keep_is_a_failed_one(tmp_path: Path) -> None:
    outcome = Conductor([work(tmp_path, "a", "pass")], Local(), 1, print).conduct()
    assert outcome.done == []
    assert "cannot save rows" in outcome.failed["a"]


def test_no_more_runs_at_a_time_than_asked_for(tmp_path: Path) -> None:
    count = "import os, sys, time, pathlib\nf = pathlib.Path(sys.argv[1]).parent / 'running'; f.mkdir(exist_ok=True)\n"
    count += "me = f / str(os.getpid()); me.touch(); n = len(list(f.iterdir())); time.sleep(0.3); me.unlink()\n"
    count += FINISHES + "\n(p / 'count').write_text(str(n))"
    todo = [work(tmp_path, str(i), count) for i in range(5)]
    assert len(Conductor(todo, Local(), 2, print).conduct().done) == 5
    seen = [int((tmp_path / str(i) / "count").read_text()) for i in range(5)]
    assert max(seen) == 2


def test_the_forecast_counts_the_updates_that_runs_have_made(tmp_path: Path) -> None:
    half = tmp_path / "a"
    half.mkdir()
    rows = [json.dumps({"step": i, "updates": i, "filler": "x" * 90}) for i in range(1, 16)] * 100
    (half / "metrics.jsonl").write_text("\n".join(rows) + "\n" + '{"torn')
    conductor = Conductor([work(tmp_path, "a", FINISHES, 30), work(tmp_path, "b", FINISHES, 10)], Local(), 1, print)
    assert conductor.standing() == "0 of 2 runs done · 38% of the training"


def test_a_run_whose_updates_are_made_is_evaluating_and_not_done(tmp_path: Path) -> None:
    told: list[str] = []
    made = FINISHES + "\n(p / 'metrics.jsonl').write_text('{\"updates\": 10}\\n'); import time; time.sleep(1)"
    todo = [work(tmp_path, "a", made), work(tmp_path, "b", WAITS)]

    def tell(line: str) -> None:
        told.append(line)
        if "1 evaluating" in line and "left" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    Conductor(todo, Local(), 2, tell).conduct(tell_every=0.05)
    evaluating = next(line for line in told if "left" in line)
    assert evaluating.startswith("0 of 2 runs done, 1 training, 1 evaluating · 50% of the training · ")
    assert evaluating.endswith(" of training left")
    assert "left" not in told[-1]  # a study that is stopped goes on when somebody says so


def test_updates_that_are_not_logged_any_more_are_made(tmp_path: Path) -> None:
    one = dataclasses.replace(work(tmp_path, "a", FINISHES, 106), every=10)
    one.run.mkdir()
    for logged, made in ((90, 90), (100, 106)):
        (one.run / "metrics.jsonl").write_text(f'{{"updates": {logged}}}\n')
        assert one.made() == made


def test_the_folder_of_a_run_is_given_up_once_its_rows_are_kept(tmp_path: Path) -> None:
    gone: list[Path] = []
    Conductor([work(tmp_path, "a", FINISHES), work(tmp_path, "b", FAILS)], Local(), 2, print, gone.append).conduct()
    assert gone == [tmp_path / "a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_run_and_starts_no_other(tmp_path: Path, number: int) -> None:
    todo = [work(tmp_path, name, WAITS.replace("SIGTERM", signal.Signals(number).name)) for name in "abc"]

    def interrupt() -> None:
        while not all((tmp_path / f"{n}.log").exists() and b"up" in (tmp_path / f"{n}.log").read_bytes() for n in "ab"):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    outcome = Conductor(todo, Local(), 2, print).conduct()
    assert outcome == Outcome(stopped=number)
    assert not (tmp_path / "c.log").exists()


def test_an_error_of_the_conductor_leaves_no_run_behind(tmp_path: Path) -> None:
    def fail(line: str) -> None:
        raise OSError(line)

    pids = "import os, pathlib, sys; pathlib.Path(sys.argv[1] + '.pid').write_text(str(os.getpid()))\n"
    todo = [work(tmp_path, "a", pids + WAITS), work(tmp_path, "b", FAILS)]
    with pytest.raises(OSError, match="failed"):
        Conductor(todo, Local(), 2, fail).conduct()
    for _ in range(500):
        if not (tmp_path / "a.pid").exists() or not _alive(int((tmp_path / "a.pid").read_text())):
            return
        time.sleep(0.02)
    pytest.fail("a run outlived its study")


def _alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")
