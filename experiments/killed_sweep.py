"""Does a sweep that is killed again and again end with the rows of one that is left alone?

    python -m experiments.killed_sweep [--kills 20] [--seed 0]

A study of six short runs (``tiny``, two samplers, three seeds, policies afterwards, a checkpoint every 40 steps) is
made once undisturbed. Then it is made by sweeps that are killed with all their trainings, each followed by the same
command again; a study that ends before the last kill is begun anew in another folder. Half of the kills come at a
moment drawn uniformly between the undisturbed study's first checkpoint and its end, most of which is the starting of
processes; the others, in turn, up to four seconds after this sweep's own first checkpoint: in the middle of a run.
Every study ends with the same command left alone.

Writes ``results/killed_sweep/``: ``kills.csv`` (kill, study, aimed at ``any`` moment or a ``run``, seconds after the
start, runs that had rows and runs that were under way at that moment, checkpoints of all) and ``rows.csv`` (study, run,
table, rows, equal to the undisturbed ones in all but their times). Ends with 1 where a row differs. Some six CPU
minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from waker.storage.tables import read_rows

RESULTS = Path(__file__).parents[1] / "results" / "killed_sweep"
STUDY = """
preset: tiny
settings: {train.task-policies: after, train.save_every: 40}
domains: [GridHazards]
samplers: [dr, waker-m]
seeds: 3-5
"""
TABLES = ("evaluation", "model_error", "curriculum", "episodes")
"""Those whose rows are functions of the seed; metrics and notes tell of seconds, and of stops."""
AIMS = "any", "run"
WITHIN = 4.0
"""Seconds in which a run is killed after a checkpoint."""


def command(study: Path, runs: Path) -> list[str]:
    """The sweep as a user starts it."""
    return [sys.executable, "-m", "waker", "sweep", str(study), "--runs", str(runs), "--jobs", "2"]


def whole(study: Path, runs: Path) -> tuple[float, float]:
    """Makes the study to its end, undisturbed from here on; seconds to the first checkpoint that is there, and in all.

    Raises:
        SystemExit: the sweep failed.
    """
    began = time.monotonic()
    child, first = subprocess.Popen(command(study, runs), stdout=subprocess.DEVNULL), None
    while child.poll() is None:
        if first is None and checkpoints(runs):
            first = time.monotonic() - began
        time.sleep(0.1)
    if child.returncode:
        raise SystemExit(f"the undisturbed sweep ended with {child.returncode}")
    seconds = time.monotonic() - began
    return (seconds if first is None else first), seconds


def checkpoints(runs: Path) -> set[Path]:
    """Checkpoints of all runs of a study."""
    return set(runs.glob("gridhazards/*/*/seed-*/checkpoints/step-*"))


def killed(study: Path, runs: Path, aim: str, seconds: float) -> bool:
    """Starts the study and kills it with its trainings; False where it had ended before.

    Args:
        aim: ``any`` = so many seconds after the start, ``run`` = after a checkpoint that was not there at the start.
    """
    before = checkpoints(runs)
    child = subprocess.Popen(
        command(study, runs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while aim == "run" and child.poll() is None and checkpoints(runs) <= before:
        time.sleep(0.05)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        for process in reversed(descendants(child.pid)):
            os.kill(process, signal.SIGKILL)
        child.wait()
        return True
    return False


def descendants(pid: int) -> list[int]:
    """A process and all that it started, itself first."""
    found = [pid]
    for parent in found:  # grows while it is read
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def finished(runs: Path) -> list[Path]:
    """Folders of the rows of runs that have ended, below ``rows``."""
    kept = runs / "rows"
    return sorted({path.parent.relative_to(kept) for path in kept.rglob("evaluation.parquet")})


def differences(alone: Path, runs: Path) -> Iterator[dict[str, object]]:
    """Whether each table of each run is the undisturbed one's."""
    for run in finished(alone):
        for table in TABLES:
            expected, found = (read_rows(folder / "rows" / run / f"{table}.parquet") for folder in (alone, runs))
            yield {"run": str(run), "table": table, "rows": len(expected), "equal": found.equals(expected)}


def main() -> None:
    """Kill, go on, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    rng, kills, rows = np.random.default_rng(args.seed), list[dict[str, object]](), list[dict[str, object]]()
    with tempfile.TemporaryDirectory() as folder:
        study, alone, number = Path(folder) / "small.yaml", Path(folder) / "alone", 0
        study.write_text(STUDY)
        first, seconds = whole(study, alone)
        runs = Path(folder) / "runs-0"
        while len(kills) < args.kills:
            aim = AIMS[len(kills) % 2]
            moment = float(rng.uniform(first, seconds) if aim == "any" else rng.uniform(0.0, WITHIN))
            began = time.monotonic()
            if killed(study, runs, aim, moment):
                moment = time.monotonic() - began
                ended, begun = len(finished(runs)), len(list(runs.glob("gridhazards/*/*/seed-*")))
                kill = {"kill": len(kills) + 1, "study": number, "aim": aim, "seconds": round(moment, 1)}
                kill |= {"with_rows": ended, "under_way": begun - ended, "checkpoints": len(checkpoints(runs))}
                kills.append(kill)
                print(kills[-1], flush=True)
                continue
            rows += [{"study": number, **row} for row in differences(alone, runs)]
            number, runs = number + 1, Path(folder) / f"runs-{number + 1}"
        whole(study, runs)
        rows += [{"study": number, **row} for row in differences(alone, runs)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(kills).to_csv(RESULTS / "kills.csv", index=False)
    found = pd.DataFrame(rows)
    found.to_csv(RESULTS / "rows.csv", index=False)
    print(f"{len(kills)} kills, {found['study'].nunique()} studies, {int((~found['equal']).sum())} tables that differ")
    sys.exit(int(not found["equal"].all()))


if __name__ == "__main__":
    main()
