"""Part ``damage``: one bit or the end of one file of a run is lost, and then a verb is called.

Case n takes the verbs in turns, and for each verb the kinds of files in turns; two cases in three flip a bit, the third
cuts the file. What a verb gives (what it prints, and the rows, metrics, weights, tables and pages that it is
responsible for) is compared with what it gives on the undamaged run. A *silent difference* is another result, exit code
0 and no line about it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.faults import finished, warm
from experiments.faults.damage import files_by_kind, flip_bit, truncate
from experiments.faults.finished import AFTER, RUN, TASK
from experiments.faults.outcome import TABLES, changes, differences, outcome, text_of
from experiments.faults.rows import command_line
from experiments.faults.verdict import GOOD, told, verdict

LIMIT = 240.0
"""Seconds; a report takes ten of one core, and the machine may be busy."""
_TASKS = ("--task-module", TASK)
VERBS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "resume": ("stopped", AFTER, ("metrics", *TABLES, "weights", "replay")),
    "evaluate": ("finished", ("evaluate", str(RUN), *_TASKS), ("evaluation", "model_error")),
    "report": ("finished", ("report", "runs", "--out", "page.html"), ()),
    "compare": ("finished", ("compare", "runs", "--csv", "numbers.csv"), ()),
    "adapt": ("finished", ("adapt", str(RUN), "--updates", "5", *_TASKS), ("adapted/near",)),
    "train": ("finished", AFTER, ()),
    "adapt anew": ("finished", ("adapt", str(RUN), "--updates", "3", "--tasks", "green"), ("adapted/green",)),
}
"""Name → the folder it begins with, the command line, and which parts of the run's outcome are its own work."""
WRITTEN = ("page.html", "numbers.csv")
DAMAGE = re.compile(
    r"damaged|cannot be read|not usable|checksum|does not match|no longer|torn|missing|left out|cut short|dropp|"
    r"unreadable|not readable|before it|one before|lost|not whole|not what",
    re.IGNORECASE,
)
"""Words that a line about damage has."""


def result_of(name: str, ended: warm.Ended, cwd: Path) -> dict[str, str]:
    """What a verb gave: name → digest."""
    run = cwd / RUN
    found = {f"printed {i}": line for i, line in enumerate(text_of(ended.out, cwd))}
    for file in WRITTEN:
        if (cwd / file).is_file():
            text = (cwd / file).read_bytes().replace(str(cwd.resolve()).encode(), b"")
            found[file] = hashlib.sha256(text).hexdigest()
    wanted = VERBS[name][2]
    if wanted:
        found |= warm.call(outcome, run, wanted)
    return found


def verb_of(case: int) -> str:
    """The verb of a case."""
    return list(VERBS)[case % len(VERBS)]


def make_baselines(base: Path, names: Iterable[str]) -> None:
    """What verbs give on undamaged runs, kept in ``base``.

    Raises:
        RuntimeError: a verb fails on an undamaged run, or gives something else the second time.
    """
    if not (base / "stopped").is_dir():
        finished.make_stopped(base / "stopped")
    for name in names:
        start, argv, _ = VERBS[name]
        twice = []
        for turn in range(2):
            cwd = finished.copy(base / start, base / f"undamaged-{turn}")
            ended = warm.run(argv, cwd, LIMIT)
            if ended.code != 0:
                raise RuntimeError(f"{name} ended with {ended.code} on an undamaged run: {ended.err[-2000:]}")
            twice.append(result_of(name, ended, cwd))
            shutil.rmtree(cwd)
        changing = differences(*twice)
        if changing:
            raise RuntimeError(f"{name} does not give the same twice: {', '.join(changing)}")
        found = {"result": twice[0], "lines": text_of(ended.out + ended.err, cwd)}
        (base / f"undamaged-{name}.json").write_text(json.dumps(found))


def run_case(case: int, seed: int, base: Path, work: Path) -> dict[str, Any]:
    """One row."""
    rng = np.random.default_rng([seed, case])
    name = verb_of(case)
    start, argv, _ = VERBS[name]
    cwd = finished.copy(base / start, work / f"damage-{case}" / "here")
    kinds = files_by_kind(cwd / RUN)
    kind = sorted(kinds)[case // len(VERBS) % len(kinds)]
    path = kinds[kind][int(rng.integers(len(kinds[kind])))]
    how = (truncate if case % 3 == 2 else flip_bit)(path, rng)
    ended = warm.run(argv, cwd, LIMIT)
    found = verdict(ended)
    undamaged = json.loads((base / f"undamaged-{name}.json").read_text())
    detail = told(ended)
    if found == "done":
        found, detail = _compared(name, ended, cwd, undamaged, path.relative_to(cwd / RUN))
    row = {
        "kind": f"{name}: {'truncation' if how.startswith('cut') else 'bit flip'} of {kind}",
        "command": f"{how} of {path.relative_to(cwd)}; {command_line(argv)}",
        "verdict": found,
        "fault": int(found not in (*GOOD, "the same", "told")),
        "told": detail,
        "seconds": round(ended.seconds, 2),
    }
    shutil.rmtree(work / f"damage-{case}", ignore_errors=True)
    return row


def tells_of(line: str, file: Path) -> bool:
    """Whether a line tells of damage to a file of a run folder: it has a word for damage, and names the file.

    The folder of a table or of a checkpoint is name enough, and so is the file that a file of checksums stands beside.
    """
    names = {*file.parts, file.stem} - {"checkpoints", "replay", "adapted", "state", "manifest"}
    return bool(DAMAGE.search(line)) and any(name in line for name in names)


def _compared(name: str, ended: warm.Ended, cwd: Path, undamaged: dict[str, Any], file: Path) -> tuple[str, str]:
    """Verdict and detail of a verb that says it is done, with ``file`` of the run folder harmed."""
    lines = [line for line in text_of(ended.out + ended.err, cwd) if line not in undamaged["lines"]]
    said = [line for line in lines if tells_of(line, file)]
    changed = changes(undamaged["result"], lambda: result_of(name, ended, cwd))
    if said:
        return "told", said[0][:300]
    if not changed:
        return "the same", ""
    return "silent difference", f"{', '.join(changed)}"[:300]
