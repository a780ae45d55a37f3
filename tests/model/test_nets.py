"""A stack of M networks is M networks; norms and initialisation are what they say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.helpers.rounding import rounding
from waker.model.nets import MLP, Linear, Norm, StackedLinear, StackedMLP

pytestmark = pytest.mark.usefixtures("float64")
MEMBERS, ROWS = 3, 5


def close(ours: Tensor, theirs: Tensor | None) -> None:
    """Equal but for the order of sums: three layers forward and back over at most 7 units, 5 rows and 3 members."""
    bound = rounding(2 * 3 * 7 * ROWS * MEMBERS)
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)


def randomise(module: torch.nn.Module) -> None:
    """Weights away from their initial zeros and ones, so that every one of them matters."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))


def alone(stack: StackedMLP, member: int, norm: str) -> MLP:
    """The member of a stack as a network of its own."""
    units = [layer.weight.shape[2] for layer in stack.hidden]
    outputs = stack.out.weight.shape[2]
    mlp = MLP(stack.hidden[0].weight.shape[1], units, outputs, "elu", norm)
    mlp.act = stack.act
    with torch.no_grad():
        layers = [*zip(mlp.hidden, stack.hidden, strict=True), (mlp.out, stack.out)]
        for single, stacked in layers:
            single.weight.copy_(stacked.weight[member].T)
            single.bias.copy_(stacked.bias[member, 0])
        for single, stacked in zip(mlp.norms, stack.norms, strict=True):
            for name, parameter in single.named_parameters():
                parameter.copy_(getattr(stacked, name)[member, 0])
    return mlp


def member_gradients(stack: StackedMLP, member: int) -> dict[str, Tensor]:
    """A member's gradients under the names of :class:`MLP`."""
    grads = {}
    for name, parameter in stack.named_parameters():
        assert parameter.grad is not None
        grad = parameter.grad[member]
        is_matrix = name.endswith("weight")
        grads[name] = grad.T if is_matrix else grad[0]
    return grads


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
@pytest.mark.parametrize("act", ["elu", "silu"])
def test_a_stack_equals_its_members_alone(norm: str, act: str) -> None:
    torch.manual_seed(0)
    stack = StackedMLP(MEMBERS, 4, (6, 7), 2, act, norm)
    randomise(stack)
    x = torch.randn(MEMBERS, ROWS, 4, requires_grad=True)
    weight = torch.randn(MEMBERS, ROWS, 2)
    out = stack(x)
    (out * weight).sum().backward()
    for m in range(MEMBERS):
        single = alone(stack, m, norm)
        own = x.detach()[m].requires_grad_()
        expected = single(own)
        close(out[m], expected)
        (expected * weight[m]).sum().backward()
        close(x.grad[m], own.grad)
        for name, grad in member_gradients(stack, m).items():
            close(grad, dict(single.named_parameters())[name].grad)


def test_a_shared_input_is_seen_by_every_member() -> None:
    stack = StackedMLP(MEMBERS, 4, (6,), 2, "silu", "rms")
    randomise(stack)
    x = torch.randn(1, ROWS, 4, requires_grad=True)
    shared = stack(x)
    close(shared, stack(x.repeat(MEMBERS, 1, 1)))
    (grad,) = torch.autograd.grad(shared.sum(), x)
    parts = [torch.autograd.grad(stack(x)[m].sum(), x)[0] for m in range(MEMBERS)]
    close(grad, torch.stack(parts).sum(0))


def test_rms_norm_by_hand() -> None:
    norm = Norm("rms", (2,))
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([1.0, 3.0]))
    root = math.sqrt((9.0 + 16.0) / 2.0 + 1e-4)
    torch.testing.assert_close(norm(torch.tensor([3.0, 4.0])), torch.tensor([3.0 / root, 12.0 / root]))


def test_layer_norm_by_hand() -> None:
    norm = Norm("layer", (2,))
    with torch.no_grad():
        norm.scale.copy_(torch.tensor([1.0, 3.0]))
        norm.offset.copy_(torch.tensor([0.5, -0.5]))
    root = math.sqrt(1.0 + 1e-3)
    expected = torch.tensor([-1.0 / root + 0.5, 3.0 / root - 0.5])
    torch.testing.assert_close(norm(torch.tensor([1.0, 3.0])), expected)


def test_no_norm_has_no_parameters_and_changes_nothing() -> None:
    x = torch.randn(3)
    norm = Norm("none", (3,))
    assert norm(x) is x
    assert not list(norm.parameters())


def test_an_mlp_without_output_ends_in_its_last_hidden_layer() -> None:
    mlp = MLP(3, (5, 4), None, "elu", "none")
    assert mlp.out_features == 4
    hidden = mlp(torch.randn(6, 3))
    assert hidden.shape == (6, 4)
    assert (hidden > -1.0).all()  # ELU's range: the last layer is activated


@pytest.mark.parametrize("layer", [Linear(40, 60), StackedLinear(3, 40, 60)])
def test_weights_start_glorot_uniform_and_biases_zero(layer: Linear | StackedLinear) -> None:
    limit = math.sqrt(6.0 / 100.0)
    assert layer.weight.abs().max() <= limit
    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3.0), rel=0.03)
    assert not layer.bias.any()


def test_a_zero_stack_starts_at_zero_and_its_members_differ_otherwise() -> None:
    x = torch.randn(1, 4, 3)
    assert not StackedMLP(2, 3, (5,), 2, "elu", "none", zero=True)(x).any()
    first, second = StackedMLP(2, 3, (5,), 2, "elu", "none")(x)
    assert not torch.allclose(first, second)
