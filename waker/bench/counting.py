"""How much work an update is, without doing it: floating-point operations and dispatched operations.

The agent is built on torch's ``meta`` device, so the count takes seconds at any size and is the same on every machine.
(The host may dispatch a percent more or fewer operations: whether a view needs a copy is a matter of strides.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from waker.agent import Agent
from waker.bench.configs import synthetic_replay
from waker.config import Config
from waker.graphs import Segments
from waker.spaces import EnvSpec

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Work:
    """Work of one update.

    Attributes:
        flop: as :mod:`torch.utils.flop_counter` counts it (matmuls and convolutions, forward and backward, a
            multiplication and an addition as two).
        operations: dispatched by the host, one by one. (On a device an operation is a kernel, or none where it is a
            view, or several where it is for a list of tensors.)
        segments: of these, those inside each part that ``train.compile = "graphs"`` records.
        replays, outside: what the host launches where those parts are recorded: replays of graphs, and operations
            dispatched between them (the batch's copy, the optimisers).
    """

    flop: float
    operations: int
    segments: dict[str, int] = field(default_factory=dict)
    replays: int = 0
    outside: int = 0

    def launched(self) -> dict[str, Any]:
        """The launches, for a record."""
        return {"segments": self.segments, "launches": {"replays": self.replays, "operations": self.outside}}


class OperationCounter(TorchDispatchMode):
    """Counts the operations dispatched inside its ``with`` block, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


class _NoModules:
    """In place of the flop counter's tracker of modules: that one hooks every module's inputs, which fails where an
    input is a leaf of its own gradient, and per-module counts are not wanted."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


def work_of(function: Callable[[], object], counter: OperationCounter | None = None) -> Work:
    """The work of one call, counted by ``counter`` where one is given."""
    flops, counter = FlopCounterMode(display=False), counter or OperationCounter()
    flops.mod_tracker = _NoModules()  # type: ignore[assignment]
    # The innermost mode sees an operation first: what the flop counter takes apart is not counted twice.
    with flops, counter:
        function()
    return Work(float(flops.get_total_flops()), counter.operations)


class _Counted(Segments):
    """Segments as they are recorded, on the ``meta`` device: the operations of each counted at its first call.

    There is nothing to compute again there, so a replay only counts itself.
    """

    def __init__(self, counter: OperationCounter) -> None:
        super().__init__("graphs", torch.device("meta"), backend=None, recorder=self)
        self.counter, self.operations, self.replays = counter, dict[str, int](), 0

    def __call__(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            before = self.counter.operations
            result = function(*args, **kwargs)
            self.operations[name] = self.counter.operations - before
            return result

        return super().__call__(name, call)

    def warm_up(self, function: Callable[[], object]) -> None:
        """Nothing is to be warmed up."""

    def record(self, function: Callable[[], R]) -> tuple[Callable[[], None], R]:
        """The function's result."""
        return self._replay, function()

    def _replay(self) -> None:
        self.replays += 1


def update_work(spec: EnvSpec, config: Config) -> Work:
    """The work of one :meth:`waker.agent.Agent.update` on a batch of the configuration's shape, in float32."""
    train, counter = replace(config.train, compile="off", precision="fp32"), OperationCounter()
    segments = _Counted(counter)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        agent = Agent(spec, replace(config, train=train), "meta", lambda: segments)
    replay = synthetic_replay(spec, 1, train.length, 1)
    drawn = replay.sample(np.random.default_rng(0), train.batch, train.length)
    batch = {name: torch.from_numpy(array).to("meta") for name, array in drawn.items()}
    flop = work_of(lambda: agent.update(batch), counter).flop
    segments.replays = 0
    outside = work_of(lambda: agent.update(batch)).operations  # all is recorded by now
    # An update that is not recorded makes no copy of its batch.
    operations = sum(segments.operations.values()) + outside - len(batch)
    return Work(flop, operations, segments.operations, segments.replays, outside)
