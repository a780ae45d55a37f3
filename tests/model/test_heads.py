"""Scalar heads: what they say, and that each learns from its own targets alone."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor

from waker.config.schema import OptimizerConfig
from waker.model.distributions import gaussian_nll, twohot_nll
from waker.model.egocentric import policy_network
from waker.model.heads import ScalarStack, bernoulli_nll
from waker.model.optim import Adam


def heads(kind: str, zero: bool = False) -> ScalarStack:
    return ScalarStack(3, partial(policy_network, 4), (6,), "silu", "rms", kind, 11, 3.0, zero)


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
    feature = torch.randn(1, 5, 4)
    for means in (stack.mean(stack(feature)), stack.predict(feature)):
        assert torch.equal(means, torch.zeros(3, 5))


@pytest.mark.parametrize("kind", ["gaussian", "twohot"])
def test_predictions_are_the_means_of_the_parameters(kind: str) -> None:
    stack, feature = heads(kind), torch.randn(3, 5, 4)
    means, parameters = stack.predict_and_parameters(feature)
    torch.testing.assert_close(parameters, stack(feature))
    for mean in (means, stack.predict(feature)):
        torch.testing.assert_close(mean, stack.mean(parameters))


def test_wide_heads_learn_small_rewards_with_the_digits_of_float64() -> None:
    """255 bins to ±4.9e8 and rewards of 0.05: in values, and in the gradients that reach a policy through them."""
    torch.manual_seed(0)
    stack = ScalarStack(2, partial(policy_network, 8), (32, 32), "silu", "rms", "twohot", 255, 20.0, True)
    optimizer = Adam(stack.parameters(), OptimizerConfig(lr=1e-3), 2)
    for update in range(61):
        feature = torch.randn(1, 200, 8)
        if update in (0, 1, 5, 20, 60):
            (mean, grad), (exact, slope) = (differentiated(s, feature) for s in (stack, deepcopy(stack).double()))
            assert (mean - exact).abs().max() <= 1e-4 * exact.abs().mean(), update
            assert (stack.mean(stack(feature)) - exact).abs().max() <= 1e-3 * exact.abs().mean(), update
            assert (grad - slope).norm() <= 1e-3 * slope.norm(), update
        target = 0.05 * (feature[..., 0] > 0).float()
        loss = stack.nll(stack(feature), target.expand(2, -1)).mean()
        optimizer.apply(optimizer.gradients(loss))
    assert 0.005 < exact.mean() < 0.05  # something has been learned


def differentiated(stack: ScalarStack, feature: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions in the stack's own arithmetic, and their gradient by the features."""
    feature = feature.to(next(stack.parameters()).dtype).requires_grad_()
    mean = stack.predict(feature)
    return mean.detach(), torch.autograd.grad(mean.sum(), feature)[0]


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
