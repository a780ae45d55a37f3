"""The whole update on torch's ``meta`` device, and how many operations it dispatches.

On ``meta`` there are no values: ``.item()``, a boolean test, boolean indexing and a stray CPU tensor raise. An update
that runs there synchronises with no host, has no shape that depends on data and mixes no devices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.dispatch_count import table
from tests.helpers.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.machine.operations import OperationCounter
from waker.model.distributions import sample_onehot

RECIPES: list[tuple[str, tuple[str, ...]]] = [
    ("tiny", ("image",)),
    ("tiny", ("categorical",)),
    ("authors", ALL_KINDS),
    ("laptop", ALL_KINDS),
]
COUNTED = ("laptop, cells, discrete, update", "paper, image, continuous, update", "paper, image, continuous, adapt")
"""Rows of the table that are tested; ``python -m experiments.dispatch_count`` prints all."""


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in a nest of dicts, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(tensors, value.values()))
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(tensors, value))


@pytest.mark.parametrize("after", [False, True], ids=["online", "after"])
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize(
    ("recipe", "kinds"), RECIPES, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_an_update_needs_no_values(recipe: str, kinds: tuple[str, ...], discrete: bool, after: bool) -> None:
    spec, config = tiny_spec(kinds=kinds, discrete=discrete), tiny_config(recipe, after=after)
    starts = 5 if recipe == "laptop" else 0
    config = replace(config, behaviour=replace(config.behaviour, starts=starts, horizon=2))
    with torch.device("meta"):
        agent = Agent(spec, config, "meta")
    batch = {name: value.to("meta") for name, value in tiny_batch(spec, 2, 4).items()}
    credit, metrics = agent.update(batch)
    results = [*credit, *metrics.values()]
    if after:
        results += agent.adapt_update(batch).values()
    credited = 6 if config.explorer.credit == "replayed" else starts or 8
    assert credit.error.shape == credit.theta_id.shape == (credited,)
    assert {x.device.type for x in (*results, *tensors(agent.state_dict()))} == {"meta"}
    assert all(value.dim() <= 1 and not value.requires_grad for value in results)


@pytest.mark.parametrize(
    ("explorer", "target"),
    [("plan2explore", "latent"), ("random", "feature"), ("rnd", "deter"), ("latent-disagreement", "feature")],
)
def test_no_explorer_needs_values(explorer: Any, target: Any) -> None:
    spec, config = tiny_spec(), tiny_config()
    explorer_config = replace(config.explorer, name=explorer, target=target)
    config = replace(config, explorer=explorer_config, behaviour=replace(config.behaviour, horizon=2))
    with torch.device("meta"):
        agent = Agent(spec, config, "meta")
    credit, _ = agent.update({name: value.to("meta") for name, value in tiny_batch(spec, 2, 4).items()})
    assert credit.error.is_meta


@pytest.mark.parametrize("case", COUNTED)
def test_the_number_of_operations_depends_on_neither_tasks_nor_heads(case: str) -> None:
    """Presets' nets on short sequences and rollouts, in two chunks: quicker than their own sizes. The limit is 10 %."""
    row = table(case, shape=(56, 4), horizon=3)
    print(case, row)
    assert row["K=1"] > 500
    assert row["K=5"] < 1.1 * row["K=1"]
    assert row["E=10"] < 1.1 * row["E=2"]


def test_the_counter_sees_forward_and_backward() -> None:
    x = torch.ones(3, device="meta", requires_grad=True)
    with OperationCounter() as forward:
        loss = x.square().sum()
    with OperationCounter() as backward:
        torch.autograd.grad(loss, x)
    assert forward.operations >= 2
    assert backward.operations >= 2


def test_the_meta_device_would_notice_a_synchronisation() -> None:
    x = sample_onehot(torch.zeros(2, 3, device="meta"))
    with pytest.raises(RuntimeError, match="meta"):
        x.sum().item()
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        x[x > 0]
    with pytest.raises(RuntimeError, match="device"):
        x + torch.ones(2, 3)
