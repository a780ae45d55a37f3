"""The environment alone, and the whole training loop: steps per second, and how much of the time the learner has.

The loop is made of the same :class:`~waker.training.session.Session` as a real run, in a temporary folder, without
evaluation.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.configs import Workload
from experiments.bench.parts import Span, Stopwatch, clock_for, replaced
from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.collection.make_env import close, made
from waker.collection.slot import Slot
from waker.evaluation.records import Measurement
from waker.machine import arithmetic
from waker.machine.device import use_threads
from waker.storage.run_folder import RunFolder
from waker.terminal.progress import Progress
from waker.training.build import parts_of
from waker.training.session import Session

LEARNER, SAMPLING, CREDITING, ENVIRONMENTS, COLLECTING, REST = (
    "learner",
    "sampling a batch",
    "crediting",
    "environments",
    "collecting",
    "rest",
)
"""``environments``: steps and resets, or waiting for the processes that make them; ``collecting``: the policy's call
and everything else of a tick; ``rest``: logs and the loop itself."""
_RING = 20_000
"""Records the replay holds, at most: a benchmark needs no more memory than that."""


def measure_environment(workload: Workload, seconds: float = 2.0) -> dict[str, float]:
    """Steps per second of one environment under uniform random actions, resets included.

    Raises:
        UserError: it cannot be made.
        EnvironmentFailed: it failed (no renderer, say).
    """
    family = Family.of(workload.config)
    rng = np.random.default_rng(0)
    slot = Slot(made(family.make, family.spec.env_id), family.spec)

    def reset() -> None:
        slot.reset(Episode(family.space.sample(rng, 1)[0], -1, int(rng.integers(2**31))))

    try:
        reset()  # the first builds what later ones reuse
        steps, episodes, start = 0, 0, time.perf_counter()
        actions = family.spec.action.random(rng, 1024)
        while (took := time.perf_counter() - start) < seconds or not steps:
            step = slot.step(actions[steps % 1024])
            steps += 1
            if step.ended:
                episodes += 1
                reset()
    finally:
        close(slot.env, family.spec.env_id)
    return {"steps_per_second": steps / took, "steps": float(steps), "episodes": float(episodes)}


def measure_loop(workload: Workload, device: str = "cpu", updates: int | None = None) -> dict[str, Any]:
    """Run the training loop for so many updates, after its random prefill, and say who had the time.

    Args:
        updates: None = the workload's own number.

    Returns:
        ``steps_per_second``, ``updates``, and the ``shares`` of the time by label.

    Raises:
        UserError: the environment cannot be made.
        EnvironmentFailed: it failed.
    """
    config, count = workload.config, updates or workload.loop_updates
    train = config.train
    prefill = max(train.envs * train.length, 2 * train.envs)
    train = dataclasses.replace(
        train,
        prefill=prefill,
        steps=prefill + round((count + 1) * train.train_every),
        replay=max(min(train.replay, _RING), train.envs * train.length),
        save_every=10**9,
    )
    config = dataclasses.replace(config, device=device, train=train, sinks=("jsonl",))
    use_threads(device)
    arithmetic.settle(config)
    family = Family.of(config)
    parts = parts_of(config, family, lambda learner: Measurement())
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.open(Path(folder) / "run", config, family.space.names, family.spec.tasks, family.spaces)
        session = Session(parts, run, Progress("bench", train.steps, quiet=True))
        try:
            return _run(session, count)
        finally:
            session.close()


def _run(session: Session, updates: int) -> dict[str, Any]:
    """The loop's blocks, collect and learn, until ``updates`` have been timed."""

    def advance(until: int) -> None:
        while session.updates < until:
            if session.learning_due:
                session.learn()
            else:
                session.collect()

    advance(1)  # prefill, and the first update, which touches fresh memory everywhere
    watch = Stopwatch(clock_for(session.feed.device))
    step = session.step
    with ExitStack() as stack:
        for owner, name, label in (
            (session.agent, "update", LEARNER),
            (session.feed, "next", SAMPLING),
            (session.curriculum, "observe", CREDITING),
            (session.collector, "tick", COLLECTING),
            (session.collector.slots, "advance", ENVIRONMENTS),
        ):
            stack.enter_context(replaced(owner, name, watch.labelled(label, getattr(owner, name))))
        start = time.perf_counter()
        with watch.part(REST):
            advance(1 + updates)
        took = time.perf_counter() - start
    spent = watch.take()
    total = sum(spent.values(), Span(0.0, 0.0)).wall
    labels = (LEARNER, SAMPLING, CREDITING, ENVIRONMENTS, COLLECTING, REST)
    return {
        "updates": updates,
        "steps": session.step - step,
        "steps_per_second": (session.step - step) / took,
        "shares": {label: spent.get(label, Span(0.0, 0.0)).wall / total for label in labels},
    }
