"""Functions as one compiled graph: thousands of small kernels cost more than what they compute.

Used by the agent for the whole update with ``train.compile = "compile"`` and ``"reduce-overhead"``, and by
:mod:`waker.graphs` for its parts with ``"graphs"``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def whole(function: Callable[P, R], backend: str = "inductor", mode: str | None = None) -> Callable[P, R]:
    """``function`` compiled as one graph without a break, with whatever gradients it takes.

    A bound method is compiled, not a module: the names of weights in checkpoints stay as they are. Nothing is run to
    warm up, so random generators stay as they are too.

    Args:
        mode: torch.compile's; with ``reduce-overhead`` inductor records its kernels as CUDA graphs, and results are
            good until the next call.

    Raises:
        torch._dynamo.exc.Unsupported: at the first call, where something would break the graph.
    """
    compiled = torch.compile(function, fullgraph=True, backend=backend, mode=mode)
    recorded = mode == "reduce-overhead"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Gradients are taken inside the update, by torch.autograd.grad; dynamo traces that only when told to.
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            if recorded:
                torch.compiler.cudagraph_mark_step_begin()
            return compiled(*args, **kwargs)

    return call


def hold_still(tensors: Iterable[Tensor]) -> None:
    """Promise that these tensors keep their addresses, so that a recording may read and change them in place.

    Without it inductor records nothing of a function that changes its inputs, as an optimiser's step does.
    """
    for tensor in tensors:
        torch._dynamo.mark_static_address(tensor)
