"""Where the runs of a study are computed: here, on a Ray cluster, or in jobs of Slurm.

A launcher is given a command and a file for its output, and hands back a :class:`Job`. The command is ``waker train``,
which goes on where it was stopped; so a job that was lost is simply given again. Ray and submitit are optional packages
(in a clone ``pip install -e '.[ray]'``, ``'.[slurm]'``), imported only where they are asked for.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from waker.errors import UserError
from waker.terminal.children import environment_of_child


class Job(Protocol):
    """One command under way."""

    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs or waits for its turn."""

    def stop(self, number: int) -> None:
        """Pass a signal on: SIGTERM and SIGINT let a run save, SIGKILL ends it."""


class Launcher(Protocol):
    """Starts commands."""

    def start(self, command: Sequence[str], log: Path) -> Job:
        """Start a command whose output is appended to ``log``."""


class Local:
    """Processes of this machine."""

    def start(self, command: Sequence[str], log: Path) -> Job:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment_of_child(),
                # A group of its own: Ctrl-C reaches it once, from the sweep, and not a second time from the terminal.
                process_group=0,
            )
        return _Child(child)


class _Child:
    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def code(self) -> int | None:
        return self._child.poll()

    def stop(self, number: int) -> None:
        if self._child.poll() is None:
            self._child.send_signal(number)


def run_command(command: Sequence[str], log: str) -> int:
    """Run a command to its end, on whatever machine this is called; signals are passed on to it.

    So is the warning that a job's time is nearly over (SIGUSR2, which submitit has Slurm send 90 seconds before): as a
    SIGTERM, so that the run saves.

    Returns:
        Its exit code.
    """
    begun: list[Job] = []
    early: list[int] = []  # signals from before there was anything to pass them on to

    def pass_on(received: int, frame: object) -> None:
        received = signal.SIGTERM if received == signal.SIGUSR2 else received
        if begun:
            begun[0].stop(received)
        else:
            early.append(received)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        try:
            signal.signal(number, pass_on)
        except ValueError:  # not in the main thread of a worker: then nobody sends signals to it
            break
    job = Local().start(command, Path(log))
    assert isinstance(job, _Child)
    begun.append(job)
    for received in early:
        job.stop(received)
    return job._child.wait()


class Ray:
    """Tasks of a Ray cluster; of this machine where no cluster is given by ``RAY_ADDRESS``.

    Args:
        jobs: tasks at a time on this machine; None = as many as it has cores for.
        cpus, gpus: of one task. Ray hides GPUs from a task that has none.
    """

    def __init__(self, jobs: int | None = None, cpus: int = 1, gpus: int = 0) -> None:
        self._ray = _needed("ray", "ray")
        if not self._ray.is_initialized():
            cores = None if jobs is None else jobs * cpus
            here = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": cores, "include_dashboard": False}
            self._ray.init(log_to_driver=False, **here)
        self._task = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_command)

    def start(self, command: Sequence[str], log: Path) -> Job:
        return _RayJob(self._ray, self._task.remote(list(command), str(log.resolve())))


class _RayJob:
    def __init__(self, ray: ModuleType, reference: Any) -> None:
        self._ray, self._reference = ray, reference
        self._stopped = 0

    def code(self) -> int | None:
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            return int(self._ray.get(self._reference))
        except self._ray.exceptions.RayError:  # cancelled, or its worker is lost
            return -(self._stopped or signal.SIGKILL)

    def stop(self, number: int) -> None:
        self._stopped = number
        self._ray.cancel(self._reference, force=number == signal.SIGKILL)


class Slurm:
    """Jobs of a Slurm cluster through submitit; files of the queue go to ``folder``.

    Args:
        partition, minutes, memory_gb, cpus, gpus: of one job.
        cluster: "slurm", or "local" for processes of this machine through the same machinery.
    """

    def __init__(
        self,
        folder: Path,
        partition: str | None = None,
        minutes: int = 720,
        memory_gb: int = 8,
        cpus: int = 1,
        gpus: int = 0,
        cluster: str = "slurm",
    ) -> None:
        submitit = _needed("submitit", "slurm")
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        except RuntimeError as error:  # no srun: this is no machine of a cluster
            raise UserError(f"no Slurm here: {error}; --dry shows what would be submitted") from error
        self._executor.update_parameters(**_asked(minutes, memory_gb, cpus, gpus))
        if partition:
            self._executor.update_parameters(slurm_partition=partition)

    def start(self, command: Sequence[str], log: Path) -> Job:
        return _SlurmJob(self._executor.submit(run_command, list(command), str(log.resolve())))


def sbatch_file(
    folder: Path, partition: str | None = None, minutes: int = 720, memory_gb: int = 8, cpus: int = 1, gpus: int = 0
) -> str:
    """What :class:`Slurm` hands to ``sbatch`` for each job, written by submitit; nothing is made or submitted.

    Args: as of :class:`Slurm`. This needs no Slurm.

    Raises:
        UserError: submitit is not installed.
    """
    _needed("submitit", "slurm")
    executor: Any = importlib.import_module("submitit.slurm.slurm").SlurmExecutor

    class Anywhere(executor):
        @classmethod
        def affinity(cls) -> int:
            return 1

    written = Anywhere(folder)
    written.update_parameters(**written._convert_parameters(_asked(minutes, memory_gb, cpus, gpus)))
    if partition:
        written.update_parameters(partition=partition)
    return str(written._make_submission_file_text(written._submitit_command_str, "%j")).strip()


def _asked(minutes: int, memory_gb: int, cpus: int, gpus: int) -> dict[str, Any]:
    return {
        "timeout_min": minutes,
        "mem_gb": memory_gb,
        "cpus_per_task": cpus,
        "gpus_per_node": gpus,
        "name": "waker",
    }


class _SlurmJob:
    def __init__(self, job: Any) -> None:
        self._job = job
        self._stopped = 0

    def code(self) -> int | None:
        if not self._job.done():
            return None
        try:
            return int(self._job.result())
        except Exception:  # noqa: BLE001 - cancelled, timed out, lost: submitit has a kind of error for each
            return -(self._stopped or signal.SIGKILL)

    def stop(self, number: int) -> None:
        self._stopped = number
        self._job.cancel()


def _needed(package: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(f"the launcher needs {package}: in the clone of waker, pip install -e '.[{extra}]'") from None
