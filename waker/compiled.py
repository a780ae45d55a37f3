"""Functions as one compiled graph, for GPUs, where thousands of small kernels cost more than what they compute.

Used by the agent for the whole update with ``train.compile = "compile"``, and by :mod:`waker.graphs` for its parts with
``"graphs"``. Traced and compared with the eager update on the CPU; its speed on a GPU has not been measured. It is no
gain on a CPU, where compiling takes minutes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def whole(function: Callable[P, R], backend: str = "inductor") -> Callable[P, R]:
    """``function`` compiled as one graph without a break, with whatever gradients it takes.

    A bound method is compiled, not a module: the names of weights in checkpoints stay as they are. Nothing is run to
    warm up, so random generators stay as they are too.

    Raises:
        torch._dynamo.exc.Unsupported: at the first call, where something would break the graph.
    """
    compiled = torch.compile(function, fullgraph=True, backend=backend)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Gradients are taken inside the update, by torch.autograd.grad; dynamo traces that only when told to.
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            return compiled(*args, **kwargs)

    return call
