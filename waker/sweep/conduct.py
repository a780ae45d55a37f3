"""Conducting a study: start what is missing, keep the rows of what is finished, count, and name what failed."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
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
    """

    name: str
    command: Sequence[str]
    run: Path
    rows: Path
    log: Path
    updates: float


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
        self._before = self._share()

    def conduct(self, tell_every: float = 60.0) -> Outcome:
        """Until all runs have ended, or Ctrl-C or SIGTERM has stopped them; a second signal kills them."""
        handlers: dict[int, Any] = {n: signal.signal(n, self._signalled) for n in (signal.SIGINT, signal.SIGTERM)}
        told = self._began
        try:
            while self._running or (self._waiting and not self._outcome.stopped):
                while self._waiting and len(self._running) < self._jobs and not self._outcome.stopped:
                    self._start(self._waiting.popleft())
                time.sleep(_LOOK_EVERY)
                ended = [name for name, (_, job) in self._running.items() if job.code() is not None]
                for name in ended:
                    self._ended(*self._running.pop(name))
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
        """``3 of 12 runs done, 1 failed, 2 running · 40 % of the work · 12 min left``."""
        share = self._share()
        parts = [f"{len(self._outcome.done)} of {len(self._all)} runs done"]
        if self._outcome.failed:
            parts.append(f"{len(self._outcome.failed)} failed")
        parts.append(f"{len(self._running)} running")
        line = f"{', '.join(parts)} · {share:.0%} of the work"
        gained = share - self._before
        if gained > 0.005 and share < 1.0:
            line += f" · {_duration((1.0 - share) / gained * (time.monotonic() - self._began))} left"
        return line

    def _share(self) -> float:
        """How much of all updates has been made; a run that failed will make no more."""
        total = sum(work.updates for work in self._all)
        ended = {*self._outcome.done, *self._outcome.failed}
        made = (w.updates * (1.0 if w.name in ended else share_done(w.run, w.updates)) for w in self._all)
        return sum(made) / max(total, 1.0)

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
        self._tell(f"{work.name} failed ({why}); the others go on")

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        again, self._outcome.stopped = bool(self._outcome.stopped), self._outcome.stopped or number
        if not again:
            print("stopping: runs save; press again to end them at once", file=sys.stderr)
        for _, job in self._running.values():
            job.stop(signal.SIGKILL if again else number)


def last_line(log: Path) -> str:
    """The last line of a run's output that says something, for a message."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "no output"
    return next((line[:300] for line in reversed(lines) if line), "no output")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
