"""Calls of foreign code that take long are told, and say what is waited for."""

from __future__ import annotations

import functools
import queue
import threading
from typing import Any

import numpy as np
import pytest

from tests.helpers.families import family_of
from tests.helpers.faulty_envs import BAD
from waker.collection.episode import Episode
from waker.collection.slot import Slot
from waker.collection.slot_group import slot_group
from waker.collection.spec_of import spec_of
from waker.terminal import slow_calls as watch
from waker_envs.api import Transition
from waker_envs.foreign import foreign
from waker_envs.testing import HardTheta

SPEC = spec_of(HardTheta())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[str]:
    """What is told while watching, after a tenth of a second of patience."""
    monkeypatch.setattr(watch, "PATIENCE", 0.1)
    return queue.Queue()


class Waits(HardTheta):
    """Its second step of θ = 3 waits until it may go on."""

    cont = threading.Event()

    def advance(self, action: Any) -> Transition:
        if self._c == BAD and self._t == 1:
            assert self.cont.wait(60)
        return super().advance(action)


def test_a_step_that_hangs_is_told_with_what_reproduces_it(told: queue.Queue[str]) -> None:
    Waits.cont.clear()
    slot = Slot(Waits(), SPEC)
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            Waits.cont.set()

    with watch.watched(tell):
        slot.reset(Episode(np.array([BAD]), 3, 41))
        for _ in range(3):
            slot.step(np.zeros(1, np.float32))
    assert lines[0].startswith("waiting for step 2 of HardTheta, an episode of seed 41, θ = [3.0], for 0 s now")
    assert lines[0].endswith("; Ctrl-C twice stops at once")


def test_a_worker_that_hangs_is_told(told: queue.Queue[str]) -> None:
    from tests.helpers.faulty_envs import SlowEnv

    start = Episode(np.array([1.0]), 1, 7)
    group = slot_group(family_of(SlowEnv), 2, 2)
    try:
        with watch.watched(told.put):
            group.advance({0: start, 1: start}, {})
            group.advance({}, {i: np.zeros(1, np.float32) for i in (0, 1)})
    finally:
        group.close()
    assert "environment 0, in a process of its own: step 1 of SlowEnv, an episode of seed 7" in told.get_nowait()


def test_an_evaluation_that_hangs_is_told(told: queue.Queue[str]) -> None:
    gone = threading.Event()

    def tell(line: str) -> None:
        told.put(line)
        gone.set()

    class Waiting(HardTheta):
        def advance(self, action: Any) -> Any:
            assert gone.wait(60)
            return super().advance(action)

    slots = slot_group(family_of(Waiting), 1)
    slots.advance({0: Episode(np.array([2.0]), 2, 5, "dr")}, {})
    with watch.watched(tell):
        slots.advance({}, {0: np.zeros(1, np.float32)})
    assert "step 1 of Waiting, an episode of suite 'dr' of seed 5, θ = [2.0]" in told.get_nowait()


def test_many_short_calls_are_not_told(told: queue.Queue[str]) -> None:
    pause = threading.Event()
    guard = foreign("something short", functools.partial(RuntimeError))
    with watch.watched(told.put):
        for _ in range(30):
            with guard:
                pause.wait(0.01)
    assert told.empty()


def test_a_call_without_a_name_is_not_told_once_it_is_alone_again(told: queue.Queue[str]) -> None:
    """The whole command is one, and a quickstart spends hours in it, waiting for its trainings."""
    pause = threading.Event()
    with watch.watched(told.put), foreign("", functools.partial(RuntimeError)):
        with foreign("something short", functools.partial(RuntimeError)):
            pause.wait(0.01)
        pause.wait(0.5)
    assert told.empty()
