"""Environments that end or hold up the process they are in, for tests of environment processes. Imports no torch."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from waker_envs.api import Transition
from waker_envs.testing import HardTheta

BAD = 3.0
"""The θ where it happens."""


class CrashingEnv(HardTheta):
    """Takes its process along at the second step of an episode of θ = 3."""

    def advance(self, action: Any) -> Transition:
        if self._c == BAD and self._t == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().advance(action)


class HangingEnv(HardTheta):
    """Never returns from a step of θ = 3."""

    def advance(self, action: Any) -> Transition:
        while self._c == BAD:
            time.sleep(60)
        return super().advance(action)


class FirstProcessEnv(HardTheta):
    """Can be made in the first process that tries, and nowhere else."""

    first = os.environ.setdefault("WAKER_TEST_FIRST_PROCESS", str(os.getpid()))

    def __init__(self) -> None:
        if str(os.getpid()) != self.first:
            raise OSError("no display\nhere")
        super().__init__()


class MeetingEnv(HardTheta):
    """A step ends when steps of :data:`PARTNERS` processes are under way at once, which they show each other in the
    folder that the environment variable ``WAKER_TEST_MEETING`` names."""

    PARTNERS = 2
    PATIENCE = 60.0

    def advance(self, action: Any) -> Transition:
        here = Path(os.environ["WAKER_TEST_MEETING"])
        (here / str(os.getpid())).touch()
        until = time.monotonic() + self.PATIENCE
        while len(list(here.iterdir())) < self.PARTNERS:
            if time.monotonic() > until:
                raise TimeoutError("nobody else is stepping")
            time.sleep(0.01)
        return super().advance(action)


class SlowEnv(HardTheta):
    """Sleeps in every step."""

    SECONDS = 1.0

    def advance(self, action: Any) -> Transition:
        time.sleep(self.SECONDS)
        return super().advance(action)
