"""Recorded parts of an update, with a recorder that repeats functions on the CPU as a CUDA graph would on its device.

What cannot be seen here is CUDA's own: streams, memory pools, and kernels that refuse to be captured.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.agent import Agent
from waker.graphs import WARM_UP, Segment, Segments
from waker.loggers import Means

T = TypeVar("T")
CPU = torch.device("cpu")


class Repeating:
    """Records a call by keeping the function: a replay computes it again, into the tensors of the first result.

    Recording computes nothing, as a capture does not: the results hold NaN until the first replay.
    """

    def __init__(self) -> None:
        self.warmed, self.replays = 0, 0

    def warm_up(self, function: Callable[[], object]) -> None:
        for _ in range(WARM_UP):
            function()
            self.warmed += 1

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        state = torch.get_rng_state()
        outputs = function()
        torch.set_rng_state(state)
        held = [x for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor)]
        for x in held:
            if x.is_floating_point() and x._base is None:
                x.fill_(torch.nan)

        def replay() -> None:
            self.replays += 1
            found = [x for x in pytree.tree_leaves(function()) if isinstance(x, Tensor)]
            for target, value in zip(held, found, strict=True):
                target.copy_(value)

        return replay, outputs


def recorded(function: Callable[..., T]) -> tuple[Segment[..., T], Repeating]:
    recorder = Repeating()
    return Segment("part", function, recorder, set()), recorder


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


def test_what_one_segment_hands_to_the_next_is_not_copied() -> None:
    addresses: list[int] = []

    def note(x: Tensor) -> Tensor:
        addresses.append(x.data_ptr())
        return x + 1.0

    segments = Segments("graphs", CPU, None, Repeating())
    first, second = segments("first", lambda x: 2.0 * x), segments("second", note)
    for value in (1.0, 4.0):
        between = first(torch.tensor(value))
        assert second(between).item() == 2.0 * value + 1.0
    assert set(addresses) == {between.data_ptr()}


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
    with pytest.raises(ValueError, match=f"part: a recorded update takes inputs of one shape: .*{message}") as caught:
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


def test_segments_are_the_functions_themselves_where_nothing_is_cut() -> None:
    def function(x: Tensor) -> Tensor:
        return x

    batch = {"x": torch.ones(1)}
    for choice in ("off", "compile"):
        assert Segments(choice, CPU)("part", function) is function
        assert Segments(choice, CPU).hold(batch) is batch
    assert Segments("graphs", CPU, None)("part", function)(batch["x"]) is batch["x"]  # no CUDA: called as it is


# The agent ----------------------------------------------------------------------------------------------------


def pair(recipe: str, discrete: bool, *, after: bool = False, **behaviour: Any) -> tuple[Agent, Agent, Repeating]:
    """The same agent twice: eager, and with its parts recorded."""
    spec, config = tiny_spec(kinds=ALL_KINDS, discrete=discrete), tiny_config(recipe, after=after)
    config = replace(config, behaviour=replace(config.behaviour, **behaviour))
    recorder, agents = Repeating(), []
    for segments in (None, lambda: Segments("graphs", CPU, None, recorder)):
        torch.manual_seed(0)
        agents.append(Agent(spec, config, segments=segments))
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
    adaptation = 1 + eager.config.train.adapt_repeats if after else 0  # reward heads once, policies again and again
    assert recorder.replays == 3 * (3 + adaptation)
    assert recorder.warmed == WARM_UP * (5 if after else 3)


def test_a_recorded_agent_that_imagines_nothing_has_two_parts() -> None:
    spec, config = tiny_spec(), tiny_config(after=True)
    config = replace(config, explorer=replace(config.explorer, name="random", credit="replayed"))
    recorder, found = Repeating(), []
    for segments in (None, lambda: Segments("graphs", CPU, None, recorder)):
        torch.manual_seed(0)
        agent = Agent(spec, config, segments=segments)
        for seed in range(2):
            torch.manual_seed(seed)
            credit, metrics = agent.update(tiny_batch(spec, seed=seed))
        found.append(copy.deepcopy((list(credit), metrics, agent.state_dict())))
    assert all(torch.equal(a, b) for a, b in zip(*map(leaves, found), strict=True))
    assert recorder.replays == 2 * 2


def test_no_part_of_an_update_changes_a_weight_or_a_statistic() -> None:
    """So a warm-up cannot either: every part is called alone, and everything is as it was."""
    spec, config = tiny_spec(), tiny_config(after=True)
    torch.manual_seed(0)
    agent = Agent(spec, config)
    batch, adapter = tiny_batch(spec), agent.start_adaptation()
    before = copy.deepcopy(agent.state_dict())
    learned = agent._model_gradients(batch, False)
    starts, found = agent._policy_gradients(learned.posterior.state, batch, False)
    agent._ensemble_gradients(learned.posterior, batch, (starts, found.rollout))
    state, _, _ = adapter._head_gradients(batch)
    adapter._policy_gradients(state, batch)
    for a, b in zip(leaves(before), leaves(agent.state_dict()), strict=True):
        assert torch.equal(a, b)


def test_an_agent_s_batches_must_keep_their_shape() -> None:
    _, static, _ = pair("tiny", True)
    static.update(tiny_batch(static.spec))
    with pytest.raises(ValueError, match="batch: a recorded update takes inputs of one shape"):
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
