"""Scalar heads: what they say, and that each learns from its own targets alone."""

from __future__ import annotations

import pytest
import torch

from waker.model.distributions import gaussian_nll, twohot_nll
from waker.model.heads import ScalarStack, bernoulli_nll


def heads(kind: str, zero: bool = False) -> ScalarStack:
    return ScalarStack(3, 4, (6,), "silu", "rms", kind, 11, 3.0, zero)


def test_gaussian_heads_output_their_mean() -> None:
    stack, x, target = heads("gaussian"), torch.randn(1, 5, 4), torch.randn(3, 5)
    out = stack(x)
    assert out.shape == (3, 5, 1)
    torch.testing.assert_close(stack.mean(out), out[..., 0])
    torch.testing.assert_close(stack.nll(out, target), gaussian_nll(out[..., 0], target))


def test_twohot_heads_output_a_distribution_over_bins() -> None:
    stack, x, target = heads("twohot"), torch.randn(1, 5, 4), torch.randn(3, 5)
    out = stack(x)
    assert out.shape == (3, 5, 11)
    expected = (torch.softmax(out, -1) * stack.bins).sum(-1)
    torch.testing.assert_close(stack.mean(out), expected)
    torch.testing.assert_close(stack.nll(out, target), twohot_nll(out, target, stack.bins))


def test_a_zero_twohot_head_predicts_zero() -> None:
    stack = heads("twohot", zero=True)
    means = stack.mean(stack(torch.randn(1, 5, 4)))
    torch.testing.assert_close(means, torch.zeros(3, 5), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("kind", ["gaussian", "twohot"])
def test_a_head_s_loss_reaches_its_own_weights_alone(kind: str) -> None:
    stack = heads(kind)
    loss = stack.nll(stack(torch.randn(1, 5, 4)), torch.randn(3, 5))[1].sum()
    for grad in torch.autograd.grad(loss, list(stack.parameters())):
        assert not grad[0].any()
        assert grad[1].any()
        assert not grad[2].any()


def test_bernoulli_nll_by_hand() -> None:
    logit = torch.tensor([0.0, 0.0]) + torch.log(torch.tensor(3.0))
    expected = -torch.log(torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(bernoulli_nll(logit, torch.tensor([1.0, 0.0])), expected)
