"""Functions as one compiled graph: small operations become few kernels, on a CPU as on a GPU.

Used by the agent and the task adapter for their updates with ``train.compile = "compile"``, and by :mod:`waker.graphs`
for its parts with ``"graphs"``. Whether it pays, and where compiled code is kept, is for :mod:`waker.compile_choice` to
say.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def whole(function: Callable[P, R], backend: str = "inductor", same_chance: bool = False) -> Callable[P, R]:
    """``function`` compiled as one graph without a break, with whatever gradients it takes.

    A bound method is compiled, not a module: the names of weights in checkpoints stay as they are. Nothing is run to
    warm up, so random generators stay as they are too.

    Args:
        backend: of torch.compile.
        same_chance: draw the random numbers that the function draws uncompiled, from torch's generator. On a CPU that
            is as fast as inductor's own counter-based ones, and compiles fewer kernels.

    Raises:
        torch._dynamo.exc.Unsupported: at the first call, where something would break the graph.
    """
    options: dict[str, Any] | None = {"fallback_random": True} if same_chance and backend == "inductor" else None
    compiled = torch.compile(function, fullgraph=True, backend=backend, options=options)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Gradients are taken inside the update, by torch.autograd.grad; dynamo traces that only when told to.
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            return compiled(*args, **kwargs)

    return call
