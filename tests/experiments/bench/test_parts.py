"""Where time goes: with clocks that tick only when told, so that every charge is exact."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch

import waker.agent.agent
from experiments.bench.parts import (
    CREDITING,
    ENSEMBLE,
    IMAGINATION,
    MODEL,
    OPTIMISER,
    POLICIES,
    REST,
    SAMPLING,
    CpuClock,
    CudaClock,
    Span,
    Stopwatch,
    clock_for,
    replaced,
    watched,
)
from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.behaviour import policy_learner
from waker.machine.operations import OperationCounter


class Ticking:
    """A clock that stands still but for :meth:`tick`; ``cpu`` runs at half the speed."""

    def __init__(self) -> None:
        self.now = 0.0

    def tick(self, seconds: float) -> None:
        self.now += seconds

    def mark(self) -> float:
        return self.now

    def between(self, start: float, end: float) -> Span:
        return Span(end - start, (end - start) / 2)

    def settle(self) -> None:
        pass


class Operations(Ticking):
    """A clock whose time is the number of operations dispatched so far."""

    def __init__(self, counter: OperationCounter) -> None:
        super().__init__()
        self.counter = counter

    def mark(self) -> float:
        return float(self.counter.operations)


def test_every_moment_is_charged_to_the_innermost_label() -> None:
    clock = Ticking()
    watch = Stopwatch(clock)
    with watch.part("outer"):
        clock.tick(1)
        with watch.part("inner"):
            clock.tick(10)
        clock.tick(100)
        with watch.part("outer"):
            clock.tick(1000)
    assert watch.take() == {"outer": Span(1101, 550.5), "inner": Span(10, 5)}


def test_what_no_label_holds_is_left_out() -> None:
    clock = Ticking()
    watch = Stopwatch(clock)
    for _ in range(2):
        with watch.part("a"):
            clock.tick(1)
        clock.tick(50)
    assert watch.take() == {"a": Span(2, 1)}
    assert watch.take() == {}


def test_an_error_closes_its_label() -> None:
    clock = Ticking()
    watch = Stopwatch(clock)

    def failing() -> None:
        clock.tick(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watch.labelled("a", failing)()
    clock.tick(5)
    with watch.part("b"):
        clock.tick(2)
    assert watch.take() == {"a": Span(1, 0.5), "b": Span(2, 1)}


def test_an_interlude_is_charged_to_nobody() -> None:
    clock = Ticking()
    done: list[int] = []

    def interlude() -> bool:
        if len(done) < 2:
            clock.tick(1000)
            done.append(1)
            return True
        return False

    watch = Stopwatch(clock, interlude)
    with watch.part("outer"):
        clock.tick(1)
        with watch.part("inner"):
            clock.tick(2)
        clock.tick(4)
    assert len(done) == 2
    assert watch.take() == {"outer": Span(5, 2.5), "inner": Span(2, 1)}


@contextmanager
def _nothing() -> Any:
    yield


@pytest.mark.parametrize("recipe", ["tiny", "authors", "laptop"])
@pytest.mark.parametrize("after", [False, True], ids=["online", "after"])
def test_the_parts_of_an_update_leave_little_over(recipe: str, after: bool) -> None:
    """In dispatched operations, which no other process disturbs: at least 95 % has a name."""
    spec = tiny_spec(discrete=recipe != "authors")
    agent = Agent(spec, tiny_config(recipe, after=after))
    batch = tiny_batch(spec, 3, 6)
    with OperationCounter() as counter:
        watch = Stopwatch(Operations(counter))
        with watched(agent, watch):
            agent.update(batch)
    spent = {part: span.wall for part, span in watch.take().items()}
    assert sum(spent.values()) == counter.operations
    assert spent[REST] <= 0.05 * counter.operations
    assert set(spent) == {MODEL, IMAGINATION, POLICIES, ENSEMBLE, OPTIMISER, REST}
    assert min(spent.values()) > 0
    assert not {SAMPLING, CREDITING} & set(spent)


def test_a_watched_agent_is_itself_again() -> None:
    spec = tiny_spec()
    agent, before = Agent(spec, tiny_config()), (policy_learner.imagine, waker.agent.agent.start_states)
    holders: list[Any] = [agent, agent.model, agent.policy_learner, agent.ensemble, agent.model_optimizer]
    own = [set(vars(holder)) for holder in holders]
    with watched(agent, Stopwatch(CpuClock())):
        assert policy_learner.imagine is not before[0]
    assert [set(vars(holder)) for holder in holders] == own
    assert (policy_learner.imagine, waker.agent.agent.start_states) == before


def test_watching_changes_no_number() -> None:
    spec, batch = tiny_spec(), tiny_batch(tiny_spec())

    def update(watch: bool) -> torch.Tensor:
        torch.manual_seed(0)
        agent = Agent(spec, tiny_config())
        with watched(agent, Stopwatch(CpuClock())) if watch else _nothing():
            return agent.update(batch)[0].error

    assert torch.equal(update(True), update(False))


def test_a_replaced_attribute_comes_back() -> None:
    class Thing:
        def method(self) -> int:
            return 1

    thing = Thing()
    thing.value = 3  # type: ignore[attr-defined]
    with replaced(thing, "method", lambda: 2), replaced(thing, "value", 4):
        assert (thing.method(), thing.value) == (2, 4)  # type: ignore[attr-defined]
    assert (thing.method(), thing.value) == (1, 3)  # type: ignore[attr-defined]
    assert vars(thing) == {"value": 3}


def test_a_device_has_its_own_clock() -> None:
    assert isinstance(clock_for(torch.device("cpu")), CpuClock)
    clock = clock_for(torch.device("cuda:1"))
    assert isinstance(clock, CudaClock)
    assert clock.device == torch.device("cuda:1")
