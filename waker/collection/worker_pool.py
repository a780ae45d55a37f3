"""Environment slots in worker processes: commands go to all workers, then all replies are awaited.

Made by :func:`waker.collection.slot_group.slot_group` where ``train.env_processes`` asks for it: worth it when
environments take most of a run's time, rendering above all, and there are cores to spare. Every number is the same as
in one process.

Observations come back through the worker's pipe. An image of 64 × 64 pixels takes some 10 µs longer than through
shared memory, of the milliseconds that drawing it takes. Training's workers wait idly, and keep their memory, while
there is nothing to collect: in an evaluation, and while policies are trained afterwards.
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

from waker.collection.episode import EnvironmentFailed, Episode, Play
from waker.collection.family import Family
from waker.collection.slot import Step
from waker.collection.slot_group import Actions, SlotGroup
from waker.collection.worker import SIGNALS, Closed, Command, Reply, work
from waker.errors import UserError
from waker_envs.foreign import Failed, waiting

# Not fork: a child would have this process's GL context and torch's and Mesa's threads in name only, and wait for
# them for ever.
_CONTEXT = get_context("spawn")
_PATIENCE = 3.0
"""Seconds a worker has to close its environments before it is killed."""


class _Worker:
    """A process and the slots it owns."""

    def __init__(self, family: Family, env_kwargs: Mapping[str, Any], raw: bool, slots: Sequence[int]) -> None:
        self.slots, self.cpu_seconds = tuple(slots), 0.0
        self._under_way = _CONTEXT.RawValue(c_int, self.slots[0])
        self._pipe, theirs = _CONTEXT.Pipe()
        make = functools.partial(family.make, **env_kwargs)
        args = (theirs, self._under_way, make, family.spec, raw, self.slots)
        self._process = _CONTEXT.Process(target=work, args=args, name="environments")
        try:
            _start(self._process)
        finally:
            theirs.close()  # or this process would keep the worker's end open when the worker has died

    def startup_error(self) -> str | None:
        """Wait until its environments are made; why they cannot be."""
        try:
            with waiting(f"the constructor of environments {self.slots}, in a process of their own"):
                reason: str | None = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return self.exit_reason()
        return reason

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands; a worker that has died is noticed when its reply is awaited."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(commands)

    def receive(self, what: Callable[[], str]) -> Reply | None:
        """Wait for the reply to the commands; None if the worker has died.

        Args:
            what: describes what it is busy with, for a message if it takes long.
        """
        try:
            with waiting(what):
                reply: Reply = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return None
        self.cpu_seconds = reply.cpu_seconds
        return reply

    @property
    def under_way(self) -> int:
        """The slot it is busy with; between commands, the newest it was."""
        return int(self._under_way.value)

    def exit_reason(self) -> str:
        """How a worker that has died ended."""
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with {code}"
        slots = ", ".join(map(str, self.slots))
        return f"the process of environment{'s' if len(self.slots) > 1 else ''} {slots} {how}"

    def stop(self) -> None:
        """Let it close its environments and end."""
        with suppress(OSError):  # it has died, or it has been stopped before
            self._pipe.send(None)

    def wait(self) -> None:
        """Wait until it has ended, and kill it if that takes too long; warn of what it could not close."""
        with suppress(EOFError, OSError):
            while self._pipe.poll(_PATIENCE):
                if isinstance(last := self._pipe.recv(), Closed):  # not the reply to a call that was interrupted
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


class SlotProcesses(SlotGroup):
    """A group dealt round robin to worker processes.

    Args:
        family: its factory must be picklable: a class, a function of a module, a :func:`functools.partial` of these.
        slots: in all.
        processes: workers; no more than there are slots are started.
        env_kwargs, raw: see :func:`~waker.collection.slot_group.slot_group`.

    Raises:
        UserError: an environment cannot be made there.
    """

    def __init__(self, family: Family, slots: int, processes: int, env_kwargs: Mapping[str, Any], raw: bool) -> None:
        # Kept here as the workers keep theirs: a worker that dies takes nothing along.
        self._plays = [Play(family.spec) for _ in range(slots)]
        self._workers: list[_Worker] = []
        self._waiting = False
        # Before multiprocessing's own exit handler, which would wait for the workers for ever.
        atexit.register(self.close)
        try:
            for first in range(count := min(processes, slots)):
                self._workers.append(_Worker(family, env_kwargs, raw, range(first, slots, count)))
            for worker in self._workers:
                if (reason := worker.startup_error()) is not None:
                    given = f" with {dict(env_kwargs)}" if env_kwargs else ""
                    raise UserError(f"{family.spec.env_id} cannot be made{given} in a process of its own: {reason}")
        except BaseException:
            self.close()
            raise

    @property
    def plays(self) -> Sequence[Play]:
        return self._plays

    @property
    def cpu_seconds(self) -> float:
        return sum(worker.cpu_seconds for worker in self._workers)

    def attempt(self, starts: Mapping[int, Episode], actions: Actions) -> dict[int, Step | EnvironmentFailed]:
        if self._waiting:  # Ctrl-C came, and the reply would be taken for that to the next commands
            raise UserError("a call of the environments' processes was interrupted; they cannot be used any more")
        self._waiting = True
        commands = []
        for i in sorted({*starts, *actions}):
            if i in starts:
                self._plays[i].begin(starts[i])
            else:
                self._plays[i].actions.append(actions[i].copy())
            commands.append(Command(i, starts[i] if i in starts else actions[i]))
        dealt = [(worker, [c for c in commands if c.slot in worker.slots]) for worker in self._workers]
        for worker, theirs in dealt:
            if theirs:
                worker.send(theirs)
        found = {i: step for worker, theirs in dealt if theirs for i, step in self._received(worker, theirs).items()}
        self._waiting = False
        return {i: found[i] for i in sorted(found)}

    def close(self) -> None:
        atexit.unregister(self.close)
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.wait()

    def _received(self, worker: _Worker, commands: Sequence[Command]) -> dict[int, Step | EnvironmentFailed]:
        """By slot; all slots of a worker that has died get the failure of the one under way."""
        reply = worker.receive(functools.partial(self._busy_with, worker))
        if reply is None:
            failure = self._plays[worker.under_way].failed(worker.exit_reason(), "")
            return {command.slot: failure for command in commands}
        for command, result in zip(commands, reply.results, strict=True):
            self._plays[command.slot].returns = result.returns
        return {c.slot: result.step for c, result in zip(commands, reply.results, strict=True)}

    def _busy_with(self, worker: _Worker) -> str:
        slot = worker.under_way
        return f"environment {slot}, in a process of its own: {self._plays[slot].what()}"
