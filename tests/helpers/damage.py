"""What the verbs make of a run folder with one bit turned or one file cut. No test of its own."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.faults.damage import cut, files_by_kind, flip
from waker.cli import main
from waker.errors import UserError
from waker.storage.checkpoint import Checkpoints
from waker.storage.metrics_file import read_metrics
from waker.storage.salvage import TABLES
from waker.storage.tables import read_rows

T = TypeVar("T")


def read_or_told(read: Callable[[], T]) -> tuple[T | None, str]:
    """What a reader gives, or the one line that it refuses with."""
    try:
        return read(), ""
    except UserError as error:
        return None, str(error)


@dataclass(frozen=True)
class Fault:
    """One damage: ``how`` a file is harmed ("flip" or "cut"), at which bit, or to which size."""

    file: Path
    how: str
    at: int

    def do(self, run: Path) -> None:
        """Harm the file."""
        (flip if self.how == "flip" else cut)(run / self.file, self.at)


def draw(run: Path, kind: str, how: str, rng: np.random.Generator) -> Fault:
    """A fault of one kind of file, uniformly over its files, and over the bits or sizes of the one drawn."""
    files = files_by_kind(run)[kind]
    file = files[rng.integers(len(files))]
    size = file.stat().st_size
    return Fault(file.relative_to(run), how, int(rng.integers(8 * size if how == "flip" else size)))


@dataclass(frozen=True)
class Ended:
    """How a verb ended: its exit code, all that it printed, and what it made."""

    code: int
    printed: str
    made: Any

    def tells(self, file: Path) -> bool:
        """Whether it named the file (of a checkpoint, the checkpoint)."""
        return file.name in self.printed or (file.parent.name.startswith("step-") and file.parent.name in self.printed)


def called(argv: list[str], made: Callable[[], Any]) -> Ended:
    """Run a verb in this process.

    Args:
        argv: as on the command line.
        made: reads what it made, when it ended well.

    Raises:
        BaseException: whatever would have been a traceback.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(argv)
    return Ended(code, out.getvalue(), made() if code == 0 else None)


def verbs(runs: Path, run: Path, train: list[str]) -> Mapping[str, Callable[[], Ended]]:
    """Every verb that reads a run folder, as calls.

    Args:
        runs: the folder of all runs.
        run: the run below it; has policies that ``waker adapt`` trained.
        train: the command that made it, less ``--runs``.
    """
    evaluate = ["evaluate", str(run), "--episodes", "1", "--suite-episodes", "1", "--model-episodes", "1"]

    def file(path: Path) -> Callable[[], bytes]:
        return path.read_bytes

    return {
        "train": lambda: called([*train, "--runs", str(runs)], lambda: trained(run)),
        "evaluate": lambda: called(evaluate, lambda: [rows(run, name) for name in ("evaluation", "model_error")]),
        "report": lambda: called(["report", str(run)], file(run / "report.html")),
        "compare": lambda: called(["compare", str(run)], file(run / "comparison.csv")),
        "adapt": lambda: called(["adapt", str(run), "--updates", "4"], lambda: adapted(run)),
    }


def rows(run: Path, name: str) -> str:
    """A table's rows as text."""
    return read_rows(run / f"{name}.parquet").to_csv(index=False)


def digest(tree: Any) -> str:
    """Of a state: nested mappings and lists of tensors, arrays and plain values."""
    if isinstance(tree, Mapping):
        return hashlib.sha256("".join(f"{key}{digest(value)}" for key, value in tree.items()).encode()).hexdigest()
    if isinstance(tree, list | tuple):
        return hashlib.sha256("".join(map(digest, tree)).encode()).hexdigest()
    if hasattr(tree, "numpy") or isinstance(tree, np.ndarray):
        array = np.ascontiguousarray(np.asarray(tree))
        return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
    return repr(tree)


def trained(run: Path) -> Any:
    """What a training left, but for times: the state, the metrics, the rows."""
    checkpoints = Checkpoints(run / "checkpoints")
    state = checkpoints.load(checkpoints.paths()[0])
    kept = {
        k: v
        for k, v in state.items()
        if k not in ("seconds", "cpu_seconds", "measuring_seconds", "replay", "logs", "means")
    }
    metrics = [{k: v for k, v in r.items() if not k.startswith("time/")} for r in read_metrics(run / "metrics.jsonl")]
    return digest(kept), metrics, [rows(run, name) for name in TABLES]


def adapted(run: Path) -> str:
    """The weights of the policies that were adapted last."""
    folder = max(run.glob("adapted/*/checkpoints"), key=lambda path: path.stat().st_mtime)
    checkpoints = Checkpoints(folder)
    return digest(checkpoints.load(checkpoints.paths()[0])["adapter"])


class Trial:
    """Verbs against a damaged copy of one run, each judged by what it makes of the run undamaged.

    Args:
        source: the whole run; never changed.
        runs: where copies go, at ``runs / place``; always the same, so that paths in outputs are.
        place: the run's place below a folder of runs.
        train: the command that made it, less ``--runs``.
    """

    def __init__(self, source: Path, runs: Path, place: Path, train: list[str]) -> None:
        self.source, self.runs, self.run = source, runs, runs / place
        self.verbs = verbs(runs, self.run, train)
        self._whole: dict[str, Ended] = {}

    def verdict(self, verb: str, fault: Fault) -> str:
        """``same``, ``told`` or ``SILENT`` and what differs.

        Raises:
            BaseException: what the verb raised: a traceback for its user.
        """
        if verb not in self._whole:
            self._whole[verb] = self._after(verb, None)
        whole, ended = self._whole[verb], self._after(verb, fault)
        if ended.tells(fault.file):
            return "told"
        if (ended.code, ended.made) == (whole.code, whole.made):
            return "same"
        return f"SILENT {verb} after {fault}: exit {ended.code}, {ended.printed[-500:]!r}"

    def _after(self, verb: str, fault: Fault | None) -> Ended:
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.source, self.run)
        if fault is not None:
            fault.do(self.run)
        return self.verbs[verb]()
