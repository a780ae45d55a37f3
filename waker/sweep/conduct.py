"""Conducting a study: start what is missing, keep the rows of what is finished, count, and name what failed."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from waker.errors import BLEMISHED, UserError
from waker.sweep.launchers import Job, Launcher
from waker.sweep.rows import keep, share_done

_LOOK_EVERY = 0.5
"""Seconds between two looks at the jobs."""


@dataclass(frozen=True)
class Work:
    """One run that is to be made.

    Attributes:
        name: for messages.
        command: what makes it, or goes on with it.
        run, rows, log: its folder, the folder its rows are kept in, and its output.
        updates: how many it makes in all, for the forecast.
        every: after how many of them it logs how many it has made.
    """

    name: str
    command: Sequence[str]
    run: Path
    rows: Path
    log: Path
    updates: float
    every: float = 1.0

    def made(self) -> float:
        """How many of its updates have been made; all, where fewer are left than it logs at a time."""
        logged = self.updates * share_done(self.run, self.updates)
        return logged if self.updates - logged >= self.every else self.updates


@dataclass
class Outcome:
    """How a study ended: names of runs, and the signal that stopped it (0: none).

    ``blemished`` are those of ``done`` that had to leave something out.
    """

    done: list[str] = field(default_factory=list)
    blemished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: int = 0


class Conductor:
    """Makes the runs of ``todo``, at most ``jobs`` at a time.

    Args:
        tell: takes lines for people.
        discard: called with a run's folder once its rows are kept.
    """

    def __init__(
        self,
        todo: Sequence[Work],
        launcher: Launcher,
        jobs: int,
        tell: Callable[[str], None],
        discard: Callable[[Path], None] | None = None,
    ) -> None:
        self._waiting, self._launcher, self._jobs = deque(todo), launcher, jobs
        self._tell, self._discard = tell, discard
        self._running: dict[str, tuple[Work, Job]] = {}
        self._all = list(todo)
        self._outcome = Outcome()
        self._began = time.monotonic()
        self._before = sum(self._made().values())

    def conduct(self, tell_every: float = 60.0) -> Outcome:
        """Until all runs have ended, or Ctrl-C or SIGTERM has stopped them; a second signal kills them."""
        handlers: dict[int, Any] = {n: signal.signal(n, self._signalled) for n in (signal.SIGINT, signal.SIGTERM)}
        told = self._began
        try:
            self._fill()
            while self._running:
                time.sleep(_LOOK_EVERY)
                ended = [name for name, (_, job) in self._running.items() if job.code() is not None]
                for name in ended:
                    self._ended(*self._running.pop(name))
                self._fill()
                if ended or time.monotonic() - told >= tell_every:
                    told = time.monotonic()
                    self._tell(self.standing())
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for _, job in self._running.values():  # only after an error: no run outlives its study
                job.stop(signal.SIGTERM)
        return self._outcome

    def standing(self) -> str:
        """``3 of 12 runs done, 1 failed, 1 training, 1 evaluating · 40% of the training · 12 min of training left``."""
        made = self._made()
        evaluating = sum(made[name] >= work.updates for name, (work, _) in self._running.items())
        counts = {
            "failed": len(self._outcome.failed),
            "training": len(self._running) - evaluating,
            "evaluating": evaluating,
        }
        parts = [f"{len(self._outcome.done)} of {len(self._all)} runs done"]
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        total = sum(work.updates for work in self._all)
        line = f"{', '.join(parts)} · {_percent(sum(made.values()) / max(total, 1.0))} of the training"
        seconds = self._left(made)
        return line if seconds is None else f"{line} · {_duration(seconds)} of training left"

    def _left(self, made: Mapping[str, float]) -> float | None:
        """Seconds until all updates are made, at the speed so far; None after a stop, or where nothing tells."""
        gained = sum(made.values()) - self._before
        left = sum(work.updates - made[work.name] for work in self._all if work.name not in self._outcome.failed)
        if self._outcome.stopped or left <= 0 or gained <= 0.005 * sum(work.updates for work in self._all):
            return None
        return left / gained * (time.monotonic() - self._began)

    def _made(self) -> dict[str, float]:
        """How many updates each run has made."""
        return {w.name: w.updates if w.name in self._outcome.done else w.made() for w in self._all}

    def _fill(self) -> None:
        """Start what waits, as long as fewer run than may, and nobody has stopped the study."""
        while self._waiting and len(self._running) < self._jobs and not self._outcome.stopped:
            self._start(self._waiting.popleft())

    def _start(self, work: Work) -> None:
        work.log.parent.mkdir(parents=True, exist_ok=True)
        self._running[work.name] = (work, self._launcher.start(work.command, work.log))

    def _ended(self, work: Work, job: Job) -> None:
        code = job.code()
        if code in (0, BLEMISHED):
            if code:
                self._outcome.blemished.append(work.name)
                self._tell(f"{work.name} is done but for something that was left out: {last_line(work.log)}")
            try:
                keep(work.run, work.rows)
            except UserError as error:
                self._failed(work, str(error))
                return
            self._outcome.done.append(work.name)
            if self._discard is not None:
                self._discard(work.run)
        elif not self._outcome.stopped:
            self._failed(work, f"exit code {code}: {last_line(work.log)}")

    def _failed(self, work: Work, why: str) -> None:
        self._outcome.failed[work.name] = why
        others = self._running or (self._waiting and not self._outcome.stopped)
        self._tell(f"{work.name} failed ({why})" + ("; the others go on" if others else ""))

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        again, self._outcome.stopped = bool(self._outcome.stopped), self._outcome.stopped or number
        if not again:
            print("stopping: runs save; press again to end them at once", file=sys.stderr)
        for _, job in self._running.values():
            job.stop(signal.SIGKILL if again else number)


def last_line(log: Path) -> str:
    """The last line of a run's output that says something, for a message: without the name of the command."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "no output"
    return next((line.removeprefix("waker: ")[:300] for line in reversed(lines) if line), "no output")


def _percent(share: float) -> str:
    """Without decimals, and 100 only where nothing is missing."""
    return f"{min(share, 0.99) if share < 1.0 else 1.0:.0%}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
