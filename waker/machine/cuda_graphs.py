"""A function recorded once as a CUDA graph and replayed: one launch in place of thousands.

With ``train.compile = "graphs"`` a whole update is recorded, its optimisers' steps included. At the first call it is
warmed up, which libraries need before they may be recorded; the weights, moments and random generators that this
changed are put back, so neither can tell how often it was. From then on a call copies new inputs into the recorded
buffers and replays. The kernels are those of the uncompiled update, in the same order, so results are the same bits.
Called by :func:`waker.machine.compile.prepared`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from waker.seeding import preserved_torch

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
WARM_UP = 3
"""Calls before a recording, in which libraries choose kernels and allocate workspaces."""


class Recorder(Protocol):
    """Records what a function of nothing does to the device."""

    def warm_up(self, function: Callable[[], object]) -> None:
        """Call ``function`` :data:`WARM_UP` times where it will be recorded."""

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """How to do it again, and the function's result, whose tensors each repetition fills anew."""


class CudaRecorder:
    """CUDA graphs, each with a memory pool of its own, on one side stream."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # cuBLAS keeps a workspace for each stream: the one warmed up must be the one recorded.
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, function: Callable[[], object]) -> None:
        """Call ``function`` on the side stream."""
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                function()
        here.wait_stream(self._stream)

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """Capture one call, which computes nothing yet; the generator's offset is read and moved on by each replay."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self._stream):
            outputs = function()
        return graph.replay, outputs


@functools.cache
def recorder_for(device: torch.device) -> Recorder | None:
    """The device's recorder, one for the process; None where nothing can be recorded.

    cuBLAS keeps a workspace for each stream it has been used on (tens of megabytes): all recordings share one.
    """
    return CudaRecorder(device) if device.type == "cuda" else None


class Buffers:
    """Tensors at fixed addresses for one nest of inputs, made at its first arrival."""

    def __init__(self) -> None:
        self._signature: tuple[Any, ...] | None = None
        self._leaves: list[Any] = []

    def take(self, nest: T) -> T:
        """The same nest with every tensor copied into its buffer.

        Raises:
            ValueError: another structure, shape, type, device or plain value than at the first arrival.
        """
        leaves, structure = pytree.tree_flatten(nest)
        signature = (structure, *map(_kind, leaves))
        if self._signature is None:
            self._leaves = [x.clone() if isinstance(x, Tensor) else x for x in leaves]
            self._signature = signature
        elif signature != self._signature:
            pairs = zip(self._signature, signature, strict=False)
            then, now = next(((x, y) for x, y in pairs if x != y), ("fewer inputs", "more"))
            raise ValueError(f"what is recorded takes inputs of one shape: {then} at first, {now} now")
        else:
            for buffer, leaf in zip(self._leaves, leaves, strict=True):
                if isinstance(leaf, Tensor):
                    buffer.copy_(leaf)
        return cast(T, pytree.tree_unflatten(self._leaves, structure))


def _kind(leaf: Any) -> object:
    """What must not change about an input: a tensor's shape, type and device, or the value itself."""
    return (tuple(leaf.shape), leaf.dtype, str(leaf.device)) if isinstance(leaf, Tensor) else leaf


class Recorded(Generic[P, R]):
    """A function of nests of tensors, recorded at its first call.

    Results are the recorded tensors themselves: good until the next call, and to be copied by whoever keeps them.

    Args:
        function: must not read a value back to the host, nor change anything but tensors in place and torch's
            generator.
        held: the tensors that the function changes, its arguments aside.
    """

    def __init__(self, function: Callable[P, R], recorder: Recorder, held: Callable[[], Iterable[Tensor]]) -> None:
        self._function, self._recorder, self._held = function, recorder, held
        self._inputs = Buffers()
        self._replay: Callable[[], None] | None = None
        self._results: tuple[list[Any], Any] = ([], None)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result for these inputs.

        Raises:
            ValueError: inputs unlike those of the first call; see :meth:`Buffers.take`.
        """
        args, kwargs = self._inputs.take((args, kwargs))
        if self._replay is None:
            self._replay = self._record(lambda: self._function(*args, **kwargs))
        self._replay()
        # A fresh nest each time: a caller may add to a dict of it.
        return cast(R, pytree.tree_unflatten(*self._results))

    @torch.no_grad()
    def _put_back(self, before: list[Tensor]) -> None:
        for tensor, value in zip(self._held(), before, strict=True):
            tensor.copy_(value)

    def _record(self, call: Callable[[], R]) -> Callable[[], None]:
        before = [tensor.detach().clone() for tensor in self._held()]
        with preserved_torch():
            self._recorder.warm_up(call)
        self._put_back(before)
        replay, outputs = self._recorder.record(call)
        self._results = pytree.tree_flatten(outputs)
        return replay
