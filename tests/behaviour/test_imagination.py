"""Returns against a brute-force recursion, and rollouts in which every policy follows itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.helpers.fakes import Table
from tests.helpers.tiny_learner import tiny_config, tiny_spec
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import imagine
from waker.behaviour.returns import lambda_return, survival
from waker.behaviour.starts import start_states
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.specs import ActionSpec


def brute_force(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float, t: int = 0) -> float:
    """V_t by the definition: a mixture of all n-step returns."""
    horizon, total, weight = len(reward), 0.0, 1.0
    for n in range(1, horizon - t + 1):
        estimate, factor = 0.0, 1.0
        for i in range(t, t + n):
            estimate += factor * reward[i].item()
            factor *= discount[i].item()
        estimate += factor * value[t + n].item()
        share = 1.0 if n == horizon - t else 1.0 - lambda_
        total += weight * share * estimate
        weight *= lambda_
    return total


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.floats(0.0, 1.0), st.integers(0, 1000))
def test_lambda_return_is_the_mixture_of_n_step_returns(horizon: int, lambda_: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    reward, value = (torch.randn(horizon + i, generator=rng, dtype=torch.float64) for i in (0, 1))
    discount = torch.rand(horizon, generator=rng, dtype=torch.float64)
    returns = lambda_return(reward, discount, value, lambda_)
    expected = [brute_force(reward, discount, value, lambda_, t) for t in range(horizon)]
    assert returns.tolist() == pytest.approx(expected, abs=1e-9)


def test_lambda_return_by_hand() -> None:
    reward, discount = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.5])
    value = torch.tensor([100.0, 4.0, 8.0])
    # V_1 = 2 + ½·8 = 6; V_0 = 1 + ½·(½·4 + ½·6) = 3.5; v_0 plays no part.
    assert lambda_return(reward, discount, value, 0.5).tolist() == [3.5, 6.0]


def test_lambda_zero_is_one_step_and_lambda_one_is_monte_carlo() -> None:
    reward, discount, value = torch.randn(4, 2, 3), torch.rand(4, 2, 3), torch.randn(5, 2, 3)
    torch.testing.assert_close(lambda_return(reward, discount, value, 0.0), reward + discount * value[1:])
    expected = value[-1]
    for t in (3, 2, 1, 0):
        expected = reward[t] + discount[t] * expected
        torch.testing.assert_close(lambda_return(reward, discount, value, 1.0)[t], expected)


def test_nothing_is_earned_after_an_end() -> None:
    reward, value = torch.ones(3), torch.full((4,), 50.0)
    returns = lambda_return(reward, torch.tensor([0.9, 0.0, 0.9]), value, 1.0)
    assert returns[:2].tolist() == pytest.approx([1.9, 1.0])


def test_survival_is_the_product_of_earlier_discounts() -> None:
    discount = torch.tensor([[0.5, 1.0], [0.5, 0.0], [0.1, 1.0]])
    torch.testing.assert_close(survival(discount), torch.tensor([[1.0, 1.0], [0.5, 1.0], [0.25, 0.0]]))


@pytest.mark.parametrize("lambda_", [0.0, 0.4, 0.95, 1.0])
def test_exact_values_of_a_table_are_a_fixed_point(lambda_: float) -> None:
    """Where the critic holds the true values of the policy, every λ-return equals them: rollout and returns agree."""
    torch.manual_seed(0)
    states, gamma = 6, 0.9
    table = Table(torch.randint(states, (states, 3)), torch.tensor([1.0, 0.8, 1.0, 0.0, 0.5, 1.0]))
    policies = _policies(("a", "b"), table.feature_dim, actions=3)
    reward_of_state = torch.randn(states)
    every = table.starts(torch.arange(states))
    trajectory = imagine(table.rssm, policies, every.state, 5, mode=True)
    reward = table.reward(reward_of_state, trajectory)
    discount = gamma * table.continue_probability(trajectory.feature)
    value = torch.zeros(6, 2, states)
    for m in range(2):
        after = trajectory.feature[1, m, :, :states]  # (S, S) transition matrix of member m's greedy policy
        exact = torch.linalg.solve(torch.eye(states) - gamma * table.cont.unsqueeze(1) * after, reward_of_state)
        value[:, m] = trajectory.feature[:, m, :, :states] @ exact
    returns = lambda_return(reward[:-1], discount[:-1], value, lambda_)
    torch.testing.assert_close(returns, value[:-1], atol=1e-5, rtol=1e-4)


def _policies(names: tuple[str, ...], features: int, actions: int) -> ActorCriticStack:
    config = tiny_config("paper")
    stack = ActorCriticStack(names, features, ActionSpec(actions, True), config.behaviour, config.model)
    with torch.no_grad():
        for p in stack.actor.parameters():
            p.add_(torch.randn_like(p))
    return stack


@pytest.mark.parametrize("discrete", [True, False])
def test_a_rollout_has_its_shapes_and_its_order(discrete: bool) -> None:
    torch.manual_seed(0)
    spec, config = tiny_spec(discrete=discrete), tiny_config()
    model = WorldModel(spec, config.model)
    policies = ActorCriticStack(spec.tasks, model.rssm.feature_dim, spec.action, config.behaviour, config.model)
    start = State(torch.randn(5, 12), torch.randn(5, 10))
    trajectory = imagine(model.rssm, policies, start, 3, mode=True)
    outputs = spec.action.dim if discrete else 2 * spec.action.dim
    assert trajectory.feature.shape == (4, 2, 5, 22)
    assert trajectory.action.shape == (4, 2, 5, spec.action.dim)
    assert trajectory.policy.shape == (3, 2, 5, outputs)
    assert not trajectory.action[0].any()
    for m in range(2):
        assert torch.equal(trajectory.feature[0, m], start.feature)
        for t in range(3):
            state = State(trajectory.feature[t, m, :, :12], trajectory.feature[t, m, :, 12:])
            own = policies.actor(state.feature.unsqueeze(0))[m]
            torch.testing.assert_close(trajectory.policy[t, m], own)
            torch.testing.assert_close(trajectory.action[t + 1, m], policies.sample(own.unsqueeze(0), mode=True)[0])
            following = model.rssm.imagine(state, trajectory.action[t + 1, m], mode=True)
            torch.testing.assert_close(trajectory.feature[t + 1, m], following.feature, atol=1e-5, rtol=1e-5)


def test_every_member_follows_its_own_policy() -> None:
    """Members that always choose action m walk m steps a time round a ring."""
    states = 12
    ring = Table((torch.arange(states).unsqueeze(1) + torch.arange(4)) % states)
    policies = _policies(("a", "b", "c", "d"), ring.feature_dim, actions=4)
    with torch.no_grad():
        policies.actor.out.weight.zero_()
        policies.actor.out.bias.copy_(100.0 * torch.eye(4).unsqueeze(1))
    trajectory = imagine(ring.rssm, policies, ring.starts(torch.tensor([0, 5])).state, 6)
    where = trajectory.feature[..., :states].argmax(-1)  # (H+1, M, N)
    t, m = torch.arange(7).view(7, 1, 1), torch.arange(4).view(1, 4, 1)
    assert torch.equal(where, (torch.tensor([0, 5]) + t * m) % states)


def test_policies_see_the_feature_without_gradient() -> None:
    spec, config = tiny_spec(discrete=False), tiny_config()
    model = WorldModel(spec, config.model)
    policies = ActorCriticStack(spec.tasks, model.rssm.feature_dim, spec.action, config.behaviour, config.model)
    start = State(torch.randn(5, 12), torch.randn(5, 10, requires_grad=True))
    trajectory = imagine(model.rssm, policies, start, 2, mode=True)
    (grad,) = torch.autograd.grad(trajectory.policy.sum(), start.deter, allow_unused=True)
    assert grad is None


# Start states -------------------------------------------------------------------------------------------------


def _posterior() -> tuple[State, dict[str, Tensor]]:
    stoch = torch.arange(6.0).view(2, 3, 1)
    batch = {
        "is_terminal": torch.tensor([[False, True, False], [False, False, False]]),
        "theta_id": torch.tensor([[7, 7, 8], [9, 9, 9]], dtype=torch.int32),
    }
    return State(stoch.requires_grad_(), 10.0 + stoch), batch


def test_starts_are_batch_major_and_carry_no_gradient() -> None:
    state, batch = _posterior()
    starts = start_states(state, batch, 0)
    assert starts.state.stoch.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert starts.state.deter.flatten().tolist() == [10, 11, 12, 13, 14, 15]
    assert starts.cont.tolist() == [1, 0, 1, 1, 1, 1]
    assert starts.theta_id.tolist() == [7, 7, 8, 9, 9, 9]
    assert not starts.state.stoch.requires_grad
    assert not starts.state.deter.requires_grad


@pytest.mark.parametrize("n", [6, 100])
def test_as_many_starts_as_states_or_more_are_all_of_them(n: int) -> None:
    state, batch = _posterior()
    assert start_states(state, batch, n).state.stoch.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_drawn_starts_keep_their_own_flags_and_are_uniform() -> None:
    torch.manual_seed(0)
    state, batch = _posterior()
    index = torch.cat([start_states(state, batch, 5).state.stoch.flatten() for _ in range(600)]).long()
    assert index.bincount(minlength=6).min() > 400
    starts = start_states(state, batch, 5)
    row = starts.state.stoch.flatten().long()
    assert torch.equal(starts.state.deter.flatten(), 10.0 + row)
    assert torch.equal(starts.cont, torch.tensor([1.0, 0, 1, 1, 1, 1])[row])
    assert torch.equal(starts.theta_id, batch["theta_id"].flatten()[row])
