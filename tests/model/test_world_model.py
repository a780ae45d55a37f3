"""The model's loss term by term, and what each term is allowed to train."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from tests.helpers.tiny_learner import ALL_KINDS, tiny_batch, tiny_config, tiny_spec
from waker.config.schema import ModelConfig
from waker.model.distributions import categorical_kl
from waker.model.heads import bernoulli_nll
from waker.model.world_model import WorldModel, kl_losses

SPEC = tiny_spec(kinds=ALL_KINDS)
LN2 = 0.6931471805599453


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# KL -----------------------------------------------------------------------------------------------------------


def posterior_and_prior() -> tuple[torch.Tensor, torch.Tensor]:
    """Two states (B = 2, T = 1) of one binary latent: KL ln 2 and KL 0."""
    posterior = torch.tensor([[[[1.0, 0.0]]], [[[0.5, 0.5]]]])
    prior = torch.tensor([[[[0.5, 0.5]]], [[[0.5, 0.5]]]])
    return posterior.clamp_min(1e-12).log().requires_grad_(), prior.log().requires_grad_()


def kl_config(balance: Literal["mix", "dyn-rep"], free: float) -> ModelConfig:
    return replace(tiny_config().model, kl_balance=balance, kl_dyn=0.8, kl_rep=0.3, free_nats=free)


@pytest.mark.parametrize(
    ("balance", "free", "expected"),
    [
        ("mix", 0.0, 1.1 * LN2 / 2),
        ("mix", 0.3, 1.1 * LN2 / 2),  # the batch mean 0.347 is above the free nats
        ("mix", 0.5, 1.1 * 0.5),
        ("dyn-rep", 0.0, 1.1 * LN2 / 2),
        ("dyn-rep", 0.3, 1.1 * (LN2 + 0.3) / 2),  # the second state's 0 is lifted to the free nats
        ("dyn-rep", 1.0, 1.1),
    ],
)
def test_kl_loss_by_hand(balance: Literal["mix", "dyn-rep"], free: float, expected: float) -> None:
    loss, plain = kl_losses(*posterior_and_prior(), kl_config(balance, free))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert plain.item() == pytest.approx(LN2 / 2, rel=1e-5)


def test_latents_are_summed_before_the_free_nats() -> None:
    posterior, prior = (x.detach().expand(2, 1, 3, 2) for x in posterior_and_prior())
    loss, plain = kl_losses(posterior, prior, kl_config("dyn-rep", 1.0))
    assert loss.item() == pytest.approx(1.1 * (3 * LN2 + 1.0) / 2, rel=1e-5)
    assert plain.item() == pytest.approx(3 * LN2 / 2, rel=1e-5)


@pytest.mark.parametrize("balance", ["mix", "dyn-rep"])
def test_each_side_of_the_kl_trains_its_own_distribution(balance: Literal["mix", "dyn-rep"]) -> None:
    logits, others = torch.randn(2, 3, 2, 4, requires_grad=True), torch.randn(2, 3, 2, 4, requires_grad=True)
    posterior, prior = torch.log_softmax(logits, -1), torch.log_softmax(others, -1)
    loss, _ = kl_losses(posterior, prior, kl_config(balance, 0.0))
    grads = torch.autograd.grad(loss, (logits, others), retain_graph=True)
    plain = categorical_kl(posterior, prior).sum(-1).mean()
    both = torch.autograd.grad(plain, (logits, others))
    torch.testing.assert_close(grads[0], 0.3 * both[0])  # the posterior is pulled with kl_rep
    torch.testing.assert_close(grads[1], 0.8 * both[1])  # the prior is trained with kl_dyn


def test_no_gradient_below_the_free_nats() -> None:
    posterior, prior = posterior_and_prior()
    loss, _ = kl_losses(posterior, prior, kl_config("mix", 0.5))
    assert all(not g.any() for g in torch.autograd.grad(loss, (posterior, prior)))


# The whole loss -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["tiny", "paper"])
def test_the_loss_is_the_weighted_sum_of_its_terms(recipe: str) -> None:
    config = replace(tiny_config(recipe).model, kl_scale=3.0, continue_scale=0.7 if recipe == "tiny" else 0.0)
    model, batch = WorldModel(SPEC, config), tiny_batch(SPEC)
    output = model.loss(batch, mode=True)
    m, feature = output.metrics, output.posterior.state.feature
    expected = 0.5 * m["image_loss"] + m["vector_loss"] + 2.0 * m["cells_loss"] + 3.0 * m["kl_loss"]
    expected = expected + m["reward_loss"].sum()
    assert m["reward_loss"].shape == (2,)
    if recipe == "tiny":
        assert model.continues is not None
        cont = bernoulli_nll(model.continues(feature).squeeze(-1), (~batch["is_terminal"]).float()).mean()
        expected = expected + 0.7 * cont
        torch.testing.assert_close(m["continue_loss"], cont)
    else:
        assert "continue_loss" not in m
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(m["model_loss"], expected.detach())


def test_every_weight_of_the_model_is_trained() -> None:
    model = WorldModel(SPEC, replace(tiny_config("laptop").model, free_nats=0.0, zero_heads=False))
    loss = model.loss(tiny_batch(SPEC)).loss
    names, parameters = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss, parameters)
    assert [name for name, grad in zip(names, grads, strict=True) if not grad.any()] == []


@pytest.mark.parametrize("allowed", [False, True])
def test_reward_heads_shape_the_latent_state_only_when_asked(allowed: bool) -> None:
    model = WorldModel(SPEC, replace(tiny_config().model, reward_gradients=allowed, zero_heads=False))
    batch = tiny_batch(SPEC)
    feature = model.observe(batch, mode=True).state.feature
    loss = model.reward_loss(feature, batch).sum()
    weight = model.rssm.gru.weight
    (grad,) = torch.autograd.grad(loss, weight, allow_unused=True)
    assert (grad is not None) == allowed


def test_each_reward_head_learns_its_own_task() -> None:
    model, batch = WorldModel(SPEC, replace(tiny_config("paper").model)), tiny_batch(SPEC)
    feature = model.observe(batch, mode=True).state.feature.detach()
    losses = model.reward_loss(feature, batch)
    for k in range(2):
        means = model.rewards.mean(model.rewards(feature.flatten(0, 1).unsqueeze(0)))[k].unflatten(0, (3, 6))
        expected = (0.5 * (batch["task_rewards"][..., k] - means).square()).mean() + 0.9189385332046727
        torch.testing.assert_close(losses[k], expected)


def test_where_episodes_never_end_every_state_goes_on() -> None:
    endless = WorldModel(SPEC, tiny_config("paper").model)
    ending = WorldModel(SPEC, tiny_config().model)
    feature = torch.randn(4, 5, endless.rssm.feature_dim)
    assert torch.equal(endless.continue_probability(feature), torch.ones(4, 5))
    probability = ending.continue_probability(feature)
    assert ending.continues is not None
    torch.testing.assert_close(probability, torch.sigmoid(ending.continues(feature)[..., 0]))


def test_uniform_latents_have_entropy_of_their_classes() -> None:
    model, batch = WorldModel(SPEC, tiny_config("paper").model), tiny_batch(SPEC)
    with torch.no_grad():
        for layer in (model.rssm.img_dist, model.rssm.obs_dist):
            layer.weight.zero_()
    metrics = model.loss(batch).metrics
    assert metrics["prior_ent"].item() == pytest.approx(3 * 2 * LN2, rel=1e-6)
    assert metrics["post_ent"].item() == pytest.approx(3 * 2 * LN2, rel=1e-6)
    assert metrics["model_kl"].item() == pytest.approx(0.0, abs=1e-6)
