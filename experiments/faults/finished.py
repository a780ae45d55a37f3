"""Run folders that cases begin with: made once, copied for each."""

from __future__ import annotations

import shutil
from pathlib import Path

from experiments.faults import warm

TINY = ("train", "--preset", "tiny", "--evaluation.model-episodes", "1", "--runs", "runs")
"""A run of about a second."""
AFTER = (*TINY, "--train.task-policies", "after")
RUN = Path("runs/gridhazards/waker-m/plan2explore/seed-0")
"""Where it lies."""
TASK = "tasks.py:near"
"""A task from outside the environment."""
_TASK_FILE = '''"""A task defined after the run."""


def near(observation):
    """1 wherever the first variable of the first key is even."""
    first = next(iter(observation.values()))
    return (first.reshape(*first.shape[:2], -1)[..., 0] % 2 == 0).astype("float32")
'''


def make_finished(folder: Path) -> Path:
    """A folder with a run that is trained, adapted to a task of its own and one from outside, and evaluated.

    Raises:
        RuntimeError: a verb did not end well; nothing can be tried then.
    """
    folder.mkdir(parents=True)
    (folder / "tasks.py").write_text(_TASK_FILE)
    adapt = ("adapt", str(RUN), "--updates", "3", "--task-module", TASK)
    for argv in (AFTER, adapt, ("evaluate", str(RUN), "--task-module", TASK)):
        must(argv, folder)
    return folder


def make_stopped(folder: Path) -> Path:
    """A folder with a run that exploration of half its steps has ended, two checkpoints in it.

    It is cut from a run of the same settings by taking back its newest checkpoints, as if it had been killed.
    """
    folder.mkdir(parents=True)
    (folder / "tasks.py").write_text(_TASK_FILE)
    must((*AFTER, "--train.save-every", "40", "--train.keep", "9"), folder)
    checkpoints = sorted((folder / RUN / "checkpoints").iterdir())
    for newer in checkpoints[3:]:
        shutil.rmtree(newer)
    return folder


def must(argv: tuple[str, ...], folder: Path) -> warm.Ended:
    """Run a command line that has to end well.

    Raises:
        RuntimeError: it did not.
    """
    ended = warm.run(argv, folder, limit=400.0)
    if ended.code != 0:
        raise RuntimeError(f"waker {' '.join(argv)} ended with {ended.code}: {ended.err[-2000:]}")
    return ended


def copy(base: Path, to: Path) -> Path:
    """A copy of a base folder; ``to`` itself."""
    shutil.copytree(base, to)
    return to
