"""A worker process of :mod:`waker.collection.worker_pool`: it owns slots and does what the collector asks.

It imports no torch, only what environments need. An order is a list of things to do, or None for the end, and its
answer a list of what came of them: one message either way, as being woken costs more than most steps. Which slot is
under way is a number in memory that both sides see, so that the right one is named when a worker dies.
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
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker.collection.make_env import close
from waker.collection.slot import EnvironmentFailed, MakeEnv, Slot, Step, fault_of
from waker.specs import EnvSpec
from waker_envs.foreign import Failed, foreign

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What the collector's process alone answers: it finishes its tick, saves, and closes the pipes."""


class Order(NamedTuple):
    """One thing to do."""

    method: Literal["reset", "step", "rebuild"]
    slot: int
    args: tuple[Any, ...]


class Done(NamedTuple):
    """What came of it, and the sums of its episode's rewards (K,)."""

    result: Step | EnvironmentFailed
    returns: NDArray[np.float64]


class Answer(NamedTuple):
    """To a list of orders: what came of each, and the processor seconds of this process so far."""

    done: list[Done]
    cpu_seconds: float


def work(pipe: Connection, under_way: c_int, make_env: MakeEnv, spec: EnvSpec, slots: Sequence[int]) -> None:
    """The worker's life: make the environments, say so (None, or why they cannot be made), then do as told.

    Args:
        pipe: to the collector's process; its end is the worker's.
        under_way: is given the number of the slot that is being reset, stepped or rebuilt.
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
                mine[i] = Slot(make_env(), spec)
        _serve(pipe, under_way, mine)
        pipe.send(_closed(mine))
    except _Unmakeable as reason:
        pipe.send(str(reason))
        _closed(mine)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _closed(mine)  # nobody is left to work for


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
    while True:
        orders: list[Order] | None = pipe.recv()
        if orders is None:
            return
        done = []
        for order in orders:
            under_way.value = order.slot
            done.append(_carry_out(order, slots[order.slot]))
        pipe.send(Answer(done, time.process_time()))


def _carry_out(order: Order, slot: Slot) -> Done:
    result: Step | EnvironmentFailed
    try:
        result = getattr(slot, order.method)(*order.args)
    except EnvironmentFailed as failure:
        result = failure
    return Done(result, slot.episode.returns)


def _end_with_parent() -> None:
    """However long an environment's step takes, end when the collector's process has ended, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker was started by multiprocessing"
    while os.getppid() == parent.pid:
        parent.join(1.0)  # returns at once when it ends, unless a process that it forked holds its pipes open
    os._exit(1)
