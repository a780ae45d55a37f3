"""Recorded updates, with a recorder that repeats functions on the CPU as a CUDA graph would on its device.

CUDA's own part (streams, memory pools, kernels that refuse to be captured) is checked where there is a GPU: the tests
marked ``cuda``, and ``make gpu``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.loggers.means import Means
from waker.machine.compile import prepared
from waker.machine.cuda_graphs import WARM_UP, Recorded, recorder_for

T = TypeVar("T")
CPU = torch.device("cpu")


class Repeating:
    """Records a call by keeping the function: a replay computes it again, into the tensors of the first result.

    Recording computes nothing, as a capture does not: the results hold NaN until the first replay.

    Attributes:
        held: what recorded functions change, so that recording them can be undone.
    """

    def __init__(self) -> None:
        self.warmed, self.replays = 0, 0
        self.held: Callable[[], list[Tensor]] = list

    def warm_up(self, function: Callable[[], object]) -> None:
        for _ in range(WARM_UP):
            function()
            self.warmed += 1

    @torch.no_grad()
    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        state, before = torch.get_rng_state(), copy.deepcopy(self.held())
        with torch.enable_grad():
            outputs = function()
        torch.set_rng_state(state)
        for tensor, value in zip(self.held(), before, strict=True):
            tensor.copy_(value)
        results = [x for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor)]
        for x in results:
            if x.is_floating_point() and x._base is None:
                x.fill_(torch.nan)

        def replay() -> None:
            self.replays += 1
            found = [x for x in pytree.tree_leaves(function()) if isinstance(x, Tensor)]
            for target, value in zip(results, found, strict=True):
                target.copy_(value)

        return replay, outputs


def recorded(function: Callable[..., T], *held: Tensor) -> tuple[Recorded[..., T], Repeating]:
    recorder = Repeating()
    recorder.held = lambda: list(held)
    return Recorded(function, recorder, lambda: held), recorder


def test_inputs_and_results_stay_where_they_are() -> None:
    seen: list[Tensor] = []

    def double(x: Tensor) -> Tensor:
        seen.append(x)
        return 2.0 * x

    part, recorder = recorded(double)
    given = torch.tensor([1.0, 2.0])
    first = part(given)
    assert first.tolist() == [2.0, 4.0]
    assert part(torch.tensor([3.0, 5.0])) is first
    assert first.tolist() == [6.0, 10.0]
    assert {x.data_ptr() for x in seen} == {seen[0].data_ptr()} != {given.data_ptr()}
    assert given.tolist() == [1.0, 2.0]
    assert (recorder.warmed, recorder.replays) == (WARM_UP, 2)


def test_warming_up_leaves_what_the_function_changes_as_it_was() -> None:
    total = torch.zeros(1)
    part, recorder = recorded(lambda x: total.add_(x).clone(), total)
    assert [part(torch.ones(1)).item() for _ in range(3)] == [1.0, 2.0, 3.0]
    assert (total.item(), recorder.warmed) == (3.0, WARM_UP)


def test_a_callers_changes_to_a_result_s_dict_do_not_stay() -> None:
    part, _ = recorded(lambda x: {"a": x.clone()})
    part(torch.ones(1))["b"] = torch.ones(1)
    assert set(part(torch.ones(1))) == {"a"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.zeros(3), False), r"\(2,\).*at first.*\(3,\).*now"),
        ((torch.zeros(2, dtype=torch.float64), False), "float32.*at first.*float64.*now"),
        ((torch.zeros(2), True), "False at first, True now"),
    ],
)
def test_other_inputs_are_refused_in_one_line(args: tuple[Any, ...], message: str) -> None:
    part, _ = recorded(lambda x, flag: x + 1.0)
    kept = part(torch.ones(2), False)
    with pytest.raises(ValueError, match=f"what is recorded takes inputs of one shape: .*{message}") as caught:
        part(*args)
    assert "\n" not in str(caught.value)
    assert kept.tolist() == [2.0, 2.0]


def test_warming_up_leaves_the_random_stream_alone() -> None:
    torch.manual_seed(3)
    expected = [torch.rand(2) for _ in range(2)]
    torch.manual_seed(3)
    part, _ = recorded(lambda x: x * torch.rand(2))
    for value in expected:
        torch.testing.assert_close(part(torch.ones(2)), value, rtol=0.0, atol=0.0)


def test_a_cpu_records_nothing() -> None:
    def function(x: Tensor) -> Tensor:
        return x

    assert recorder_for(CPU) is None
    for choice in ("off", "graphs"):
        assert prepared(function, choice, CPU, tuple) is function


# The agent ----------------------------------------------------------------------------------------------------


def pair(recipe: str, discrete: bool, *, after: bool = False, **behaviour: Any) -> tuple[Agent, Agent, Repeating]:
    """The same agent twice: eager, and with its updates recorded."""
    spec, config = tiny_spec(kinds=ALL_KINDS, discrete=discrete), tiny_config(recipe, after=after)
    config = replace(config, behaviour=replace(config.behaviour, **behaviour))
    agents, recorder = [], Repeating()
    for choice, records in (("off", None), ("graphs", recorder)):
        chosen = replace(config, train=replace(config.train, compile=choice))  # type: ignore[arg-type]
        torch.manual_seed(0)
        agents.append(Agent(spec, chosen, recorder=records))
    static = agents[1]
    recorder.held = lambda: list(leaves(static.state_dict()))
    return *agents, recorder  # type: ignore[return-value]


def leaves(value: Any) -> Iterator[Tensor]:
    yield from (x for x in pytree.tree_leaves(value) if isinstance(x, Tensor))


@pytest.mark.parametrize(
    ("recipe", "discrete", "behaviour", "after"),
    [
        ("tiny", True, {"starts": 7}, False),
        ("authors", False, {"chunk": 5}, True),
        ("laptop", True, {"chunk": 7}, True),
    ],
    ids=["tiny", "authors", "laptop"],
)
def test_a_recorded_agent_learns_bit_for_bit_what_the_eager_one_does(
    recipe: str, discrete: bool, behaviour: dict[str, Any], after: bool
) -> None:
    """Weights, moments, running ranges, slow critics, credit, metrics and random draws, over three updates."""
    eager, static, recorder = pair(recipe, discrete, after=after, **behaviour)
    stream = torch.get_rng_state()
    for seed in range(3):
        batch, results = tiny_batch(eager.spec, seed=seed), []
        states = []
        for agent in (eager, static):
            torch.set_rng_state(stream)
            credit, metrics = agent.update(batch)
            found = {"credit": list(credit), **metrics}
            results.append(copy.deepcopy(found | (agent.adapt_update(batch) if after else {})))
            states.append(torch.get_rng_state())
        stream = states[0]
        assert torch.equal(*states)
        assert results[0].keys() == results[1].keys()
        for a, b in zip(leaves(results[0]), leaves(results[1]), strict=True):
            assert torch.equal(a, b)
    for a, b in zip(leaves(eager.state_dict()), leaves(static.state_dict()), strict=True):
        assert torch.equal(a, b)
    # An update, and with adaptation the reward heads once and the policies as often as the settings say.
    recordings, replays = (3, 2 + eager.config.train.adapt_repeats) if after else (1, 1)
    assert recorder.replays == 3 * replays
    assert recorder.warmed == WARM_UP * recordings


def test_a_recorded_explorer_acts_as_the_eager_one_does() -> None:
    eager, static, recorder = pair("laptop", False)
    batch, member = tiny_batch(eager.spec), np.full(3, 2)
    found = []
    for agent in (eager, static):
        torch.manual_seed(4)
        player, actions = agent.explorer(), []
        state = player.initial(3)
        for t in range(3):
            observation = {key.name: batch[key.name][:, t].numpy() for key in agent.spec.observation}
            action, state = player.act(observation, np.full(3, t == 0), state, member, False)
            actions.append(action.copy())
        found.append((actions, {name: value.clone() for name, value in state.items()}))
    np.testing.assert_array_equal(*(actions for actions, _ in found))
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])
    assert recorder.replays == 3


def test_an_agent_s_batches_must_keep_their_shape() -> None:
    _, static, _ = pair("tiny", True)
    static.update(tiny_batch(static.spec))
    with pytest.raises(ValueError, match="takes inputs of one shape"):
        static.update(tiny_batch(static.spec, b=2))


def test_means_of_metrics_outlive_the_next_update() -> None:
    """Results of a recorded update are overwritten by the next; sums and credited arrays are copies."""
    eager, static, _ = pair("tiny", True)
    totals = []
    for agent in (eager, static):
        torch.manual_seed(1)
        means = Means(lambda key: ())
        for seed in range(3):
            means.add(agent.update(tiny_batch(agent.spec, seed=seed))[1])
        totals.append(means.take())
    assert totals[0] == totals[1]


@pytest.mark.parametrize("key", ["one", "several"])
def test_a_sum_of_metrics_does_not_alias_them(key: str) -> None:
    values = {"a": torch.tensor(1.0)} | ({"b": torch.ones(2)} if key == "several" else {})
    means = Means(lambda key: ())
    means.add(values)
    for value in values.values():
        value.fill_(9.0)
    assert set(means.take().values()) == {1.0}


class _NoHost(TorchDispatchMode):
    """Fails where an operation meets a tensor of the host: on a device that is a transfer, which no graph captures."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        strays = [x for x in leaves((args, kwargs, result)) if not x.is_meta]
        assert not strays, f"{func} met a tensor of the host: {strays[0]}"
        return result


