"""How much work an update is, without doing it: floating-point operations and dispatched operations.

The agent is built on torch's ``meta`` device, so the count takes seconds at any size and is the same on every machine.
(The host may dispatch a percent more or fewer operations: whether a view needs a copy is a matter of strides.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from waker.agent.agent import Agent
from waker.collection.synthetic import synthetic_replay
from waker.config.schema import Config
from waker.machine.operations import OperationCounter
from waker.specs import EnvSpec


@dataclass(frozen=True)
class Work:
    """Work of one update.

    Attributes:
        flop: as :mod:`torch.utils.flop_counter` counts it (matmuls and convolutions, forward and backward, a
            multiplication and an addition as two).
        operations: dispatched by the host, one by one. (On a device an operation is a kernel, or none where it is a
            view, or several where it is for a list of tensors.)
    """

    flop: float
    operations: int


class _NoModules:
    """In place of the flop counter's tracker of modules: that one hooks every module's inputs, which fails where an
    input is a leaf of its own gradient, and per-module counts are not wanted."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


def work_of(function: Callable[[], object]) -> Work:
    """The work of one call."""
    flops, counter = FlopCounterMode(display=False), OperationCounter()
    flops.mod_tracker = _NoModules()  # type: ignore[assignment]
    # The innermost mode sees an operation first: what the flop counter takes apart is not counted twice.
    with flops, counter:
        function()
    return Work(float(flops.get_total_flops()), counter.operations)


def update_work(spec: EnvSpec, config: Config) -> Work:
    """The work of one :meth:`waker.agent.agent.Agent.update` on a batch of the configuration's shape, in float32."""
    train = replace(config.train, compile="off", precision="fp32")
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        agent = Agent(spec, replace(config, train=train), "meta")
    replay = synthetic_replay(spec, 1, train.length, 1)
    drawn = replay.sample(np.random.default_rng(0), train.batch, train.length)
    batch = {name: torch.from_numpy(array).to("meta") for name, array in drawn.items()}
    return work_of(lambda: agent.update(batch))


def adaptation_flop(spec: EnvSpec, config: Config) -> float:
    """FLOP of all of ``train.adapt_updates``: task policies from the frozen model; 0 where there is none."""
    train = replace(config.train, compile="off", precision="fp32")
    if train.task_policies != "after" or not train.adapt_updates:
        return 0.0
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        adapter = Agent(spec, replace(config, train=train), "meta").start_adaptation()
    drawn = synthetic_replay(spec, 1, train.length, 1).sample(np.random.default_rng(0), train.adapt_batch, train.length)
    batch = {name: torch.from_numpy(array).to("meta") for name, array in drawn.items()}
    heads = min(train.adapt_heads, train.adapt_updates)
    first = work_of(lambda: adapter.update(batch)).flop if heads else 0.0
    adapter.updates = train.adapt_heads  # from here on policies learn as well
    rest = work_of(lambda: adapter.update(batch)).flop if train.adapt_updates > heads else 0.0
    return heads * first + (train.adapt_updates - heads) * rest
