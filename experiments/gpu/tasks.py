"""What is to be found out, as tasks that run in processes of their own, and the sizes and ways they are made of.

A task is prepared beside others (libraries, compiling) and measured alone. A crash, a hang or a spoilt CUDA context is
one task's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.bench.configs import WORKLOADS, Workload, changed, workload

SIZES = {"laptop": "laptop-grid", "small": "small-walker", "default": "default", "paper": "paper-walker"}
"""Size → workload of :mod:`experiments.bench.configs`, imagined in one piece (``behaviour.chunk = 0``)."""
GIGABYTES = {"laptop": 1.5, "small": 5.0, "default": 6.0, "paper": 16.0}
"""Memory of the device that one process of a size is expected to hold while it waits."""
PRECISIONS = ("fp32", "tf32", "bf16")
PLAIN = ("off", "graphs")
"""Values of ``train.compile`` that are ready in seconds."""
COMPILED = ("reduce-overhead", "compile")
"""Values that compile for minutes first."""
QUICK = "tiny"


@dataclass(frozen=True)
class Task:
    """One process.

    Attributes:
        part: ``card``, ``checks``, ``speed``, ``work``, ``run``, ``loop`` or ``render``.
        name: what it does in that part: a check's name, a size.
        ways, precisions: values of ``train.compile`` and ``train.precision``; each pair is measured.
        waits: prepared first, then measured alone; others run as soon as they may.
        seconds: the longest its second half may take.
        gigabytes: of the device's memory.
    """

    part: str
    name: str
    ways: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    waits: bool = False
    seconds: float = 60.0
    gigabytes: float = 1.0

    @property
    def label(self) -> str:
        """For people and file names."""
        return "-".join((self.part, self.name, *self.ways, *(self.precisions if len(self.precisions) == 1 else ())))


def sized(size: str, way: str, precision: str) -> Workload:
    """The workload of a size, with its start states in one piece: chunks are for a processor's caches."""
    name = SIZES.get(size, size)
    assert name in WORKLOADS
    return changed(workload(name), way, precision, chunk=0)  # type: ignore[arg-type]


CHECKS = ("reference", "bf16", "synchronisation", "recorded", "resume", "draws")
"""Checks beside the ones of compiled updates, in :mod:`experiments.gpu.checks`."""


def all_tasks(parts: tuple[str, ...], quick: bool) -> list[Task]:
    """The tasks of the parts asked for, the most important first."""
    return [task for task in (_quick() if quick else _whole()) if task.part in parts]


def _quick() -> Iterator[Task]:
    yield Task("checks", "all")
    yield Task("speed", QUICK, PLAIN, ("fp32",), waits=True)
    yield Task("card", "peak", waits=True)
    yield Task("work", QUICK)
    yield Task("loop", QUICK, ("off",), ("fp32",), waits=True)
    yield Task("render", "cleanup", waits=True)
    yield Task("run", "both", waits=True)


def _whole() -> Iterator[Task]:
    yield Task("card", "peak", waits=True, gigabytes=2.0)
    yield from _compiled("laptop", ("fp32",))
    yield from (Task("checks", name) for name in CHECKS)
    for size, gigabytes in GIGABYTES.items():
        yield Task("speed", size, PLAIN, PRECISIONS, waits=True, seconds=90, gigabytes=gigabytes)
    yield Task("loop", "laptop", PLAIN, ("fp32",), waits=True)
    yield Task("render", "cleanup", waits=True)
    yield Task("run", "both", waits=True, seconds=100)
    yield from (Task("checks", "compiled", (way,)) for way in COMPILED)
    yield from (Task("work", size) for size in SIZES)
    yield from _compiled("laptop", ("bf16", "tf32"))
    for size in ("default", "small", "paper"):
        yield from _compiled(size, ("tf32", "bf16", "fp32"))


def _compiled(size: str, precisions: tuple[str, ...]) -> Iterator[Task]:
    """Updates that compile first, a process each."""
    for precision in precisions:
        for way in COMPILED:
            yield Task("speed", size, (way,), (precision,), waits=True, gigabytes=GIGABYTES[size])