@pytest.mark.parametrize(
    ("recipe", "discrete", "starts"), [("laptop", True, 7), ("authors", False, 0), ("default", False, 7)]
)
def test_no_part_of_an_update_meets_a_tensor_of_the_host(recipe: str, discrete: bool, starts: int) -> None:
    spec, config = tiny_spec(kinds=ALL_KINDS, discrete=discrete), tiny_config(recipe, after=True)
    config = replace(config, behaviour=replace(config.behaviour, starts=starts))
    with torch.device("meta"):
        agent = Agent(spec, config, "meta")
        agent.start_adaptation()
    batch = {name: value.to("meta") for name, value in tiny_batch(spec).items()}
    with _NoHost():
        agent.update(batch)
        agent.adapt_update(batch)


def test_the_host_is_noticed() -> None:
    with pytest.raises(AssertionError, match="met a tensor of the host"), _NoHost():
        torch.ones(2, device="meta") + torch.tensor(1.0)


def test_the_next_update_overwrites_credit_and_metrics() -> None:
    _, static, _ = pair("tiny", True)
    credit, metrics = static.update(tiny_batch(static.spec))
    kept = credit.error.clone(), metrics["model_loss"].clone()
    again, found = static.update(tiny_batch(static.spec, seed=1))
    assert again.error is credit.error and found["model_loss"] is metrics["model_loss"]
    assert not torch.equal(credit.error, kept[0])
    assert not torch.equal(metrics["model_loss"], kept[1])
