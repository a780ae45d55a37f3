"""Part ``fuzz``: command lines with values that nobody should give.

Case n has the n-th option of all verbs, in an order drawn from the seed, with a hostile value; every third has a second
one of the same verb. Every 25th runs in a fresh interpreter. Memory is limited to 3 GiB beyond what a process begins
with, so that what does not fit here fits nowhere smaller.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from experiments.faults import finished, warm
from experiments.faults.options import VERBS, Option, every_option, hostile
from experiments.faults.rows import command_line
from experiments.faults.verdict import GOOD, told, verdict

LIMIT = 25.0
"""Seconds after which a command is asked to stop: many a legal number of steps takes for ever."""
MEMORY = 3 << 30
COLD_EVERY = 25
_SLOW = {"quickstart": 12}
"""Verbs that start processes of their own, and how many of their options are tried."""
_BASES: dict[str, tuple[str, ...]] = {
    "train": ("--preset", "tiny"),
    "quickstart": ("--preset", "tiny", "--samplers", "dr"),
    "adapt": ("--updates", "1"),
    "evaluate": ("--episodes", "2", "--suite-episodes", "1", "--model-episodes", "1"),
    "compare": (),
    "report": (),
    "envs": (),
    "envs show": ("--steps", "3"),
}
_POSITIONAL = {
    "adapt": str(finished.RUN),
    "evaluate": str(finished.RUN),
    "compare": "runs",
    "report": "runs",
    "envs": "GridHazards",
    "envs show": "GridHazards",
}


def options_in_order(seed: int) -> list[Option]:
    """The options that cases take in turns; of slow verbs only some."""
    rng = np.random.default_rng(seed)
    every = every_option()
    every = [every[i] for i in rng.permutation(len(every))]
    left = dict(_SLOW)
    chosen = []
    for option in every:
        if option.verb in left:
            left[option.verb] -= 1
        if left.get(option.verb, 0) >= 0:
            chosen.append(option)
    return [chosen[i] for i in rng.permutation(len(chosen))]


def words_of(case: int, seed: int) -> tuple[str, list[str]]:
    """What is tried, and the command line of a case."""
    rng = np.random.default_rng([seed, case])
    order = options_in_order(seed)
    options = [order[case % len(order)]]
    verb = options[0].verb
    if rng.random() < 0.33:
        same = [option for option in order if option.verb == verb]
        options.append(same[int(rng.integers(len(same)))])
    argv = [*VERBS[verb][0]]
    if verb in _POSITIONAL and all(option.flag for option in options):
        argv.append(_POSITIONAL[verb])
    argv += _BASES[verb]
    for option in options:
        argv += hostile(option, rng)
    return " and ".join(f"{option.verb} {option.flag}".strip() for option in options), argv


def run_case(case: int, seed: int, base: Path, work: Path) -> dict[str, Any]:
    """One row."""
    kind, argv = words_of(case, seed)
    cwd = work / f"fuzz-{case}" / "up" / "here"
    if argv[0] in ("adapt", "evaluate", "compare", "report"):
        finished.copy(base / "finished", cwd)
    else:
        cwd.mkdir(parents=True)
        shutil.copy(base / "finished" / "tasks.py", cwd)
    homes = {name: str(cwd) for name in ("HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")}
    cold = case % COLD_EVERY == COLD_EVERY - 1
    ended = warm.run(argv, cwd, LIMIT, homes, MEMORY, cold)
    found = verdict(ended)
    shutil.rmtree(work / f"fuzz-{case}", ignore_errors=True)
    return {
        "kind": kind,
        "command": command_line(argv),
        "verdict": found,
        "fault": int(found not in GOOD),
        "told": told(ended),
        "seconds": round(ended.seconds, 2),
    }
