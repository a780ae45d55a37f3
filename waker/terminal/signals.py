"""Ctrl-C and SIGTERM: asked once, the loop finishes its unit of work and saves; asked twice, it ends at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar

from waker.errors import Ended
from waker.terminal.startup import SIGNALS, tell
from waker_envs.foreign import Stop


class Interrupted(Ended):
    """The run was asked to stop and has saved. Left alone, it ends the process with 130 (SIGINT) or 143 (SIGTERM)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Paused(Exception):
    """A unit of work stopped in its middle because a signal had come; what it has done is kept."""


class StopSignals:
    """While entered, SIGINT and SIGTERM only set :attr:`number`; a second one raises :class:`Stop`."""

    _entered: ClassVar[list[StopSignals]] = []

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    def __enter__(self) -> StopSignals:
        # Python delivers signals to the main thread only, and refuses handlers set elsewhere.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._receive)
        self._entered.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise Stop(number)
        self.number = number
        # From here, as what is under way may take long, or for ever.
        again = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        tell(f"{again}: saving as soon as what is under way is done; press Ctrl-C again to stop at once")


def stop_requested() -> bool:
    """Whether a signal has come that the innermost :class:`StopSignals` holds back."""
    return bool(StopSignals._entered) and StopSignals._entered[-1].requested
