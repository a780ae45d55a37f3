"""Time of updates beside the machine's own speed, measured in between: what is kept is their ratio.

Processors wander by a third between minutes, and neighbours come and go. So large matrix products and tiny operations
are timed again and again while updates run, inside long updates too, and every update is held against the samples
around it.

The peak is the processor's, not a library's: of oneDNN, torch's BLAS and numpy's BLAS, at a few shapes, the fastest is
found at the start and sampled from then on. Any one of them may keep to instructions of half the width (MKL on other
makers' processors), and a fraction of it would say nothing about the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from experiments.bench.parts import PARTS, REST, Clock, Span, Stopwatch, clock_for
from waker.machine.products import has_onednn, times

_SHAPES = ((1024, 1024, 1024), (4096, 256, 256), (2048, 512, 512))
"""Rows, inputs and outputs of the products that are tried on a CPU: libraries have their best at different ones."""
_DEVICE_SHAPE = (8192, 8192, 8192)
_ROUNDS = 7
"""Times each is tried, in turn."""
_SAMPLE_S = 0.1
"""Seconds of matrix products in a sample."""
_SMALL_CALLS = 2_000
"""Tiny operations in a sample."""


@dataclass(frozen=True)
class Product:
    """A matrix product that one library can be asked for again and again.

    Attributes:
        library: for people.
        call: makes it.
        flop: a multiplication and an addition as two.
        bytes: of its matrices.
    """

    library: str
    call: Callable[[], object]
    flop: float
    bytes: int


def products_of(shape: tuple[int, int, int], device: torch.device) -> list[Product]:
    """The product of (rows, inputs) and (inputs, outputs) by every library there is on ``device``.

    numpy's BLAS counts only while torch has one thread: it has threads of its own, as many as ``OMP_NUM_THREADS`` says.
    """
    rows, inputs, outputs = shape
    a, b = torch.rand(rows, inputs, device=device), torch.rand(inputs, outputs, device=device)
    out = torch.empty(rows, outputs, device=device)
    flop, held = 2.0 * rows * inputs * outputs, a.nbytes + b.nbytes + out.nbytes
    if device.type != "cpu":
        return [Product("torch's BLAS", lambda: torch.mm(a, b, out=out), flop, held)]
    blas = "MKL" if torch.backends.mkl.is_available() else "torch's BLAS"
    found = [Product(blas, lambda: torch.mm(a, b, out=out), flop, held)]
    if has_onednn():
        found.append(Product("oneDNN", lambda: times(a, b), flop, held))
    if torch.get_num_threads() == 1:
        x, y, z = a.numpy(), b.numpy(), out.numpy()
        found.append(Product("numpy's BLAS", lambda: np.matmul(x, y, out=z), flop, held))
    return found


@dataclass
class Machine:
    """Samples of what the machine can do, at most one every ``every`` seconds.

    Attributes:
        gflops: rates of the products, one :class:`Span` of GFLOP/s a sample (by the wall, and by processor seconds).
        small: seconds of one tiny operation, likewise.
        library: who makes the products: the fastest of those there are.
        tried: the best rate of each library in GFLOP/s, when the fastest was looked for.
    """

    device: torch.device
    clock: Clock
    every: float = 1.0
    gflops: list[Span] = field(default_factory=list)
    small: list[Span] = field(default_factory=list)
    library: str = field(init=False)
    tried: dict[str, float] = field(init=False)
    _next: float = 0.0

    def __post_init__(self) -> None:
        self._small = torch.zeros(16, device=self.device)
        self._sums()  # libraries set themselves up at their first call
        products = [p for shape in self._shapes() for p in products_of(shape, self.device)]
        clock = int(counts_processor_time(self.device))  # of a Span: the wall, or the processor
        rounds = [[self._timed(p.call)[clock] for p in products] for _ in range(_ROUNDS + 1)][1:]
        rates = [1e-9 * p.flop / max(min(s), 1e-9) for p, s in zip(products, zip(*rounds, strict=True), strict=True)]
        self.tried = dict.fromkeys((p.library for p in products), 0.0)
        for product, rate in zip(products, rates, strict=True):
            self.tried[product.library] = max(rate, self.tried[product.library])
        self._product = products[int(np.argmax(rates))]
        self.library = self._product.library
        self._repeats = max(1, round(_SAMPLE_S * 1e9 * max(rates) / self._product.flop))

    def _shapes(self) -> tuple[tuple[int, int, int], ...]:
        return _SHAPES if self.device.type == "cpu" else (_DEVICE_SHAPE,)

    @torch.no_grad()
    def _sums(self) -> None:
        for _ in range(_SMALL_CALLS):
            torch.add(self._small, self._small)

    def _timed(self, function: Callable[[], object], repeats: int = 1) -> Span:
        start = self.clock.mark()
        for _ in range(repeats):
            function()
        end = self.clock.mark()
        self.clock.settle()
        return self.clock.between(start, end)

    @property
    def held_bytes(self) -> int:
        """Memory of the device that its matrices hold all the time."""
        return self._product.bytes + self._small.nbytes

    def sample(self) -> None:
        """Take one sample."""
        took = self._timed(self._product.call, self._repeats)
        work = 1e-9 * self._product.flop * self._repeats
        # By processor time a device is idle; the rate is then infinite, and not used (see `Timing`).
        self.gflops.append(Span(work / took.wall, work / max(took.cpu, 1e-9)))
        took = self._timed(self._sums)
        self.small.append(Span(took.wall / _SMALL_CALLS, took.cpu / _SMALL_CALLS))
        self._next = time.perf_counter() + self.every

    def sample_if_due(self) -> bool:
        """Take a sample if the last is old enough; whether it did."""
        if time.perf_counter() < self._next:
            return False
        self.sample()
        return True


@dataclass(frozen=True)
class Timing:
    """Timed updates.

    Attributes:
        updates: seconds of each, by part.
        around: for each, the range of samples of the machine before, during and after it.
        by_cpu: ratios are of processor seconds (one thread: what other processes take away does not count), else of
            the wall's (several threads; a device).
    """

    updates: Sequence[dict[str, Span]]
    around: Sequence[slice]
    machine: Machine
    by_cpu: bool

    def seconds(self) -> list[Span]:
        """Of each update."""
        return [sum(parts.values(), Span(0.0, 0.0)) for parts in self.updates]

    def report(self, flop: float, operations: int) -> dict[str, Any]:
        """Medians over updates: time by part, achieved rates, and their ratios to what the machine could do.

        Args:
            flop, operations: of one update (:mod:`waker.training.update_work`).
        """
        spans, gflop = self.seconds(), 1e-9 * flop
        wall, cpu = (float(np.median([s[i] for s in spans])) for i in (0, 1))
        used = [s.cpu if self.by_cpu else s.wall for s in spans]
        peaks = [s.cpu if self.by_cpu else s.wall for s in self.machine.gflops]
        smalls = [s.cpu if self.by_cpu else s.wall for s in self.machine.small]
        rate, peak = gflop / float(np.median(used)), float(np.median(peaks))
        small = float(np.median(smalls))
        each = [gflop / t / float(np.median(peaks[at])) for t, at in zip(used, self.around, strict=True)]
        low, high = np.quantile(each, [0.1, 0.9])
        return {
            "updates": len(spans),
            "ms": 1e3 * wall,
            "cpu_seconds": cpu,
            "ms_low": 1e3 * float(np.quantile([s.wall for s in spans], 0.1)),
            "ms_high": 1e3 * float(np.quantile([s.wall for s in spans], 0.9)),
            "parts": self._parts(),
            "gflop": gflop,
            "operations": operations,
            "clock": "cpu" if self.by_cpu else "wall",
            "gflops": rate,
            "peak_library": self.machine.library,
            "peak_tried": self.machine.tried,
            "peak_gflops": peak,
            "peak_gflops_low": float(np.min(peaks)),
            "peak_gflops_high": float(np.max(peaks)),
            "peak_samples": len(peaks),
            "fraction_of_peak": float(np.median(each)),
            "fraction_low": float(low),
            "fraction_high": float(high),
            "small_operation_us": 1e6 * small,
            "time_per_operation": float(np.median(used)) / (operations * small),
        }

    def _parts(self) -> dict[str, dict[str, float]]:
        """Mean milliseconds and processor seconds of each part, and its share of the whole (they sum to 1)."""
        nothing = Span(0.0, 0.0)
        total = sum((s.wall for s in self.seconds()), 0.0)
        found: dict[str, dict[str, float]] = {}
        for part in PARTS:
            mine = sum((u.get(part, nothing) for u in self.updates), nothing)
            n = len(self.updates)
            found[part] = {"ms": 1e3 * mine.wall / n, "cpu_seconds": mine.cpu / n, "share": mine.wall / total}
        return found


def timed_updates(
    update: Callable[[], object], watch: Stopwatch, machine: Machine, updates: int, warm_up: int = 1
) -> Timing:
    """Time ``updates`` calls, their parts labelled by ``watch`` (what is not is :data:`~experiments.bench.parts.REST`).

    Args:
        warm_up: calls before, not timed: the first touches fresh memory everywhere.
    """
    for _ in range(warm_up):
        update()
    watch.take()
    machine.gflops.clear()
    machine.small.clear()
    machine.sample()
    spent, around = [], []
    for _ in range(updates):
        first = len(machine.gflops) - 1
        with watch.part(REST):
            update()
        spent.append(watch.take())
        machine.sample_if_due()
        around.append(slice(first, len(machine.gflops) + 1))
    machine.sample()
    return Timing(spent, around, machine, counts_processor_time(machine.device))


def counts_processor_time(device: torch.device) -> bool:
    """Whether ratios are of processor seconds: on one thread, where other processes' time then does not count."""
    return device.type == "cpu" and torch.get_num_threads() == 1


def best_of(function: Callable[[], object], calls: int, rounds: int = 7) -> float:
    """Seconds of one call: the best mean of ``rounds`` rounds, as :mod:`timeit` advises for short functions."""
    means = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        means.append((time.perf_counter() - start) / calls)
    return min(means)


def stopwatch(device: torch.device, every: float = 1.0) -> tuple[Stopwatch, Machine]:
    """A stopwatch for ``device`` that samples the machine while updates are under way.

    Not inside an update on a device: its stream would be drained in the middle of it.
    """
    clock = clock_for(device)
    machine = Machine(device, clock, every)
    return Stopwatch(clock, machine.sample_if_due if device.type == "cpu" else None), machine
