"""A worker process of :mod:`waker.collection.worker_pool`: it owns slots and executes the pool's commands.

It imports no torch, only what environments need. A message is a list of commands, or None for the end, and its reply a
list of results: one message either way, as waking a process costs more than most steps. The slot under way is a number
in shared memory, so that the pool can name it when a worker dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from ctypes import c_int
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker.collection.episode import EnvironmentFailed, Episode, fault_of
from waker.collection.make_env import MakeEnv, close
from waker.collection.slot import Slot, Step
from waker.specs import EnvSpec
from waker_envs.foreign import Failed, foreign

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Handled by the pool's process alone: it finishes its tick, saves, and closes the pipes."""


class Command(NamedTuple):
    """Reset a slot to an episode, or step it with an action (A,)."""

    slot: int
    argument: Episode | NDArray[np.float32]


class Result(NamedTuple):
    """What a command gave, and the sums of its episode's rewards (K,)."""

    step: Step | EnvironmentFailed
    returns: NDArray[np.float64]


class Reply(NamedTuple):
    """The results of a list of commands, and the processor seconds of this process so far."""

    results: list[Result]
    cpu_seconds: float


def work(pipe: Connection, under_way: c_int, make_env: MakeEnv, spec: EnvSpec, raw: bool, slots: Sequence[int]) -> None:
    """Worker main loop: makes its environments, reports success (None) or the error, then executes commands.

    The family comes as its factory and spec: its θ space is not needed here, and may not be picklable.

    Args:
        pipe: to the pool's process; its end is the worker's.
        under_way: is set to the number of the slot that is being reset or stepped.
        make_env, spec, raw: see :class:`~waker.collection.slot.Slot`.
        slots: the numbers of its slots.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked while it was started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    mine: dict[int, Slot] = {}
    try:
        for i in slots:
            with foreign("a constructor", lambda error: _Unmakeable(fault_of(error))):
                mine[i] = Slot(make_env(), spec, raw)
        _serve(pipe, under_way, mine)
        pipe.send(_closed(mine))
    except _Unmakeable as reason:
        pipe.send(str(reason))
        _closed(mine)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _closed(mine)  # the pool's process has ended


class _Unmakeable(Exception):
    """Why an environment cannot be made."""


class Closed(NamedTuple):
    """The last answer of a worker: why environments of it could not be closed."""

    reasons: list[str]


def _closed(slots: Mapping[int, Slot]) -> Closed:
    """Close all environments."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for slot in slots.values():
            close(slot.env, slot.spec.env_id)
    return Closed(sorted({str(w.message) for w in caught if issubclass(w.category, Failed)}))


def _serve(pipe: Connection, under_way: c_int, slots: Mapping[int, Slot]) -> None:
    pipe.send(None)
    while (commands := pipe.recv()) is not None:
        results = []
        for number, argument in commands:
            under_way.value, slot = number, slots[number]
            step: Step | EnvironmentFailed
            try:
                step = slot.reset(argument) if isinstance(argument, Episode) else slot.step(argument)
            except EnvironmentFailed as failure:
                step = failure
            results.append(Result(step, slot.play.returns))
        pipe.send(Reply(results, time.process_time()))


def _end_with_parent() -> None:
    """However long an environment's step takes, end when the pool's process has ended, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker was started by multiprocessing"
    while os.getppid() == parent.pid:
        parent.join(1.0)  # returns at once when it ends, unless a process that it forked holds its pipes open
    os._exit(1)
