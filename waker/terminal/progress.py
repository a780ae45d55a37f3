"""What a person sees of a run: a live line on a terminal; anywhere else a plain one a minute and at each tenth.

Called by the training session; safe to call at every step, as it draws only when it is time.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping

from rich.live import Live
from rich.text import Text

from waker.names import printable
from waker.terminal.console import Console

_WINDOW_S = 60.0
"""Speeds are those of the last minute, and of the phase that is under way: what another took, as prefill or a head's
fit, says nothing of the time left."""
_BETWEEN = ("", "measure")
"""What is shown within another phase."""
EVERY = 60.0
"""Seconds between two plain lines at most; a tenth of the work is told when it is done, :data:`_LEAST` after a line."""
EVERY_VARIABLE = "WAKER_PROGRESS_SECONDS"
"""Names other seconds: whoever shows the newest line of several commands wants it more often."""
WIDTH = 120
"""Characters of a plain line at most."""
_LEAST = 5.0
SHOWN = ("model_loss", "kl_loss", "ensemble_loss", "credit")
"""Metrics of the line; a learner that has none of them shows its first losses."""


class Progress:
    """Step, updates/s, time left, the newest losses and the θ being sampled.

    Args:
        label: the run's name.
        total: agent steps of the whole run.
        updates: all updates of the run, adaptation included: what the time left is counted in once they begin.
        console: None = standard error.
        every: seconds between two plain lines; None = as :data:`EVERY_VARIABLE` says, or :data:`EVERY`.
        quiet: show nothing but notes.
    """

    def __init__(
        self,
        label: str,
        total: int,
        console: Console | None = None,
        every: float | None = None,
        quiet: bool = False,
        updates: int = 0,
    ) -> None:
        self.label, self.total, self.quiet, self.updates = label, total, quiet, updates
        self.console = console or Console(stderr=True)
        self._live = self.console.is_terminal and not quiet
        self._every = 0.25 if self._live else _seconds() if every is None else every
        self._next = self._least = 0.0  # when a line is due, and before when none is
        self._tenths = 0
        self._metrics: Mapping[str, float] = {}
        self._marks: deque[tuple[float, int, int]] = deque()  # (seconds, step, updates)
        self._phase = ""  # whose marks these are
        self._display: Live | None = None

    def start(self) -> None:
        """Begin to draw."""
        if self._live:
            self._display = Live(Text(printable(self.label)), console=self.console, auto_refresh=False, transient=True)
            self._display.start()

    def metrics(self, metrics: Mapping[str, float]) -> None:
        """The newest metric row."""
        self._metrics = metrics

    def update(self, step: int, updates: int, theta: Callable[[], str], phase: str = "") -> None:
        """Where the run is; ``theta`` is asked only when something is drawn."""
        now = time.monotonic()
        if (kind := phase.partition(" ")[0]) not in (self._phase, *_BETWEEN):
            self._phase = kind
            self._marks = deque([(now, step, updates)])
        if self.quiet or (now < self._next and (now < self._least or self._tenth(step, updates) <= self._tenths)):
            return
        self._next, self._least = now + self._every, now + (self._every if self._live else _LEAST)
        self._tenths = max(self._tenths, self._tenth(step, updates))
        self._marks.append((now, step, updates))
        while self._marks[0][0] < now - _WINDOW_S and len(self._marks) > 2:
            self._marks.popleft()
        if self._display is not None:
            line = self.line(step, updates, theta(), phase)
            self._display.update(Text(printable(line), overflow="ellipsis", no_wrap=True), refresh=True)
        else:
            self._print(self.line(step, updates, theta(), phase, WIDTH))

    def _tenth(self, step: int, updates: int) -> int:
        """Tenths of the work that are done: of updates where they are known, as prefill is far faster."""
        done, all_ = (updates, self.updates) if self.updates else (step, self.total)
        return 10 * done // max(1, all_)

    def line(self, step: int, updates: int, theta: str, phase: str = "", width: int | None = None) -> str:
        """The line itself; with a ``width`` metrics and θ are left out, and the label is shortened, until it fits."""
        then, old_step, old_updates = self._marks[0]
        seconds = self._marks[-1][0] - then
        parts = [self.label, f"{phase} " * bool(phase) + f"step {step:,}/{self.total:,}", f"{updates:,} updates"]
        if seconds > 0:
            parts.append(f"{(updates - old_updates) / seconds:.1f}/s")
            if self.updates and updates > old_updates:
                parts.append(f"{_clock(max(0, self.updates - updates) * seconds / (updates - old_updates))} left")
            elif step > old_step:
                parts.append(f"{_clock((self.total - step) * seconds / (step - old_step))} left")
        known = [k for k in SHOWN if k in self._metrics] or [k for k in self._metrics if "loss" in k][: len(SHOWN)]
        more = [f"{k.replace('_', ' ')} {self._metrics[k]:.3g}" for k in known] + ([f"θ: {theta}"] if theta else [])
        if width is not None:
            more = _fitting(more, width - len(" · ".join(parts)))
        parts += more
        over = 0 if width is None else len(" · ".join(parts)) - width
        if over > 0:
            keep = max(2, (len(self.label) - over - 1) // 2)
            parts[0] = f"{self.label[:keep]}…{self.label[-keep:]}"
        return " · ".join(parts)

    def note(self, text: str) -> None:
        """One line that stays."""
        self._print(f"{self.label} · {text}")

    def _print(self, line: str) -> None:
        # Long lines are left to the terminal or file: wrapping would split one fact over several lines.
        self.console.print(printable(line), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing."""
        if self._display is not None:
            self._display.stop()
            self._display = None


def _fitting(parts: list[str], room: int) -> list[str]:
    """Those that fit, in their order: the first has precedence, then the last, then the others."""
    chosen: set[int] = set()
    for at in [0, len(parts) - 1, *range(1, len(parts) - 1)][: len(parts)]:
        if at not in chosen and len(parts[at]) + 3 <= room:
            chosen.add(at)
            room -= len(parts[at]) + 3
    return [parts[at] for at in sorted(chosen)]


def _seconds() -> float:
    try:
        return max(0.0, float(os.environ.get(EVERY_VARIABLE, EVERY)))
    except ValueError:
        return EVERY


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
