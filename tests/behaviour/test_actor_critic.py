"""The stack of policies: distributions, uniform members, slow critics."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.helpers.tiny_learner import tiny_config
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.task_rewards import task_rewards
from waker.model.distributions import truncated_normal_entropy, truncated_normal_log_prob
from waker.model.reward_heads import RewardHeads
from waker.protocols import EXPLORER
from waker.specs import ActionSpec

FEATURES = 6
DISCRETE = ActionSpec(3, True)
CONTINUOUS = ActionSpec(2, False, (-1.0, -1.0), (1.0, 1.0))


def stack(action: ActionSpec, uniform: tuple[str, ...] = (), unimix: float = 0.0) -> ActorCriticStack:
    torch.manual_seed(0)
    config = tiny_config()
    behaviour = replace(config.behaviour, actor_unimix=unimix)
    policies = ActorCriticStack(("a", "b", EXPLORER), FEATURES, action, behaviour, config.model, uniform)
    with torch.no_grad():
        for p in policies.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return policies


def frequencies(onehot: Tensor) -> Tensor:
    return onehot.round().mean(-2)


def test_discrete_policies_are_categoricals_over_actions() -> None:
    policies, logits = stack(DISCRETE, unimix=0.1), torch.tensor([[2.0, 0.0, -1.0]]).expand(3, 1, 3)
    probs = 0.9 * torch.softmax(logits, -1) + 0.1 / 3
    action = torch.nn.functional.one_hot(torch.tensor([[0], [1], [2]]), 3).float()
    torch.testing.assert_close(policies.log_prob(logits, action)[:, 0], probs[0, 0].log())
    torch.testing.assert_close(policies.entropy(logits), -(probs * probs.log()).sum(-1))
    drawn = policies.sample(logits.expand(3, 20_000, 3))
    torch.testing.assert_close(frequencies(drawn), probs[:, 0], atol=0.015, rtol=0.0)
    assert policies.sample(logits, mode=True).argmax(-1).tolist() == [[0], [0], [0]]


def test_continuous_policies_are_truncated_normals_of_the_published_form() -> None:
    """docs/method.md, Policies: location tanh(out), scale 2·σ(s/2) + 0.1; entropy, density summed over dimensions."""
    policies = stack(CONTINUOUS)
    parameters = torch.tensor([0.5, -1.0, 0.0, 2.0]).expand(3, 4, 4)
    loc = torch.tanh(torch.tensor([0.5, -1.0]))
    scale = 2.0 * torch.sigmoid(torch.tensor([0.0, 1.0])) + 0.1
    action = 0.3 * torch.ones(3, 4, 2)
    density = truncated_normal_log_prob(loc, scale, torch.tensor(0.3)).sum()
    torch.testing.assert_close(policies.log_prob(parameters, action), density.expand(3, 4))
    torch.testing.assert_close(policies.entropy(parameters), truncated_normal_entropy(loc, scale).sum().expand(3, 4))
    torch.testing.assert_close(policies.sample(parameters, mode=True), loc.expand(3, 4, 2), atol=1e-6, rtol=1e-6)


def test_uniform_members_act_uniformly_and_the_others_as_they_learned() -> None:
    policies = stack(DISCRETE, uniform=(EXPLORER,))
    logits = torch.tensor([[[3.0, 0.0, 0.0]], [[0.0, 3.0, 0.0]], [[0.0, 0.0, 3.0]]])
    drawn = frequencies(policies.sample(logits.expand(3, 20_000, 3)))
    torch.testing.assert_close(drawn[2], torch.full((3,), 1 / 3), atol=0.015, rtol=0.0)
    torch.testing.assert_close(drawn[:2], torch.softmax(logits[:2, 0], -1), atol=0.015, rtol=0.0)


def test_uniform_members_of_continuous_stacks_cover_the_whole_box() -> None:
    policies = stack(CONTINUOUS, uniform=("b",))
    drawn = policies.sample(torch.tensor([2.0, 2.0, -5.0, -5.0]).expand(3, 4_000, 4))
    for dimension in drawn[1].double().T:
        assert stats.kstest(dimension.detach().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    loc, scale = math.tanh(2.0), 2.0 / (1.0 + math.exp(2.5)) + 0.1
    learned = stats.truncnorm((-1.0 - loc) / scale, (1.0 - loc) / scale, loc, scale)
    assert stats.kstest(drawn[0, :, 0].double().detach().numpy(), learned.cdf).pvalue > 1e-3


@pytest.mark.parametrize("action", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_a_uniform_neighbour_does_not_make_deterministic_policies_random(action: ActionSpec) -> None:
    with_uniform, without = stack(action, uniform=(EXPLORER,)), stack(action)
    feature = torch.randn(50, FEATURES)
    members = torch.arange(50) % 2
    chosen = with_uniform.act(feature, members, mode=True)
    assert torch.equal(chosen, without.act(feature, members, mode=True))
    assert torch.equal(chosen, with_uniform.act(feature, members, mode=True))


@pytest.mark.parametrize("action", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_act_takes_every_row_s_own_member(action: ActionSpec) -> None:
    policies, feature = stack(action), torch.randn(9, FEATURES)
    member = torch.tensor([0, 1, 2, 2, 1, 0, 0, 2, 1])
    chosen = policies.act(feature, member, mode=True)
    every = policies.sample(policies.actor(feature.unsqueeze(0)), mode=True)
    torch.testing.assert_close(chosen, every[member, torch.arange(9)], atol=1e-6, rtol=1e-6)
    if action.discrete:
        assert set(chosen.flatten().tolist()) == {0.0, 1.0}


def test_the_slow_critic_starts_as_a_copy_and_takes_no_gradient() -> None:
    config = tiny_config("paper")
    policies = ActorCriticStack(("a", "b"), FEATURES, DISCRETE, config.behaviour, config.model)
    live, slow = policies.critic.state_dict(), policies.slow.state_dict()
    assert all(torch.equal(live[name], slow[name]) for name in live)
    assert not any(p.requires_grad for p in policies.slow.parameters())


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_a_refresh_moves_the_slow_critic_by_its_rate(rate: float) -> None:
    policies = stack(DISCRETE)
    before = [p.clone() for p in policies.slow.parameters()]
    policies.refresh_slow(torch.tensor(rate))
    for slow, old, live in zip(policies.slow.parameters(), before, policies.critic.parameters(), strict=True):
        torch.testing.assert_close(slow, (1.0 - rate) * old + rate * live.detach())


def test_each_task_s_rollout_goes_through_its_own_reward_head() -> None:
    torch.manual_seed(0)
    model = replace(tiny_config().model, reward="gaussian", head_units=(5,), zero_heads=False)
    heads = RewardHeads(2, FEATURES, 3, model)
    feature = torch.randn(4, 2, 3, FEATURES)
    rewards = task_rewards(heads, Trajectory(feature, torch.zeros(4, 2, 3, 3), torch.zeros(3, 2, 3, 3)))
    assert rewards.shape == (4, 2, 3)
    for k in range(2):
        own = heads.mean(heads(feature[:, k].flatten(0, 1).unsqueeze(0)))[k].unflatten(0, (4, 3))
        torch.testing.assert_close(rewards[:, k], own)
