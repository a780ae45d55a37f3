"""Parts of an update recorded once as CUDA graphs and replayed: one launch for thousands of kernels.

With ``train.compile = "graphs"`` an update is cut where optimisers step, into :class:`Segment`\\ s that only compute:
gradients, metrics, and tensors for the segments after them. Each is compiled, warmed up and recorded at its first call;
from then on a call copies new inputs into the recorded buffers and replays. Optimiser steps stay outside. A segment
changes nothing but the random generator, which warming up puts back, so neither weights nor random streams can tell
how often a segment was warmed up. Used by the agent and the task adapter; written from torch's documentation and
tested with a recorder for the CPU, never run on a CUDA device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from waker.compiled import whole
from waker.seeding import preserved_torch

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
WARM_UP = 3
"""Calls before a recording: the first compiles, later ones let libraries choose kernels and allocate workspaces."""


class Recorder(Protocol):
    """Records what a function of nothing does to the device."""

    def warm_up(self, function: Callable[[], object]) -> None:
        """Call ``function`` a few times where it will be recorded."""

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """How to do it again, and the function's result, whose tensors each repetition fills anew."""


class CudaRecorder:
    """CUDA graphs that share one private memory pool and one side stream.

    A pool may be shared because the segments of an update never run side by side, and whatever one hands to another
    is held by its :class:`Segment` and so never given to a later recording.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # cuBLAS keeps a workspace for each stream: the one warmed up must be the one recorded.
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Callable[[], object]) -> None:
        """Call ``function`` :data:`WARM_UP` times on the side stream."""
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                function()
        here.wait_stream(self._stream)

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """Capture one call, which computes nothing yet; the generator's offset is read and moved on by each replay."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = function()
        return graph.replay, outputs


class Buffers:
    """Tensors at fixed addresses for one nest of inputs, made at its first arrival.

    Args:
        name: for messages.
        fixed: ids of tensors that lie at fixed addresses already, shared by the segments of one update: what one hands
            to the next is taken as it is.
    """

    def __init__(self, name: str, fixed: set[int]) -> None:
        self.name, self._fixed = name, fixed
        self._signature: tuple[Any, ...] | None = None
        self._leaves: list[Any] = []

    def take(self, nest: T) -> T:
        """The same nest with every tensor in its buffer.

        Raises:
            ValueError: another structure, shape, type, device or plain value than at the first arrival.
        """
        leaves, structure = pytree.tree_flatten(nest)
        signature = (structure, *map(_kind, leaves))
        if self._signature is None:
            self._leaves = [x.clone() if isinstance(x, Tensor) and id(x) not in self._fixed else x for x in leaves]
            self._signature = signature
            fix(self._fixed, self._leaves)
        elif signature != self._signature:
            pairs = zip(self._signature, signature, strict=False)
            then, now = next(((x, y) for x, y in pairs if x != y), ("fewer inputs", "more"))
            raise ValueError(f"{self.name}: a recorded update takes inputs of one shape: {then} at first, {now} now")
        for buffer, leaf in zip(self._leaves, leaves, strict=True):
            if isinstance(leaf, Tensor) and leaf is not buffer:
                buffer.copy_(leaf)
        return cast(T, pytree.tree_unflatten(self._leaves, structure))


def fix(fixed: set[int], leaves: list[Any]) -> None:
    """Note that these tensors stay where they are (whoever holds ``fixed`` holds them)."""
    fixed.update(id(x) for x in leaves if isinstance(x, Tensor))


def _kind(leaf: Any) -> object:
    """What must not change about an input: a tensor's shape, type and device, or the value itself."""
    return (tuple(leaf.shape), leaf.dtype, str(leaf.device)) if isinstance(leaf, Tensor) else leaf


class Segment(Generic[P, R]):
    """A function of nests of tensors, recorded at its first call.

    Results are the recorded tensors themselves: good until the next call, and to be copied by whoever keeps them.

    Args:
        name: for messages.
        function: must change nothing but the random generator, and must not read a value back to the host.
        recorder: None = call the function each time.
        fixed: see :class:`Buffers`.
    """

    def __init__(self, name: str, function: Callable[P, R], recorder: Recorder | None, fixed: set[int]) -> None:
        self.name, self._function, self._recorder, self._fixed = name, function, recorder, fixed
        self._inputs = Buffers(name, fixed)
        self._replay: Callable[[], None] | None = None
        self._results: tuple[list[Any], Any] = ([], None)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result for these inputs.

        Raises:
            ValueError: inputs unlike those of the first call; see :meth:`Buffers.take`.
        """
        if self._recorder is None:
            return self._function(*args, **kwargs)
        args, kwargs = self._inputs.take((args, kwargs))
        if self._replay is None:
            self._replay = self._record(self._recorder, lambda: self._function(*args, **kwargs))
        self._replay()
        # A fresh nest each time: a caller may add to a dict of it.
        return cast(R, pytree.tree_unflatten(*self._results))

    def _record(self, recorder: Recorder, call: Callable[[], R]) -> Callable[[], None]:
        with preserved_torch():
            recorder.warm_up(call)
        replay, outputs = recorder.record(call)
        self._results = pytree.tree_flatten(outputs)
        fix(self._fixed, self._results[0])
        return replay


class Segments:
    """How the parts of one update are run: called with a name and a function, it returns what to call instead.

    Args:
        choice: ``train.compile``; but for ``graphs`` and ``capture`` the function itself is returned.
        device: recorded on CUDA only; elsewhere segments are compiled and called.
        backend: of torch.compile with ``graphs``; None = do not compile.
        recorder: None = the device's own.
    """

    def __init__(
        self,
        choice: str,
        device: torch.device,
        backend: str | None = "inductor",
        recorder: Recorder | None = None,
    ) -> None:
        self._cut, self._recorder = choice in ("graphs", "capture"), recorder
        self._backend = backend if choice == "graphs" else None
        if self._cut and recorder is None and device.type == "cuda":
            self._recorder = CudaRecorder(device)
        self._fixed: set[int] = set()
        self._batch = Buffers("batch", self._fixed)

    def __call__(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        if not self._cut:
            return function
        compiled = function if self._backend is None else whole(function, self._backend)
        return Segment(name, compiled, self._recorder, self._fixed)

    def hold(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The batch where recordings read it, copied once for all segments; as it is where nothing is recorded."""
        return self._batch.take(batch) if self._cut and self._recorder is not None else batch
