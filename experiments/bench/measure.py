"""What one workload costs: the update with its parts and peak memory, its steps on the environment, and the machine.

Called by :mod:`experiments.bench` (the update through :mod:`experiments.bench.memory`, in a fresh process) and by
others.
"""

from __future__ import annotations

import dataclasses
import platform
import tempfile
import time
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from experiments.bench.configs import Workload
from experiments.bench.memory import device_peak_bytes, peak_bytes
from experiments.bench.parts import CREDITING, SAMPLING, Stopwatch, watched
from experiments.bench.timing import best_of, stopwatch, timed_updates
from waker.agent.agent import Agent
from waker.collection.synthetic import synthetic_replay
from waker.curriculum import Curriculum
from waker.curriculum.thinning import Thinning
from waker.evaluation.model_error import measured_ids
from waker.machine import arithmetic
from waker.machine.compile_cache import CompileCache
from waker.machine.device import checked_device, use_threads
from waker.replay.feed import Feed
from waker.replay.ring import Replay, record_fields
from waker.storage.tables import Table
from waker.training.build import curriculum_of
from waker.training.update_work import update_work
from waker_envs.api import FiniteThetaSpace

_RING_BYTES = 256 << 20
"""Size of the replay that batches are drawn from when drawing itself is measured: larger than any cache."""

_WARM_UP = {"off": 1, "compile": 5, "reduce-overhead": 5, "graphs": 5}
"""Updates before the timed ones; a compiled update is traced, recorded and tried out in its first few calls."""


class Bench(NamedTuple):
    """What :meth:`waker.training.session.Session.learn` puts together, on synthetic data."""

    agent: Agent
    feed: Feed
    curriculum: Curriculum

    def update(self, watch: Stopwatch | None = None) -> None:
        """Draw a batch, update, credit the curriculum."""
        if watch is None:
            self._credit(self.agent.update(self.feed.next())[0])
            return
        with watch.part(SAMPLING):
            batch = self.feed.next()
        credit = self.agent.update(batch)[0]
        with watch.part(CREDITING):
            self._credit(credit)

    def _credit(self, credit: Any) -> None:
        self.curriculum.observe(credit.theta_id.cpu().numpy(), credit.error.detach().cpu().numpy(), 0)


def build(workload: Workload, device: str, seed: int = 0) -> Bench:
    """Agent, synthetic replay and curriculum of a workload."""
    torch.manual_seed(seed)
    spec, space = workload.resolved()
    config = dataclasses.replace(workload.config, device=device)
    train = config.train
    # Few records: the replay is not what is measured, and would count in the peak memory.
    replay = synthetic_replay(spec, 2, 2 * 2 * train.length, space.size or 1)
    feed = Feed(replay, np.random.default_rng(seed), train.batch, train.length, device)
    curriculum = curriculum_of(config, space, np.random.default_rng(seed))
    return Bench(Agent(spec, config), feed, curriculum)


def measure_update(workload: Workload, device: str = "cpu", updates: int | None = None) -> dict[str, Any]:
    """Time, parts, work, rates and peak memory of updates in this process.

    Args:
        updates: timed updates; None = the workload's own number.

    Raises:
        UserError: a device that is not there, or an environment that cannot be made.
    """
    checked_device(device)
    use_threads(device)
    used, _ = arithmetic.settle(dataclasses.replace(workload.config, device=device))
    before = peak_bytes()
    bench = build(workload, device)
    watch, machine = stopwatch(torch.device(device))
    compiled = workload.config.train.compile
    if compiled != "off":
        CompileCache(workload.config.train.compile_cache).use()  # what a run has compiled need not be compiled again
    # There is nothing inside a compiled graph to label, and labels would break it.
    with nullcontext() if compiled != "off" else watched(bench.agent, watch):
        timing = timed_updates(
            lambda: bench.update(watch), watch, machine, updates or workload.updates, _WARM_UP[compiled]
        )
    memory = {"before_mb": before / 1e6, "peak_mb": peak_bytes() / 1e6}
    if (on_device := device_peak_bytes(torch.device(device))) is not None:
        memory["device_peak_mb"] = (on_device - machine.held_bytes) / 1e6
    work = update_work(bench.agent.spec, bench.agent.config)
    return {
        "update": timing.report(work.flop, work.operations),
        "arithmetic": used,
        "memory": memory,
        "drawing": measure_drawing(workload),
        "crediting": measure_crediting(workload),
    }


