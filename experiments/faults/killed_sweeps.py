"""Part ``sweeps``: a study's sweep is killed again and again, and keeps the rows of one that was not.

A case is ``waker sweep`` of four small runs that meets twenty SIGKILLs, each at a moment drawn uniformly over a fifth
of what the whole sweep takes. Every second one ends the sweep alone, whose runs must follow it; the others all that it
has started. In the end the same command is let be, and all rows that it keeps are compared with the undisturbed
sweep's.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.faults import finished, warm
from experiments.faults.outcome import TABLES, changes, outcome
from experiments.faults.rows import command_line
from experiments.faults.verdict import told, verdict

LIMIT = 300.0
KILLS = 20
"""SIGKILLs of a sweep."""
_STUDY = """preset: tiny
settings: {train.task_policies: after, train.save_every: 40, evaluation.episodes: 3, evaluation.suite_episodes: 1}
domains: [GridHazards]
samplers: [dr, waker-m]
seeds: 0-1
"""
SWEEP = ("sweep", "study.yaml", "--runs", "runs", "--jobs", "2")
_WHOLE = "whole-sweep"


def make_baseline(base: Path) -> None:
    """The rows of the undisturbed sweep, and the seconds that it takes; kept in ``base``.

    Raises:
        RuntimeError: it fails.
    """
    file = base / f"{_WHOLE}.json"
    if not file.is_file():
        cwd = base / _WHOLE
        cwd.mkdir()
        (cwd / "study.yaml").write_text(_STUDY)
        seconds = finished.must(SWEEP, cwd).seconds
        found = warm.call(kept_rows, cwd / "runs" / "rows")
        file.write_text(json.dumps({"seconds": seconds, "outcome": found}))
        shutil.rmtree(cwd)


def kept_rows(rows: Path) -> dict[str, str]:
    """A digest of each table of each run that a sweep has kept: ``gridhazards/dr/…/episodes`` → digest."""
    cells = sorted(path.parent for path in rows.rglob("config.yaml"))
    found = {f"{cell.relative_to(rows)}/{name}": d for cell in cells for name, d in outcome(cell, TABLES).items()}
    if len(found) != 4 * len(TABLES):
        raise RuntimeError(f"rows of {len(cells)} runs instead of 4 in {rows}")
    return found


def run_case(case: int, seed: int, base: Path, work: Path) -> dict[str, Any]:
    """One row: a sweep that met :data:`KILLS` kills, and what they made of it."""
    rng = np.random.default_rng([seed, case])
    whole = json.loads((base / f"{_WHOLE}.json").read_text())
    cwd = work / f"sweeps-{case}" / "here"
    cwd.mkdir(parents=True)
    (cwd / "study.yaml").write_text(_STUDY)
    began, moments = time.monotonic(), list[str]()
    while len(moments) < KILLS:
        moment = float(rng.uniform(0, whole["seconds"] / 5))
        command = warm.start(SWEEP, cwd)
        if command.wait(moment):  # done before all its kills
            break
        command.send(signal.SIGKILL, group=len(moments) % 2 == 0)
        command.wait(10.0)
        moments.append(f"{moment:.2f}")
    ended = warm.run(SWEEP, cwd, LIMIT)
    fault, detail = verdict(ended), told(ended)
    if fault == "done":
        changed = changes(whole["outcome"], lambda: warm.call(kept_rows, cwd / "runs" / "rows"))
        fault, detail = ("different" if changed else ""), ", ".join(changed)
    shutil.rmtree(work / f"sweeps-{case}", ignore_errors=True)
    return {
        "kind": f"sweep: {len(moments)} kills",
        "command": f"killed at {', '.join(moments)} s of {command_line(SWEEP)}",
        "verdict": fault or "the same",
        "fault": int(bool(fault)),
        "told": detail[:400],
        "seconds": round(time.monotonic() - began, 2),
    }
