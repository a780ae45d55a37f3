"""Part ``kills``: whole runs (training, adaptation, evaluation) are killed again and again, and end as if they had not.

A case is one run of one of six configurations that meets five SIGKILLs: each at a moment drawn uniformly over what the
verb under way takes without one, after which the same command is called again. In the end its rows, metrics, weights
and replay are compared with the uninterrupted run's.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np

from experiments.faults import finished, warm
from experiments.faults.finished import RUN, TASK, TINY
from experiments.faults.outcome import changes, outcome
from experiments.faults.rows import command_line
from experiments.faults.verdict import told, verdict

LIMIT = 120.0
KILLS = 5
"""SIGKILLs of a run."""
_SMALL = (*TINY, "--train.save-every", "40", "--evaluation.episodes", "3", "--evaluation.suite-episodes", "1")
CONFIGURATIONS: dict[str, tuple[tuple[str, ...], Path]] = {
    "online": ((*_SMALL, "--evaluation.every", "80"), RUN),
    "after": ((*_SMALL, "--task-policies", "after", "--train.adapt-updates", "6"), RUN),
    "random": (
        (*_SMALL, "--explorer", "random", "--task-policies", "after", "--sampler", "waker-r"),
        Path("runs/gridhazards/waker-r/random/seed-0"),
    ),
    "combined": (
        (*_SMALL, "--env", "Combined", "--sampler", "dr", "--env-kwargs", "obs=proprio", "length=24"),
        Path("runs/combined/dr/plan2explore/seed-0"),
    ),
    "pixels": ((*_SMALL, "--env-kwargs", "obs=pixels"), RUN),
    "processes": ((*_SMALL, "--train.env-processes", "2"), RUN),
}
"""Name → the training, and where its run lies."""


def configuration_of(case: int) -> str:
    """The configuration of a case."""
    return list(CONFIGURATIONS)[case % len(CONFIGURATIONS)]


def verbs_of(name: str) -> list[tuple[str, ...]]:
    """The command lines of a whole run."""
    train, run = CONFIGURATIONS[name]
    tasks = ("--task-module", TASK)
    adapt = ("adapt", str(run), "--updates", "4", *(("--tasks", "walk") if name == "combined" else tasks))
    return [train, adapt, ("evaluate", str(run), *(() if name == "combined" else tasks))]


def make_baseline(name: str, base: Path) -> dict[str, Any]:
    """The uninterrupted run's outcome, and the seconds of each verb; kept in ``base``.

    Raises:
        RuntimeError: a verb fails.
    """
    file = base / f"whole-{name}.json"
    if not file.is_file():
        cwd = base / f"whole-{name}"
        shutil.rmtree(cwd, ignore_errors=True)
        cwd.mkdir()
        shutil.copy(base / "finished" / "tasks.py", cwd)
        seconds = [finished.must(argv, cwd).seconds for argv in verbs_of(name)]
        found = warm.call(outcome, cwd / CONFIGURATIONS[name][1])
        file.write_text(json.dumps({"seconds": seconds, "outcome": found}))
        shutil.rmtree(cwd)
    whole: dict[str, Any] = json.loads(file.read_text())
    return whole


def run_case(case: int, seed: int, base: Path, work: Path) -> dict[str, Any]:
    """One row: a run that met :data:`KILLS` kills, and what they made of it."""
    rng = np.random.default_rng([seed, case])
    name = configuration_of(case)
    whole = json.loads((base / f"whole-{name}.json").read_text())
    cwd = work / f"kills-{case}" / "here"
    cwd.mkdir(parents=True)
    shutil.copy(base / "finished" / "tasks.py", cwd)
    moments: list[str] = []
    spent = 0.0
    fault = detail = ""
    verbs = verbs_of(name)
    for at, argv in enumerate(verbs):
        share = KILLS - len(moments) if at == len(verbs) - 1 else _share(rng, KILLS - len(moments))
        fault, detail, seconds = _lives(argv, cwd, share, whole["seconds"][at], rng, moments)
        spent += seconds
        if fault:
            break
    if not fault:
        changed = changes(whole["outcome"], lambda: warm.call(outcome, cwd / CONFIGURATIONS[name][1]))
        fault, detail = ("different" if changed else ""), ", ".join(changed)
    shutil.rmtree(work / f"kills-{case}", ignore_errors=True)
    return {
        "kind": f"{name}: {len(moments)} kills",
        "command": f"killed at {', '.join(moments)} s of {command_line(verbs[0])} and what follows",
        "verdict": fault or "the same",
        "fault": int(bool(fault)),
        "told": detail[:400],
        "seconds": round(spent, 2),
    }


def _share(rng: np.random.Generator, left: int) -> int:
    """How many of the kills left meet this verb."""
    return int(rng.binomial(left, 0.6))


def _lives(
    argv: tuple[str, ...], cwd: Path, kills: int, seconds: float, rng: np.random.Generator, moments: list[str]
) -> tuple[str, str, float]:
    """Call one verb until it has met its kills and is done; a fault and its detail, both empty if there is none."""
    spent = 0.0
    met = 0
    while True:
        command = warm.start(argv, cwd)
        if met < kills:
            moment = float(rng.uniform(0, seconds))
            if not command.wait(moment):
                command.send(signal.SIGKILL)
                command.wait(10.0)
                met += 1
                moments.append(f"{moment:.2f}")
                spent += command.ended(grace=0.0).seconds
                continue
        ended = warm.finish(command, LIMIT)
        spent += ended.seconds
        found = verdict(ended)
        if found != "done":
            return found, told(ended), spent
        if met >= kills:
            return "", "", spent
        kills = max(met, kills - 1) if spent > 20 * seconds else kills
