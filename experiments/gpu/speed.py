"""Speed of updates, and of the card's own matrix products, each measured while no other task is."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.bench.configs import Workload
from experiments.bench.measure import Bench, build
from experiments.bench.memory import peak_bytes
from experiments.bench.parts import Clock, clock_for
from experiments.gpu.tasks import PLAIN, sized
from waker.machine import arithmetic
from waker.machine.device import use_threads
from waker.machine.precision import use_tf32
from waker.training.update_work import update_work

Row = dict[str, Any]
Measure = Callable[[], Iterator[Row]]
_SIDE = {"cuda": 8192, "cpu": 512}
_WARM_UP = 4
_LEAST, _MOST, _SECONDS, _QUICK_SECONDS = 5, 100, 1.5, 0.1
"""Timed updates, and how long they are repeated, usually and in quick runs."""
_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
_KERNELS_SHOWN = 12


def card(device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool) -> Measure:
    """The device's rates: products in each precision, a copy, and a chain of tiny operations."""
    use_threads(device)
    place = torch.device(device)
    clock, side = clock_for(place), _SIDE[place.type]
    a, b = (torch.rand(side, side, device=place) for _ in range(2))
    tiny = torch.zeros(16, device=place)
    span = _QUICK_SECONDS if quick else _SECONDS
    (a @ b).sum().item()

    def measure() -> Iterator[Row]:
        for precision in ("fp32",) if quick else ("fp32", "tf32", "bf16"):
            use_tf32(precision == "tf32")
            kind = torch.bfloat16 if precision == "bf16" else torch.float32
            x, y = a.to(kind), b.to(kind)
            out = torch.empty_like(x)
            seconds = np.median(seconds_of(lambda x=x, y=y, out=out: torch.mm(x, y, out=out), clock, span))  # type: ignore[misc]
            yield {"what": "matrix product", "precision": precision, "gflops": 2e-9 * side**3 / seconds, "side": side}
        out = torch.empty_like(a)
        seconds = np.median(seconds_of(lambda: out.copy_(a), clock, span))
        yield {"what": "copy, bytes read and written", "gb_per_s": 2e-9 * a.nbytes / seconds}
        seconds = np.median(seconds_of(lambda: _chain(tiny), clock, span))
        yield {"what": "tiny operation in a chain", "us": 1e6 * seconds / 1000}

    return measure


def _chain(x: Tensor) -> None:
    for _ in range(1000):
        torch.add(x, x)


def seconds_of(function: Callable[[], object], clock: Clock, span: float = _SECONDS) -> list[float]:
    """Seconds of each of several calls in a row, repeated for ``span`` seconds or so, on the device's own clock."""
    function()
    clock.settle()
    started = time.perf_counter()
    spans: list[tuple[Any, Any]] = []
    while len(spans) < _LEAST or (len(spans) < _MOST and time.perf_counter() - started < span):
        mark = clock.mark()
        function()
        spans.append((mark, clock.mark()))
        if len(spans) % _LEAST == 0:
            clock.settle()  # or the host would go on for minutes before the device has done a second's work
    clock.settle()
    return [clock.between(*span).wall for span in spans]


def work(device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool) -> Measure:
    """Floating-point operations of an update of one size, and operations that the host dispatches."""

    def measure() -> Iterator[Row]:
        chosen = sized(name, "off", "fp32")
        spec, _ = chosen.resolved()
        found = update_work(spec, chosen.config)
        yield {"size": name, "gflop": 1e-9 * found.flop, "operations": found.operations}

    return measure


def speed(device: str, name: str, ways: tuple[str, ...], precisions: tuple[str, ...], quick: bool) -> Measure:
    """Milliseconds, launches, kernel time and memory of updates of one size, for each way and precision."""
    use_threads(device)
    if torch.device(device).type != "cuda":
        ways = tuple(way for way in ways if way != "graphs")  # nothing is recorded there
    pairs = [(way, precision) for precision in precisions for way in ways]
    torch.zeros(1, device=device)
    if all(way in PLAIN for way in ways):
        span = _QUICK_SECONDS if quick else _SECONDS
        return lambda: (measured(Update(sized(name, *pair), device), name, *pair, span) for pair in pairs)
    assert len(pairs) == 1, "compiled updates have a process each"
    started = time.monotonic()
    update = Update(sized(name, *pairs[0]), device)
    update.warm_up()
    first = time.monotonic() - started

    def measure() -> Iterator[Row]:
        yield {**measured(update, name, *pairs[0]), "first_updates_s": round(first, 1)}

    return measure


class Update:
    """One agent's updates on one batch that lies on the device."""

    def __init__(self, workload: Workload, device: str) -> None:
        self.device = torch.device(device)
        arithmetic.settle(dataclasses.replace(workload.config, device=device))
        self.bench: Bench = build(workload, device)
        self.batch = self.bench.feed.next()

    def __call__(self) -> None:
        """One update; its results stay on the device."""
        self.bench.agent.update(self.batch)

    def warm_up(self) -> None:
        """Let libraries choose kernels, and the update be compiled and recorded."""
        for _ in range(_WARM_UP):
            self()
        clock_for(self.device).settle()


def measured(update: Update, size: str, way: str, precision: str, span: float = _SECONDS) -> Row:
    """One row of the table."""
    started = time.monotonic()
    update.warm_up()
    ready = time.monotonic() - started
    clock = clock_for(update.device)
    wall = time.perf_counter()
    seconds = seconds_of(update, clock, span)
    wall = (time.perf_counter() - wall) / (len(seconds) + 1)
    row = {
        "size": size,
        "way": way,
        "precision": precision,
        "updates": len(seconds),
        "ms": 1e3 * float(np.median(seconds)),
        "ms_low": 1e3 * float(np.quantile(seconds, 0.1)),
        "ms_high": 1e3 * float(np.quantile(seconds, 0.9)),
        "wall_ms": 1e3 * wall,
        "warm_up_s": round(ready, 1),
        "finite": bool(torch.isfinite(torch.stack([p.sum() for p in update.bench.agent.model.parameters()])).all()),
        "host_peak_mb": peak_bytes() / 1e6,
    }
    if update.device.type == "cuda":
        row |= {
            "device_reserved_mb": torch.cuda.max_memory_reserved(update.device) / 1e6,
            "device_allocated_mb": torch.cuda.max_memory_allocated(update.device) / 1e6,
        }
        try:
            row |= profiled(update)
        except RuntimeError as error:  # a profiler that is not there takes nothing from the figures above
            row["profile_failed"] = " ".join(str(error).split())[:200]
        del update
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return row


def profiled(update: Update, updates: int = 2) -> Row:
    """Launches and kernels of an update, the time that kernels take, and the longest kernels."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize(update.device)
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(updates):
            update()
        torch.cuda.synchronize(update.device)
    launches, kernels, busy, longest = 0, 0, 0.0, []
    for event in trace.key_averages():
        if event.key.startswith(("cuda", "cu")) and event.self_device_time_total == 0:
            launches += event.count * event.key.startswith(_LAUNCHES)
            continue
        if event.self_device_time_total > 0:
            kernels += event.count
            busy += event.self_device_time_total
            longest.append((event.self_device_time_total, event.count, event.key))
    longest.sort(reverse=True)
    return {
        "launches": launches / updates,
        "kernels": kernels / updates,
        "kernel_ms": 1e-3 * busy / updates,
        "longest": [
            {"ms": 1e-3 * us / updates, "calls": count / updates, "kernel": name[:100]}
            for us, count, name in longest[:_KERNELS_SHOWN]
        ],
    }
