"""bf16 autocast: where it acts, what stays float32, and how far its numbers are from float32's."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.config.schema import PrecisionChoice
from waker.machine.precision import Precision, float32

TOLERANCE = 0.02
"""Largest distance of every loss from float32's, as a share of its largest entry: bfloat16 has 8 bits, 0.004, and
errors add up over layers."""
CASES = pytest.mark.parametrize(
    ("recipe", "discrete"),
    [("laptop", True), ("laptop", False), ("authors", False)],
    ids=["laptop discrete", "laptop continuous", "authors continuous"],
)
LOWERED = {
    "networks": {"addmm", "baddbmm", "bmm", "mm", "convolution", "convolution_backward"},
    "activations": {"silu", "silu_backward", "elu_backward", "exp_", "clamp_max", "maximum", "sub_"},
    "the posterior's projected embedding, and sums of gradients": {"add", "sum"},
    "casts, copies and views": {
        "_to_copy", "_unsafe_view", "as_strided", "cat", "clone", "copy_", "detach", "expand", "new_empty_strided",
        "new_zeros", "permute", "select", "select_backward", "slice", "split", "stack", "t", "transpose",
        "unbind", "view",
    },
}  # fmt: skip
"""All that a bfloat16 tensor may meet (the CPU's ELU is written out): no logarithm, no softmax, no mean, no norm, and
no product but of matrices."""


def make(recipe: str, discrete: bool, precision: PrecisionChoice, *, after: bool = False) -> Agent:
    spec, config = tiny_spec(kinds=ALL_KINDS, discrete=discrete), tiny_config(recipe, after=after)
    torch.manual_seed(0)
    return Agent(spec, replace(config, train=replace(config.train, precision=precision)))


def tensors(value: Any) -> list[Tensor]:
    return [x for x in pytree.tree_leaves(value) if isinstance(x, Tensor)]


class Met(TorchDispatchMode):
    """Names of the operations with a bfloat16 tensor among their inputs or results."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(x.dtype is torch.bfloat16 for x in tensors((args, kwargs, result))):
            self.names.add(func.overloadpacket.__name__)
        return result


@CASES
def test_an_update_is_close_to_float32_s_and_hands_out_float32(recipe: str, discrete: bool) -> None:
    batch, results = tiny_batch(tiny_spec(kinds=ALL_KINDS, discrete=discrete)), []
    for precision in ("fp32", "bf16"):
        agent = make(recipe, discrete, precision)  # type: ignore[arg-type]
        before = copy.deepcopy(agent.model.state_dict())
        results.append(agent.update(batch, True))
    (exact, expected), (credit, metrics) = results
    assert {x.dtype for x in (credit.error, *metrics.values(), *tensors(agent.state_dict()))} == {torch.float32}
    assert all(torch.isfinite(x).all() for x in (credit.error, *metrics.values()))
    assert metrics.keys() == expected.keys()
    for name in metrics:
        if "loss" in name or name == "credit":
            error, size = (metrics[name] - expected[name]).abs().max(), expected[name].abs().max()
            assert error <= TOLERANCE * size, f"{name} is off by {error:.2g} of {size:.2g}"
    torch.testing.assert_close(credit.error, exact.error, rtol=0.05, atol=1e-3)
    assert not torch.equal(metrics["model_loss"], expected["model_loss"])  # it did something
    assert any(not torch.equal(p, before[name]) for name, p in agent.model.state_dict().items())


@pytest.mark.parametrize("recipe", ["laptop", "authors"])
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_only_networks_compute_in_bfloat16(recipe: str, discrete: bool) -> None:
    agent = make(recipe, discrete, "bf16", after=True)
    agent.start_adaptation()
    batch = tiny_batch(agent.spec)
    with Met() as met:
        agent.update(batch)
        agent.adapt_update(batch)
    assert {"addmm", "bmm", "convolution"} <= met.names
    assert met.names - set().union(*LOWERED.values()) == set()


def test_float32_meets_no_bfloat16() -> None:
    agent = make("laptop", True, "fp32")
    with Met() as met:
        agent.update(tiny_batch(agent.spec))
    assert met.names == set()
    x = torch.ones(1)
    assert float32(x) is x


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_adapted_policies_learn_in_bfloat16_too(discrete: bool) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        agent = make("laptop", discrete, precision, after=True)  # type: ignore[arg-type]
        metrics = agent.adapt_update(tiny_batch(agent.spec))
        assert {x.dtype for x in metrics.values()} == {torch.float32}
        losses.append(metrics["reward_loss"])
    torch.testing.assert_close(losses[1], losses[0], rtol=TOLERANCE, atol=1e-3)


def test_players_carry_a_float32_state() -> None:
    actions, deters = [], []
    for precision in ("fp32", "bf16"):
        agent = make("laptop", False, precision)  # type: ignore[arg-type]
        player, batch = agent.explorer(), tiny_batch(agent.spec)
        observation = {key.name: batch[key.name][:, 0].numpy() for key in agent.spec.observation}
        state, member = player.initial(3), np.full(3, 2)
        for is_first in (True, False):  # from a zero state the first deterministic state is zero
            action, state = player.act(observation, np.full(3, is_first), state, member, True)
        assert {x.dtype for x in state.values()} == {torch.float32}
        assert action.dtype == np.float32
        actions.append(action)
        deters.append(state["deter"])
    np.testing.assert_allclose(actions[1], actions[0], atol=0.02)
    torch.testing.assert_close(deters[1], deters[0], rtol=0.0, atol=0.02)
    assert not torch.equal(*deters)


def test_a_bfloat16_update_needs_no_values() -> None:
    """The ``meta`` device has no autocast. torch's fake tensors have, and no values either."""
    agent = make("authors", False, "bf16")
    batch = tiny_batch(agent.spec)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, Met() as met:
        credit, metrics = agent.update({name: fake.from_tensor(value) for name, value in batch.items()})
        with pytest.raises(DataDependentOutputException):
            credit.error.sum().item()
    assert "addmm" in met.names
    assert {x.dtype for x in (credit.error, *metrics.values())} == {torch.float32}


def test_the_meta_device_takes_bf16_for_float32() -> None:
    assert not Precision("bf16", "meta").lowered
    spec, config = tiny_spec(), tiny_config()
    with torch.device("meta"):
        agent = Agent(spec, replace(config, train=replace(config.train, precision="bf16")), "meta")
    credit, _ = agent.update({name: value.to("meta") for name, value in tiny_batch(spec).items()})
    assert credit.error.is_meta


def test_a_weight_first_used_without_gradient_still_gets_one() -> None:
    """What a cache of cast weights would break: imagined without gradient, then differentiated."""
    weight = torch.ones(3, 3, requires_grad=True)
    with Precision("bf16")():
        with torch.no_grad():
            torch.ones(2, 3) @ weight
        loss = float32(torch.ones(2, 3) @ weight).sum()
    (grad,) = torch.autograd.grad(loss, weight)
    assert grad.dtype is torch.float32
    assert torch.equal(grad, torch.full((3, 3), 2.0))
