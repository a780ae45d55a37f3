"""The recurrent model against its formulas, and filtering across episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.tiny_learner import tiny_config
from waker.model.rssm import RSSM, State

EMBED, ACTION = 7, 2
CONFIG = tiny_config("paper").model


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(recipe: str = "paper") -> RSSM:
    rssm = RSSM(tiny_config(recipe).model, EMBED, ACTION)
    with torch.no_grad():
        for p in rssm.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return rssm


def random_state(rssm: RSSM, n: int) -> State:
    stoch = rssm.sample(torch.log_softmax(torch.randn(n, rssm.latents, rssm.classes), -1))
    return State(stoch, torch.tanh(torch.randn(n, rssm.deter_dim)))


def test_the_zero_state_is_zero_and_of_the_configured_size() -> None:
    state = model().initial(3)
    assert state.stoch.shape == (3, 12)
    assert state.deter.shape == (3, 10)
    assert not state.feature.any()
    assert state.feature.shape == (3, 22)


def test_a_feature_is_stoch_then_deter() -> None:
    state = random_state(model(), 4)
    assert torch.equal(state.feature[:, :12], state.stoch)
    assert torch.equal(state.feature[:, 12:], state.deter)


def test_the_transition_is_the_published_gru() -> None:
    """docs/method.md, World model, in numpy: ELU input; layer norm on 3·deter; reset on candidate; update bias −1."""
    rssm = model()
    state, action = random_state(rssm, 4), torch.randn(4, ACTION)
    w = {name: p.detach().double().numpy() for name, p in rssm.named_parameters()}
    h = state.deter.double().numpy()
    x = np.concatenate([state.stoch.numpy(), action.numpy()], -1) @ w["img_in.weight"].T + w["img_in.bias"]
    x = np.where(x > 0, x, np.expm1(x))
    gates = np.concatenate([x, h], -1) @ w["gru.weight"].T + w["gru.bias"]
    gates = (gates - gates.mean(-1, keepdims=True)) / np.sqrt(gates.var(-1, keepdims=True) + 1e-3)
    gates = gates * w["gru_norm.weight"] + w["gru_norm.bias"]
    reset, candidate, update = np.split(gates, 3, -1)
    candidate = np.tanh(candidate / (1 + np.exp(-reset)))
    u = 1 / (1 + np.exp(-(update - 1)))
    expected = u * candidate + (1 - u) * h
    np.testing.assert_allclose(rssm.transition(state, action).detach().numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("recipe", ["paper", "tiny"])
def test_the_posterior_s_layer_sees_deter_and_embedding_side_by_side(recipe: str) -> None:
    rssm = model(recipe)
    deter, embed = torch.randn(4, rssm.deter_dim), torch.randn(4, EMBED)
    joined = rssm.obs_out(torch.cat([deter, embed], -1))
    logits = rssm.obs_dist(rssm.act(rssm.obs_out_norm(joined))).unflatten(-1, (3, 4))
    probs = torch.softmax(logits, -1) * (1.0 - rssm.unimix) + rssm.unimix / 4
    torch.testing.assert_close(rssm.posterior(deter, embed).exp(), probs)


@pytest.mark.parametrize("recipe", ["paper", "tiny"])
def test_prior_and_posterior_are_normalised(recipe: str) -> None:
    rssm = model(recipe)
    deter = torch.randn(4, rssm.deter_dim)
    for log_probs in (rssm.prior(deter), rssm.posterior(deter, torch.randn(4, EMBED))):
        assert log_probs.shape == (4, 3, 4)
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(4, 3))


def test_imagining_draws_from_the_prior_of_the_next_state() -> None:
    rssm = model()
    state, action = random_state(rssm, 1), torch.randn(1, ACTION)
    n = 4_000
    many = State(state.stoch.expand(n, -1), state.deter.expand(n, -1))
    after = rssm.imagine(many, action.expand(n, -1))
    deter = rssm.transition(state, action)
    torch.testing.assert_close(after.deter, deter.expand(n, -1))
    frequency = after.stoch.detach().mean(0).view(3, 4)
    torch.testing.assert_close(frequency, rssm.prior(deter)[0].exp().detach(), atol=0.035, rtol=0.0)
    likeliest = rssm.imagine(state, action, mode=True).stoch.view(3, 4).argmax(-1)
    assert torch.equal(likeliest, rssm.prior(deter)[0].argmax(-1))


def data(b: int, t: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(b, t, EMBED), torch.randn(b, t, ACTION)


def test_observing_is_filtering_step_by_step() -> None:
    rssm = model("tiny")
    embed, action = data(2, 5)
    first = torch.zeros(2, 5, dtype=torch.bool)
    first[:, 0] = True
    seen = rssm.observe(embed, action, first, mode=True)
    state = rssm.initial(2)
    for t in range(5):
        taken = torch.zeros_like(action[:, t]) if t == 0 else action[:, t]
        deter = rssm.transition(state, taken)
        log_probs = rssm.posterior(deter, embed[:, t])
        state = State(rssm.sample(log_probs, mode=True), deter)
        torch.testing.assert_close(seen.posterior[:, t], log_probs)
        torch.testing.assert_close(seen.prior[:, t], rssm.prior(deter))
        torch.testing.assert_close(seen.state.feature[:, t], state.feature)


def test_an_episode_s_first_record_starts_afresh() -> None:
    """Two episodes in one window equal the two filtered apart, whatever action the first record carries."""
    rssm = model()
    embed, action = data(2, 7)
    first = torch.zeros(2, 7, dtype=torch.bool)
    first[:, 3] = True
    both = rssm.observe(embed, action, first, mode=True)
    apart = [
        rssm.observe(embed[:, part], action[:, part], first[:, part], mode=True) for part in (slice(0, 3), slice(3, 7))
    ]
    for name in ("posterior", "prior"):
        torch.testing.assert_close(getattr(both, name), torch.cat([getattr(p, name) for p in apart], 1))
    torch.testing.assert_close(both.state.feature, torch.cat([p.state.feature for p in apart], 1))
    without = action.clone()
    without[:, 3] = 0.0
    torch.testing.assert_close(rssm.observe(embed, without, first, mode=True).posterior, both.posterior)


def test_no_gradient_crosses_an_episode_s_start() -> None:
    rssm = model()
    embed, action = data(1, 4)
    embed.requires_grad_()
    first = torch.tensor([[True, False, True, False]])
    seen = rssm.observe(embed, action, first, mode=True)
    (grad,) = torch.autograd.grad(seen.posterior[:, 3].square().sum(), embed)
    assert not grad[0, :2].any()
    assert grad[0, 2].any()
    assert grad[0, 3].any()


def test_unimix_bounds_every_latent_s_probability() -> None:
    rssm = RSSM(replace(CONFIG, unimix=0.2), EMBED, ACTION)
    prior = rssm.prior(1e3 * torch.randn(6, rssm.deter_dim)).exp()
    assert prior.min().item() >= 0.2 / 4 - 1e-6
