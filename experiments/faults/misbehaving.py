"""Part ``envs``: environments of other people that misbehave, in the learner's process and in workers.

A case trains one tiny run on :class:`experiments.faults.bad_envs.Corridor` in one mode. Where the environment fails,
one line must say so; where it only behaves badly, the run must be the same as on the well-behaved one. A hanging
environment is waited for until its user loses patience: then it must let itself be stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from experiments.faults import bad_envs, finished, warm
from experiments.faults.bad_envs import ENV_ID
from experiments.faults.outcome import changes, outcome
from experiments.faults.rows import command_line
from experiments.faults.verdict import told, verdict

LIMIT = 30.0
"""Seconds after which a run is asked to stop."""
ROOT = Path(__file__).resolve().parents[2]
RUN = Path("runs/corridor/waker-m/plan2explore/seed-0")


class Misbehaviour(NamedTuple):
    """One mode at one moment, and the verdicts that are right."""

    mode: str
    when: str
    right: tuple[str, ...] = ("refused",)
    alone: bool = False
    """Only in workers: it ends the process that it is in."""


_FAILING = ("raise", "exit", "generator exit", "unspeakable", "exit with words", "surrogate", "group", "recursion")
_HARMLESS = ("the same",)
BEHAVIOURS: tuple[Misbehaviour, ...] = (
    *(Misbehaviour(mode, "import") for mode in ("raise", "exit", "unspeakable", "generator exit")),
    *(Misbehaviour(mode, "init") for mode in ("raise", "exit", "unspeakable", "exit with words")),
    *(Misbehaviour(mode, "reset") for mode in ("raise nothing", "exit", "stop iteration")),
    *(Misbehaviour(mode, "step") for mode in (*_FAILING, "unpicklable", "memory", "no info", "four things")),
    *(Misbehaviour(mode, "evaluation") for mode in ("raise", "exit", "generator exit", "unspeakable", "shape")),
    *(Misbehaviour(mode, "step") for mode in ("nan", "inf", "beyond float32", "shape", "dtype", "object", "keys")),
    *(Misbehaviour(mode, "step") for mode in ("nothing", "complex", *bad_envs.REWARDS)),
    Misbehaviour("close raises", "step", ("the same", "refused")),
    Misbehaviour("close exits", "step", ("the same", "refused")),
    Misbehaviour("one buffer", "step", _HARMLESS),
    Misbehaviour("theta in place", "step", _HARMLESS),
    *(Misbehaviour(mode, "step", _HARMLESS) for mode in ("print", "chdir", "seed", "warn", "render raises")),
    Misbehaviour("never ends", "evaluation", ("refused", "stopped", "done", "the same", "different")),
    Misbehaviour("no optimum", "step", ("done", "different", "refused")),
    Misbehaviour("optimum raises", "step", ("done", "different", "refused")),
    Misbehaviour("hang", "step", ("stopped",)),
    Misbehaviour("hang", "evaluation", ("stopped",)),
    Misbehaviour("hang", "init", ("stopped",)),
    Misbehaviour("kill", "step", ("refused",), alone=True),
    Misbehaviour("os exit", "step", ("refused",), alone=True),
)
"""In the order of cases; each twice, in the learner's process and in a worker."""


def training(mode: str, when: str, processes: int) -> tuple[str, ...]:
    """The command line."""
    settings = [f"mode={mode}", f"when={when}"]
    return (*finished.TINY, "--env", ENV_ID, "--env-kwargs", *settings, "--train.env-processes", str(processes))


def environment_of(base: Path, when: str, mode: str) -> dict[str, str]:
    """What finds the plug-in, and breaks its import if it is to be broken."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "envs"), str(base / "plugin")])
    return {"PYTHONPATH": path, **({"FAULTS_IMPORT": mode} if when == "import" else {})}


def make_baseline(base: Path) -> None:
    """The run on the well-behaved corridor.

    Raises:
        RuntimeError: it fails.
    """
    file = base / "corridor.json"
    if file.is_file():
        return
    bad_envs.install(base / "plugin")
    cwd = base / "corridor"
    cwd.mkdir()
    ended = warm.run(training("none", "step", 0), cwd, 400.0, environment_of(base, "step", ""))
    if ended.code != 0:
        raise RuntimeError(f"the well-behaved corridor ended with {ended.code}: {ended.err[-2000:]}")
    file.write_text(json.dumps(warm.call(outcome, cwd / RUN)))
    shutil.rmtree(cwd)


def run_case(case: int, seed: int, base: Path, work: Path) -> dict[str, Any]:
    """One row; ``seed`` is not needed, as nothing is drawn."""
    behaviour = BEHAVIOURS[case // 2]
    processes = 1 if case % 2 or behaviour.alone else 0
    cwd = work / f"envs-{case}" / "here"
    argv = training(behaviour.mode, behaviour.when, processes)
    for patience in (LIMIT, 6 * LIMIT):
        cwd.mkdir(parents=True)
        environment = environment_of(base, behaviour.when, behaviour.mode)
        ended = warm.run(argv, cwd, patience, environment, cold=behaviour.when == "import")
        if verdict(ended) != "stopped" or "stopped" in behaviour.right:
            break
        shutil.rmtree(cwd, ignore_errors=True)  # the machine may have been busy
    found, detail = verdict(ended), told(ended)
    if found == "done":
        honest = json.loads((base / "corridor.json").read_text())
        changed = changes(honest, lambda: warm.call(outcome, cwd / RUN))
        found, detail = ("different" if changed else "the same"), ", ".join(changed)
    shutil.rmtree(work / f"envs-{case}", ignore_errors=True)
    return {
        "kind": f"{behaviour.mode} in {behaviour.when}, {'in a worker' if processes else 'in process'}",
        "command": command_line(argv),
        "verdict": found,
        "fault": int(found not in behaviour.right),
        "told": detail[:400],
        "seconds": round(ended.seconds, 2),
    }
