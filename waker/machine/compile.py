"""How an update is run: operation by operation, as one compiled graph, or recorded once and replayed.

Small operations cost more to start than to compute. :func:`prepared` makes of a function what ``train.compile`` asks
for; the agent calls it for its update, the task adapter for its two, a player for its step. Whether compiling pays,
and where compiled code is kept, is for :mod:`waker.training.compile_choice` to say.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

import einops
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from waker.machine.cuda_graphs import Recorded, Recorder, recorder_for

P = ParamSpec("P")
R = TypeVar("R")


def prepared(
    function: Callable[P, R],
    choice: str,
    device: torch.device,
    held: Callable[[], Iterable[Tensor]],
    recorder: Recorder | None = None,
) -> Callable[P, R]:
    """``function`` as ``train.compile`` wants it run.

    Args:
        function: must not read a value back to the host, nor change anything but tensors in place and torch's
            generator.
        choice: ``off``, ``compile``, ``reduce-overhead`` or ``graphs`` (which is ``off`` where there is no CUDA).
        held: the tensors that the function reads or changes in place, its arguments aside.
        recorder: for ``graphs``; None = the device's own.
    """
    if choice == "compile":
        return whole(function, same_chance=device.type == "cpu")
    if choice == "reduce-overhead":
        hold_still(held())
        return whole(function, record=True)
    if choice == "graphs" and (recorder := recorder or recorder_for(device)) is not None:
        return Recorded(function, recorder, held)
    return function


def whole(
    function: Callable[P, R], backend: str = "inductor", same_chance: bool = False, record: bool = False
) -> Callable[P, R]:
    """``function`` compiled as one graph without a break, with whatever gradients it takes.

    A bound method is compiled, not a module: the names of weights in checkpoints stay as they are. Nothing is run to
    warm up, so random generators stay as they are too.

    Args:
        backend: of torch.compile.
        same_chance: draw the random numbers that the function draws uncompiled, from torch's generator. On a CPU that
            is as fast as inductor's own counter-based ones, and compiles fewer kernels.
        record: let inductor record its kernels as CUDA graphs (what torch.compile's mode ``reduce-overhead`` does).
            Results are copies then: inductor's own are gone with the next recorded call of whatever function.

    Raises:
        torch._dynamo.exc.Unsupported: at the first call, where something would break the graph.
    """
    _leave_einops_whole()
    asked = {"fallback_random": same_chance, "triton.cudagraphs": record}
    options: dict[str, Any] = {k: v for k, v in asked.items() if v and backend == "inductor"}
    compiled = torch.compile(function, fullgraph=True, backend=backend, options=options or None)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Gradients are taken inside the update, by torch.autograd.grad; dynamo traces that only when told to.
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            if not record:
                return compiled(*args, **kwargs)
            torch.compiler.cudagraph_mark_step_begin()
            return cast(
                R, pytree.tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, compiled(*args, **kwargs))
            )

    return call


@functools.cache
def _leave_einops_whole() -> None:
    """Let ``rearrange`` and ``repeat`` stand in a graph as they are.

    Traced, the reading of their patterns was four fifths and more of the time that a graph takes before it is
    compiled. What they do depends on shapes and patterns alone, and torch's caches know them both.
    """
    for operation in (einops.rearrange, einops.repeat):
        torch.compiler.allow_in_graph(operation)


def hold_still(tensors: Iterable[Tensor]) -> None:
    """Promise that these tensors keep their addresses, so that a recording may read and change them in place.

    Without it inductor records nothing of a function that changes its inputs, as an optimiser's step does.
    """
    for tensor in tensors:
        torch._dynamo.mark_static_address(tensor)