def measure_drawing(workload: Workload) -> dict[str, float]:
    """Milliseconds to draw one batch from a ring that no cache holds, and of copying as many bytes."""
    spec, _ = workload.resolved()
    train = workload.config.train
    record = sum(a[0, 0].nbytes for a in Replay(record_fields(spec), 1, 1).arrays.values())
    steps = max(2 * train.length, min(train.replay, _RING_BYTES // record))
    replay = synthetic_replay(spec, 1, steps, 1)
    feed = Feed(replay, np.random.default_rng(0), train.batch, train.length, "cpu")
    size = train.batch * train.length * record
    source, target = np.ones((8, size), np.uint8), np.empty(size, np.uint8)
    at = iter(range(10**9))
    copying = best_of(lambda: np.copyto(target, source[next(at) % 8]), 20)
    return {"ms": 1e3 * best_of(feed.next, 20), "copy_ms": 1e3 * copying, "batch_mb": size / 1e6}


def measure_crediting(workload: Workload, curriculum: str | None = None) -> dict[str, float]:
    """Milliseconds to credit one update's start states, all with a θ, and how many they are."""
    _, space = workload.resolved()
    config = workload.config
    if curriculum is not None:
        config = dataclasses.replace(config, curriculum=dataclasses.replace(config.curriculum, sampler=curriculum))
    starts = Agent.credits(config)
    rng = np.random.default_rng(0)
    ids, errors = rng.integers(space.size or 1, size=starts), rng.exponential(size=starts).astype(np.float32)
    credited = curriculum_of(config, space, rng)
    return {"ms": 1e3 * best_of(lambda: credited.observe(ids, errors, 0), 50), "starts": float(starts)}


def measure_choosing(workload: Workload, curriculum: str, spread: bool) -> dict[str, float]:
    """What a curriculum costs between two updates, once every θ has been credited.

    Args:
        workload: gives the number of θ and of start states.
        curriculum: the sampler.
        spread: whether each start state has a θ of its own choice; else all of a sequence have the same.

    Returns:
        ``ms`` and ``mean_ms`` to credit one update's start states and to draw the next θ, new ones at each of 2,000
        calls: the median, and the mean with the rare calls among them that build something anew; ``mark_ms`` of the
        call at which a sampler that measures reductions takes them.
    """
    _, space = workload.resolved()
    settings = dataclasses.replace(workload.config.curriculum, sampler=curriculum, reduction_start=0)
    config = dataclasses.replace(workload.config, curriculum=settings)
    train, rng = config.train, np.random.default_rng(0)
    size, starts, mark = space.size or 1, Agent.credits(config), settings.reduction_interval
    chosen = curriculum_of(config, space, rng)
    for step in (0, mark):
        chosen.observe(np.arange(size), rng.exponential(size=size).astype(np.float32), step)
    sequences = starts // train.length
    batches = [
        rng.integers(size, size=starts) if spread else rng.integers(size, size=sequences).repeat(train.length)
        for _ in range(64)
    ]
    errors = [rng.exponential(size=len(ids)).astype(np.float32) for ids in batches]
    at = iter(range(10**9))

    def update(step: int) -> None:
        k = next(at) % len(batches)
        chosen.observe(batches[k], errors[k], step)
        chosen.sample(1)

    spent = []
    for _ in range(2_000):
        began = time.thread_time()
        update(mark + 1)
        spent.append(1e3 * (time.thread_time() - began))
    marks = iter(range(2 * mark, 10**9, mark))
    taken = {"ms": float(np.median(spent)), "mean_ms": float(np.mean(spent)), "starts": float(starts)}
    return taken | {"mark_ms": 1e3 * best_of(lambda: update(next(marks)), 1)}


def measure_logging(workload: Workload, curriculum: str, logs: int) -> dict[str, float]:
    """Megabytes that snapshots of a curriculum add to memory between two saves, and what the making of one takes.

    As :class:`waker.training.session.Session` logs them; allocations of Python and numpy are counted.
    """
    _, space = workload.resolved()
    assert isinstance(space, FiniteThetaSpace)
    settings = dataclasses.replace(workload.config.curriculum, sampler=curriculum)
    rng = np.random.default_rng(0)
    chosen = curriculum_of(dataclasses.replace(workload.config, curriculum=settings), space, rng)
    thin = Thinning(space, measured_ids(space))
    shared = {"run": "run", "domain": "domain", "sampler": curriculum, "explorer": "explorer", "seed": 0}
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder) / "curriculum.parquet")

        def log(step: int) -> None:
            chosen.observe(rng.integers(space.size, size=800), rng.exponential(size=800), step)
            table.append(thin(chosen.table()), {**shared, "step": step, "updates": step})

        log(0)
        table.save()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for step in range(1, logs + 1):
                log(step)
            now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        seconds = best_of(lambda: log(logs + 1), 1)
    return {"grown_mb": (now - before) / 1e6, "peak_mb": (peak - before) / 1e6, "ms": 1e3 * seconds}


def machine_of(device: str) -> dict[str, Any]:
    """What figures depend on: processor, threads, device, versions."""
    use_threads(device)
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else arithmetic.processor()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
