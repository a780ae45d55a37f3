"""Environment slots in worker processes: all workers are told what to do, then all are waited for.

Made by :func:`waker.collection.slot_group.slot_group` where ``train.env_processes`` asks for it: worth it when
environments take most of a run's time, rendering above all, and there are cores to spare. Every number is the same as
in one process.

Observations come back through the worker's pipe. A picture of 64 × 64 pixels takes some 10 µs longer so than through
shared memory, of the milliseconds that drawing it takes. Workers wait idly, and keep their memory, while there is
nothing to collect: in an evaluation, and while policies are trained afterwards.
"""

from __future__ import annotations

import atexit
import functools
import pickle
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import c_int
from multiprocessing import get_context, resource_tracker
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.collection.slot import EnvironmentFailed, Episode, MakeEnv, Step
from waker.collection.slot_group import Start
from waker.collection.worker import SIGNALS, Answer, Closed, Order, work
from waker.errors import UserError
from waker.specs import EnvSpec
from waker_envs.foreign import Failed, waiting

# Not fork: a child would have this process's GL context and torch's and Mesa's threads in name only, and wait for
# them for ever.
_CONTEXT = get_context("spawn")
_PATIENCE = 3.0
"""Seconds a worker has to close its environments before it is killed."""


class _Worker:
    """A process and the slots it owns."""

    def __init__(self, make_env: MakeEnv, spec: EnvSpec, slots: Sequence[int]) -> None:
        self.slots, self.cpu_seconds = tuple(slots), 0.0
        self._under_way = _CONTEXT.RawValue(c_int, self.slots[0])
        self._pipe, theirs = _CONTEXT.Pipe()
        args = (theirs, self._under_way, make_env, spec, self.slots)
        self._process = _CONTEXT.Process(target=work, args=args, name="environments")
        try:
            _start(self._process)
        finally:
            theirs.close()  # or this process would keep the worker's end open when the worker has died

    def refusal(self) -> str | None:
        """Wait until its environments are made; why they cannot be."""
        try:
            with waiting(f"the constructor of environments {self.slots}, in a process of their own"):
                reason: str | None = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return self.ended()
        return reason

    def tell(self, orders: Sequence[Order]) -> None:
        """Hand over orders; a worker that has died is noticed when its answer is waited for."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(orders)

    def hear(self, what: Callable[[], str]) -> Answer | None:
        """Wait for the answer to the orders; None if the worker has died.

        Args:
            what: says what it is busy with, for whoever waits.
        """
        try:
            with waiting(what):
                answer: Answer = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return None
        self.cpu_seconds = answer.cpu_seconds
        return answer

    @property
    def under_way(self) -> int:
        """The slot it is busy with; between orders, the newest it was."""
        return int(self._under_way.value)

    def ended(self) -> str:
        """How a worker that has died came to its end."""
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with {code}"
        slots = ", ".join(map(str, self.slots))
        return f"the process of environment{'s' if len(self.slots) > 1 else ''} {slots} {how}"

    def dismiss(self) -> None:
        """Let it close its environments and end."""
        with suppress(OSError):  # it has died, or it has been dismissed before
            self._pipe.send(None)

    def wait(self) -> None:
        """Until it has ended; whoever takes too long is killed. What it could not close is told."""
        with suppress(EOFError, OSError):
            while self._pipe.poll(_PATIENCE):
                if isinstance(last := self._pipe.recv(), Closed):  # not the answer of a call that was interrupted
                    for reason in last.reasons:
                        warnings.warn(reason, Failed, stacklevel=2)
                    break
        self._pipe.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _start(process: Any) -> None:
    """Start a worker with signals blocked: Ctrl-C may come before it has said that it ignores them."""
    resource_tracker.ensure_running()  # multiprocessing starts it along with a first process, and unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(f"train.env_processes: the environment cannot be sent to a process ({error})") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SlotProcesses:
    """A :class:`~waker.collection.slot_group.SlotGroup` dealt round robin to worker processes.

    Args:
        make_env: must be picklable: a class, a function of a module, a :func:`functools.partial` of these.
        slots: in all.
        processes: workers; no more than there are slots are started.

    Attributes:
        episodes: of each slot, kept here as the workers keep theirs: a worker that dies takes nothing along.

    Raises:
        UserError: an environment cannot be made there.
    """

    def __init__(self, make_env: MakeEnv, spec: EnvSpec, slots: int, processes: int) -> None:
        self.episodes = [Episode(spec) for _ in range(slots)]
        self._workers: list[_Worker] = []
        self._asking = False
        # Before multiprocessing's own exit handler, which would wait for the workers for ever.
        atexit.register(self.close)
        try:
            for first in range(count := min(processes, slots)):
                self._workers.append(_Worker(make_env, spec, range(first, slots, count)))
            for worker in self._workers:
                if (reason := worker.refusal()) is not None:
                    raise UserError(f"{spec.env_id} cannot be made in a process of its own: {reason}")
        except BaseException:
            self.close()
            raise

    @property
    def cpu_seconds(self) -> float:
        """See :class:`~waker.collection.slot_group.SlotGroup`, as for all below."""
        return sum(worker.cpu_seconds for worker in self._workers)

    def advance(self, starts: Mapping[int, Start], actions: NDArray[np.float32]) -> list[Step]:
        orders = []
        for i, episode in enumerate(self.episodes):
            if i in starts:
                episode.begin(*starts[i])
                orders.append(Order("reset", i, starts[i]))
            else:
                episode.actions.append(actions[i].copy())
                orders.append(Order("step", i, (actions[i],)))
        answers, steps = self._ask(orders), []
        for i in range(len(self.episodes)):
            answer = answers[i]
            if isinstance(answer, EnvironmentFailed):
                raise answer
            steps.append(answer)
        return steps

    def rebuild(self, states: Mapping[int, Mapping[str, Any]]) -> dict[int, Step | EnvironmentFailed]:
        for i, state in states.items():
            episode = self.episodes[i]
            episode.begin(np.asarray(state["theta"], np.float64), int(state["theta_id"]), int(state["seed"]))
            episode.actions = [np.array(action, np.float32) for action in state["actions"]]
        return self._ask([Order("rebuild", i, (state,)) for i, state in states.items()])

    def close(self) -> None:
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.wait()

    def _busy_with(self, worker: _Worker) -> str:
        slot = worker.under_way
        return f"environment {slot}, in a process of its own: {self.episodes[slot].what()}"

    def _ask(self, orders: Sequence[Order]) -> dict[int, Step | EnvironmentFailed]:
        """What came of orders, by slot; all slots of a worker that has died get the failure of the one under way."""
        if self._asking:  # by Ctrl-C, and what has been asked for would be taken for what is asked for now
            raise UserError("a call of the environments' processes was interrupted; they cannot be used any more")
        self._asking = True
        dealt = [(worker, [order for order in orders if order.slot in worker.slots]) for worker in self._workers]
        for worker, theirs in dealt:
            worker.tell(theirs)
        answers: dict[int, Step | EnvironmentFailed] = {}
        for worker, theirs in dealt:
            answer = worker.hear(functools.partial(self._busy_with, worker))
            if answer is None:
                failure = self.episodes[worker.under_way].failed(worker.ended(), "")
                answers |= {order.slot: failure for order in theirs}
                continue
            for order, done in zip(theirs, answer.done, strict=True):
                answers[order.slot] = done.result
                self.episodes[order.slot].returns = done.returns
        self._asking = False
        return answers
