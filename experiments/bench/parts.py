"""Where the time of an update goes: methods of the learner labelled from outside, for the time of a measurement.

A :class:`Stopwatch` keeps one label at a time and charges every moment to exactly one of them, so parts never overlap
and always sum to the whole. What no label names is ``rest``; it should stay under 5 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

import waker.agent.agent
from waker.agent.agent import Agent
from waker.behaviour import policy_learner
from waker.model.optim import Adam

MODEL, IMAGINATION, POLICIES, ENSEMBLE = "model", "imagination", "actor-critics", "ensemble"
OPTIMISER, SAMPLING, CREDITING, REST = "optimiser", "sampling a batch", "crediting", "rest"
PARTS = (MODEL, IMAGINATION, POLICIES, ENSEMBLE, OPTIMISER, SAMPLING, CREDITING, REST)
"""``model``: filtering, losses and their backward pass. ``imagination``: the rollout and the heads read on it, forward.
``actor-critics``: values, returns, losses, and the backward pass, through the imagined dynamics where there is one.
``ensemble``: its loss, backward pass and disagreement (forward). ``optimiser``: clipping and Adam of all of them.
``sampling a batch``, ``crediting``: what the training loop does around an update."""
_OUTSIDE, _INTERLUDE = "", "interlude"
F = TypeVar("F", bound=Callable[..., Any])


class Span(NamedTuple):
    """Seconds between two marks: by the wall (the device's own, on CUDA), and of this process's threads on the CPU."""

    wall: float
    cpu: float

    def __add__(self, other: tuple[Any, ...]) -> Span:
        return Span(self.wall + other[0], self.cpu + other[1])


class Clock(Protocol):
    """Marks moments cheaply; spans between marks may be asked for after :meth:`settle`."""

    def mark(self) -> Any:
        """This moment."""

    def between(self, start: Any, end: Any) -> Span:
        """Seconds from one mark to another."""

    def settle(self) -> None:
        """Wait until everything marked has happened."""


class CpuClock:
    """The host's clocks."""

    def mark(self) -> tuple[float, float]:
        """This moment."""
        return time.perf_counter(), time.process_time()

    def between(self, start: tuple[float, float], end: tuple[float, float]) -> Span:
        """Seconds from one mark to another."""
        return Span(end[0] - start[0], end[1] - start[1])

    def settle(self) -> None:
        """Nothing to wait for."""


class CudaClock:
    """CUDA events on a device's current stream: what it was busy with, whatever the host had already gone on to."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> tuple[torch.cuda.Event, float]:
        """This moment in the stream, and the host's processor time."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event, time.process_time()

    def between(self, start: tuple[torch.cuda.Event, float], end: tuple[torch.cuda.Event, float]) -> Span:
        """Seconds from one mark to another."""
        return Span(1e-3 * start[0].elapsed_time(end[0]), end[1] - start[1])

    def settle(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self.device)


def clock_for(device: torch.device) -> Clock:
    """The clock that tells the truth about work on ``device``."""
    return CudaClock(device) if device.type == "cuda" else CpuClock()


class Stopwatch:
    """Charges time to the innermost label.

    Args:
        clock: see :class:`Clock`.
        interlude: called wherever a label changes inside a label (measures the machine while an update is under way);
            its time is charged to nobody. It returns whether it did anything.
    """

    def __init__(self, clock: Clock, interlude: Callable[[], bool] | None = None) -> None:
        self.clock, self._interlude = clock, interlude
        self._labels = [_OUTSIDE]
        self._marks: list[tuple[Any, str]] = []  # from each mark on, time is charged to its label

    @contextmanager
    def part(self, label: str) -> Iterator[None]:
        """Charge the block to ``label``, but for what inner blocks charge."""
        self._labels.append(label)
        self._turn()
        try:
            yield
        finally:
            self._labels.pop()
            self._turn()

    def labelled(self, label: str, function: F) -> F:
        """``function``, its calls charged to ``label``."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.part(label):
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    def _turn(self) -> None:
        here = self.clock.mark()
        label = self._labels[-1]
        if label != _OUTSIDE and self._interlude is not None and self._interlude():
            self._marks.append((here, _INTERLUDE))
            here = self.clock.mark()
        self._marks.append((here, label))

    def take(self) -> dict[str, Span]:
        """Seconds by label since the last call (call it outside every label); interludes and gaps are left out."""
        self.clock.settle()
        spent: dict[str, Span] = {}
        for (start, label), (end, _) in zip(self._marks, self._marks[1:], strict=False):
            if label not in (_OUTSIDE, _INTERLUDE):
                spent[label] = spent.get(label, Span(0.0, 0.0)) + self.clock.between(start, end)
        self._marks = []
        return spent


@contextmanager
def watched(agent: Agent, watch: Stopwatch) -> Iterator[None]:
    """Label the parts of ``agent``'s update while the block runs; afterwards it is as it was."""
    learner, ensemble = agent.policy_learner, agent.ensemble
    places: list[tuple[Any, str, str]] = [
        (agent, "update", REST),
        (agent.model, "loss", MODEL),
        (learner, "gradients", POLICIES),
        (learner, "step", POLICIES),
        (policy_learner, "imagine", IMAGINATION),
        (waker.agent.agent, "start_states", IMAGINATION),
        (waker.agent.agent, "task_rewards", IMAGINATION),
        (agent.model, "continue_probability", IMAGINATION),
        (ensemble, "loss", ENSEMBLE),
        (ensemble, "intrinsic_reward", ENSEMBLE),
        (ensemble, "disagreement", ENSEMBLE),
        (ensemble, "predict_steps", ENSEMBLE),
        (agent, "_replayed_credit", ENSEMBLE),
    ]
    owners = {MODEL: agent.model_optimizer, ENSEMBLE: agent.ensemble_optimizer}
    optimisers = [*owners.items(), *((POLICIES, value) for value in vars(learner).values() if isinstance(value, Adam))]
    for label, optimiser in optimisers:
        places += [(optimiser, "gradients", label), (optimiser, "apply", OPTIMISER)]
    with ExitStack() as stack:
        for owner, name, label in places:
            stack.enter_context(replaced(owner, name, watch.labelled(label, getattr(owner, name))))
        yield


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """``owner.name`` is ``value`` while the block runs; a method comes from its class again afterwards."""
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
