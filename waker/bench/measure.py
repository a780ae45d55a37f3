"""What one workload costs: the update with its parts and peak memory, its steps on the environment, and the machine.

Called by ``waker bench`` (the update through :mod:`waker.bench.memory`, in a fresh process) and by experiments.
"""

from __future__ import annotations

import dataclasses
import platform
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch

from waker import arithmetic
from waker.agent import Agent
from waker.assembly import checked_device, curriculum_of, use_threads
from waker.bench.configs import Workload, synthetic_replay
from waker.bench.counting import update_work
from waker.bench.memory import device_peak_bytes, peak_bytes
from waker.bench.parts import CREDITING, SAMPLING, Stopwatch, watched
from waker.bench.timing import best_of, stopwatch, timed_updates
from waker.curriculum import Curriculum
from waker.feed import Feed
from waker.replay import Replay, record_fields

_RING_BYTES = 256 << 20
"""Size of the replay that batches are drawn from when drawing itself is measured: larger than any cache."""

_WARM_UP = {"off": 1, "compile": 5, "graphs": 5}
"""Updates before the timed ones; a compiled update is traced, recorded and tried out in its first few calls."""


class Bench(NamedTuple):
    """What :meth:`waker.session.Session.learn` puts together, on synthetic data."""

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
        "update": timing.report(work.flop, work.operations) | work.launched(),
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
