"""Runs tasks as processes: many prepare side by side, and nothing outlasts the deadline.

A task that is prepared is measured at once, while all other processes are stopped (SIGSTOP): nobody else is busy, and
what it held of the device's memory is free for the next soon after.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.gpu.tasks import Task

Row = dict[str, Any]
_POLL_S = 0.05


@dataclass
class Worker:
    """A task's process.

    Attributes:
        read: bytes of its rows that have been handed on.
    """

    task: Task
    folder: Path
    process: subprocess.Popen[bytes]
    read: int = 0

    @property
    def ready(self) -> bool:
        """It waits to be measured."""
        return (self.folder / "ready").exists()

    @property
    def over(self) -> bool:
        """The process has ended."""
        return self.process.poll() is not None

    def rows(self) -> Iterator[Row]:
        """Whole rows written since the last call."""
        path = self.folder / "rows.jsonl"
        if not path.is_file():
            return
        new = path.read_bytes()[self.read :]
        new = new[: new.rfind(b"\n") + 1]
        self.read += len(new)
        yield from (json.loads(line) for line in new.splitlines())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all that it started, whatever groups they are in."""
        for pid in (self.process.pid, *descendants(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End the process and all that it started."""
        if not self.over:
            self.signal(signal.SIGKILL)
        self.process.wait()


def descendants(pid: int) -> list[int]:
    """Processes started by ``pid``, by those, and so on (Linux)."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = list(children.get(pid, ()))
    for child in found:  # grows while it is read
        found += children.get(child, ())
    return found


class Pool:
    """Processes of tasks.

    Args:
        device: torch's name.
        quick: the smallest sizes.
        folder: for the processes' files.
        log: where what they print goes.
        found: told each row at once.
        beside: processes that may prepare at a time.
        gigabytes: of the device's memory that they may hold together.
        deadline: :func:`time.monotonic` when all must be over.
    """

    def __init__(
        self,
        device: str,
        quick: bool,
        folder: Path,
        log: Path,
        found: Callable[[Row], None],
        beside: int,
        gigabytes: float,
        deadline: float,
    ) -> None:
        self.device, self.quick, self.folder, self.log, self.found = device, quick, folder, log, found
        self.beside, self.gigabytes, self.deadline = beside, gigabytes, deadline
        self.workers: list[Worker] = []

    def run(self, tasks: Sequence[Task]) -> None:
        """Prepare and measure all, and say what was not reached."""
        queue = list(tasks)
        try:
            while time.monotonic() < self.deadline and (queue or self._alive()):
                self._start(queue)
                self._collect()
                ready = [w for w in self._alive() if w.ready]
                if ready:
                    self._measure(min(ready, key=lambda w: tasks.index(w.task)))
                else:
                    time.sleep(_POLL_S)
            self._collect()
            for worker in self._alive():
                self.found(_unreached(worker.task, "not measured in time" if worker.ready else "not prepared in time"))
            for task in queue:
                self.found(_unreached(task, "not started in time"))
        finally:
            for worker in self.workers:
                worker.kill()

    def _alive(self) -> list[Worker]:
        return [w for w in self.workers if not w.over]

    def _busy(self) -> list[Worker]:
        return [w for w in self.workers if not w.over and not w.ready]

    def _start(self, queue: list[Task]) -> None:
        """Start the first tasks of the queue for which there is room."""
        for task in list(queue):
            held = sum(w.task.gigabytes for w in self._alive())
            if len(self._busy()) >= self.beside:
                return
            if held + task.gigabytes <= self.gigabytes or not held:
                queue.remove(task)
                self.workers.append(self._process(task))

    def _process(self, task: Task) -> Worker:
        folder = self.folder / f"{len(self.workers):02d}-{task.label}"
        folder.mkdir(parents=True)
        asked = {"task": asdict(task), "device": self.device, "folder": str(folder), "quick": self.quick}
        command = [sys.executable, "-m", "experiments.gpu.worker", json.dumps(asked)]
        threads = {"TORCHINDUCTOR_COMPILE_THREADS": str(max(1, (os.cpu_count() or 1) // 4))}
        with open(folder / "log.txt", "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **threads},
                start_new_session=True,
            )
        return Worker(task, folder, process)

    def _measure(self, worker: Worker) -> None:
        """Let one go on, alone."""
        others = [w for w in self._alive() if w is not worker]
        for other in others:
            other.signal(signal.SIGSTOP)
        try:
            (worker.folder / "go").touch()
            until = min(self.deadline, time.monotonic() + worker.task.seconds)
            while not worker.over and time.monotonic() < until:
                time.sleep(_POLL_S)
            if not worker.over:
                worker.kill()
                self.found(_unreached(worker.task, "took too long"))
        finally:
            for other in others:
                other.signal(signal.SIGCONT)
        self._collect()

    def _collect(self) -> None:
        """Hand on new rows, and the end of the log of what has failed."""
        for worker in self.workers:
            for row in worker.rows():
                self.found(row)
            if worker.over and not (worker.folder / "told").exists():
                (worker.folder / "told").touch()
                if worker.process.returncode:
                    self._tell(worker)

    def _tell(self, worker: Worker) -> None:
        said = (worker.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"== {worker.task.label}: exit code {worker.process.returncode}\n{said[-6000:]}\n")


def _unreached(task: Task, reason: str) -> Row:
    return {
        "part": task.part,
        "name": task.name,
        "ways": list(task.ways),
        "precisions": list(task.precisions),
        "failed": reason,
    }
