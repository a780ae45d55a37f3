"""Policies by one imagined step of every action: losses by hand, worlds that are solved, and who may use it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.fakes import Table
from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent.task_adapter import TaskAdapter
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.lookahead import LookaheadLearner, lookahead_behaviour
from waker.behaviour.policy_learner import PolicyLearner
from waker.behaviour.starts import Starts
from waker.config.schema import AdaptConfig, Config, OptimizerConfig
from waker.model.world_model import WorldModel
from waker.specs import ActionSpec

FAST = OptimizerConfig(lr=3e-2, eps=1e-8)
FORK = Table(torch.tensor([[1, 2], [1, 1], [2, 2]]), torch.tensor([1.0, 1.0, 0.0]))
"""From state 0, action 0 leads to a state for ever, action 1 to the end of the episode."""
GAIN = torch.tensor([[0.0, 0.3, 1.0], [0.5, -1.0, 0.4]])
"""What arriving in each state pays members a and b."""


def learner_on(table: Table, names: tuple[str, ...] = ("a", "b"), **adapt: Any) -> LookaheadLearner:
    torch.manual_seed(0)
    settings = AdaptConfig("lookahead", **adapt)
    fast = replace(tiny_config().behaviour, actor_optimizer=FAST, critic_optimizer=FAST)
    config = lookahead_behaviour(fast, settings)
    action = ActionSpec(table.actions, True)
    policies = ActorCriticStack(names, table.feature_dim, action, config, tiny_config().model)
    return LookaheadLearner(policies, config, settings)


def pay(gain: Tensor, table: Table) -> Any:
    """Rewards (1, M, n) of next states that members share, by the state arrived in; ``gain`` (M, S)."""

    def reward(trajectory: Trajectory) -> Tensor:
        return torch.einsum("hns,ms->hmn", trajectory.feature[:, 0, :, : table.states], gain)

    return reward


def chosen(learner: LookaheadLearner, table: Table) -> Tensor:
    """P(action) of every member in every state, (M, S, A)."""
    policies = learner.policies
    parameters = policies.actor(torch.eye(table.states, table.feature_dim).unsqueeze(0))
    actions = torch.eye(table.actions)
    return torch.stack([policies.log_prob(parameters, action).exp() for action in actions], -1).detach()


def losses_by_hand(learner: LookaheadLearner, states: list[int], tau: float, gamma: float) -> list[tuple[float, float]]:
    """(actor's, critic's) loss of each member on FORK, state by state and action by action."""
    policies, results = learner.policies, []
    feature = torch.eye(3, 4)
    with torch.no_grad():
        slow, live = policies.slow.predict(feature.unsqueeze(0)), policies.critic.predict(feature.unsqueeze(0))
    for m in range(policies.members):
        actor = critic = 0.0
        for s in states:
            there = FORK.onehot[s].argmax(-1)  # of each action
            q = torch.stack([GAIN[m, t] + gamma * FORK.cont[t] * slow[m, t] for t in there])
            target = torch.softmax(q / tau, -1)
            value = (target * q).sum()
            log_probs = chosen(learner, FORK)[m, s].log()
            actor -= float(FORK.cont[s] * (target * log_probs).sum()) / len(states)
            critic += float(FORK.cont[s] * (0.5 * (value - live[m, s]).square() + 0.918938533)) / len(states)
        results.append((actor, critic))
    return results


def test_losses_are_those_of_the_formulas() -> None:
    """The range of values is 0 at first, so that the temperature is a share of the floor, 1."""
    learner = learner_on(FORK, temperature=0.3, discount=0.9, horizon=0)
    with torch.no_grad():
        for parameter in learner.policies.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    states = [0, 0, 1, 2]
    found = learner.gradients(FORK.as_model(), FORK.starts(torch.tensor(states)), pay(GAIN, FORK))
    expected = losses_by_hand(learner, states, 0.3, 0.9)
    for name, column in zip(("actor_loss", "critic_loss"), zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(found.metrics[name], torch.tensor(column), rtol=1e-4, atol=1e-5)


def test_each_member_weighs_what_comes_after_against_an_end() -> None:
    """Member a: 0.3 for ever is worth more than 1 and the end; member b: the end is better than a loss for ever."""
    learner = learner_on(FORK, discount=0.9, slow_rate=0.2)
    starts = FORK.starts(torch.tensor([0, 1, 2]).repeat(8))
    for _ in range(80):
        learner.step(learner.gradients(FORK.as_model(), starts, pay(GAIN, FORK)))
    probability = chosen(learner, FORK)
    assert probability[0, 0, 0] > 0.9
    assert probability[1, 0, 1] > 0.9
    value = learner.policies.critic.predict(torch.eye(3, 4).unsqueeze(0)).detach()
    # In its own state b loses 1 a step at γ = 0.9.
    assert value[0, 1] > 1.5
    assert value[1, 1] < -5.0


def test_a_policy_that_has_become_sure_of_the_wrong_action_recovers() -> None:
    """Where a policy gradient would be scaled by the right action's probability, e^−12."""
    bandit = Table(torch.arange(4).expand(4, 4))
    learner = learner_on(bandit, ("a",))
    with torch.no_grad():
        learner.policies.actor.out.bias[0, 0] = torch.tensor([12.0, 0.0, 0.0, 0.0])
    starts = bandit.starts(torch.arange(4).repeat(8))
    for _ in range(60):
        found = learner.gradients(bandit.as_model(), starts, pay(torch.tensor([[0.0, 0.5, 1.0, 0.2]]), bandit))
        learner.step(found)
    assert chosen(learner, bandit)[0, :, 2].min() > 0.8


def test_members_do_not_touch_each_other() -> None:
    """What b is paid changes nothing of a."""
    ends = []
    for gain_of_b in (0.4, 7.0):
        learner, gain = learner_on(FORK), GAIN.clone()
        gain[1] *= gain_of_b
        starts = FORK.starts(torch.tensor([0, 1, 2]))
        for _ in range(3):
            learner.step(learner.gradients(FORK.as_model(), starts, pay(gain, FORK)))
        ends.append([p.detach().clone() for p in learner.policies.parameters()])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one[0], other[0])
    assert any(not torch.equal(one[1], other[1]) for one, other in zip(*ends, strict=True))


def test_continuous_actions_are_refused() -> None:
    config = tiny_config()
    policies = ActorCriticStack(
        ("a",), 3, ActionSpec(2, False, (-1.0,) * 2, (1.0,) * 2), config.behaviour, config.model
    )
    with pytest.raises(ValueError, match="every action"):
        LookaheadLearner(policies, config.behaviour, AdaptConfig())


# In an adapter ------------------------------------------------------------------------------------------------


def looking_ahead(**adapt: Any) -> Config:
    return replace(tiny_config(), adapt=AdaptConfig("lookahead", **adapt))


def adapter_of(discrete: bool, config: Config) -> TaskAdapter:
    torch.manual_seed(0)
    spec = tiny_spec(discrete=discrete)
    return TaskAdapter(WorldModel(spec, config.model), spec, config, spec.tasks)


def test_an_adapter_looks_ahead_where_asked_and_moves_every_policy() -> None:
    adapted = adapter_of(True, looking_ahead())
    assert isinstance(adapted.policy_learner, LookaheadLearner)
    before = copy.deepcopy(adapted.policy_learner.policies.state_dict())
    frozen = copy.deepcopy(adapted.model.state_dict())
    metrics: dict[str, Tensor] = {}
    for seed in range(2):
        metrics = adapted.update(tiny_batch(tiny_spec(), seed=seed))
    assert all(value.shape == (2,) and torch.isfinite(value).all() for value in metrics.values())
    assert all(torch.equal(frozen[name], p) for name, p in adapted.model.state_dict().items())
    after = adapted.policy_learner.policies.state_dict()
    for name in ("actor.out.weight", "critic.net.out.weight", "slow.net.out.weight"):
        assert all(not torch.equal(before[name][k], after[name][k]) for k in (0, 1)), name


def test_policies_learn_where_they_go_and_not_only_where_the_data_was() -> None:
    """A ring of four states; all starts lie in the first, and each step of a walk reaches one more."""
    ring = Table(torch.tensor([[1, 1], [2, 2], [3, 3], [0, 0]]))
    starts = ring.starts(torch.zeros(5, dtype=torch.long))
    for horizon, seen in ((0, [5, 0, 0, 0]), (2, [5, 5, 5, 0])):
        state, cont = learner_on(ring, horizon=horizon)._visited(ring.as_model(), starts, False)
        assert state.stoch.sum(0).tolist() == seen
        assert cont.tolist() == [1.0] * sum(seen)


def test_what_follows_an_end_counts_for_nothing() -> None:
    learner = learner_on(FORK, horizon=1)
    state, cont = learner._visited(FORK.as_model(), FORK.starts(torch.tensor([2, 1])), False)
    assert state.stoch.argmax(-1).tolist() == [2, 1, 2, 1]
    assert cont.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_rollouts_are_what_continuous_actions_and_other_settings_learn_from() -> None:
    for adapted in (adapter_of(False, looking_ahead()), adapter_of(True, tiny_config())):
        assert type(adapted.policy_learner) is PolicyLearner


@pytest.mark.parametrize(("starts", "states"), [(0, 18), (5, 5)])
def test_as_many_start_states_as_asked(starts: int, states: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch of 3 × 6, whatever ``behaviour.starts`` is."""
    config = looking_ahead(starts=starts)
    adapted = adapter_of(True, replace(config, behaviour=replace(config.behaviour, starts=7)))
    seen, gradients = [], adapted.policy_learner.gradients

    def counted(model: WorldModel, starts: Starts, *rest: Any) -> Any:
        seen.append(len(starts.cont))
        return gradients(model, starts, *rest)

    monkeypatch.setattr(adapted.policy_learner, "gradients", counted)
    adapted.update(tiny_batch(tiny_spec()))
    assert seen == [states]


def test_a_restored_adapter_looks_ahead_bit_for_bit() -> None:
    ours, theirs = adapter_of(True, looking_ahead()), adapter_of(True, looking_ahead())
    batch = tiny_batch(tiny_spec())
    ours.update(batch)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for each in (ours, theirs):
        torch.manual_seed(5)
        each.update(batch)
    expected = theirs.policy_learner.policies.state_dict()
    assert all(torch.equal(p, expected[name]) for name, p in ours.policy_learner.policies.state_dict().items())


def test_policies_see_what_the_decoder_makes_of_a_state_where_asked() -> None:
    """Two states that look alike are one to them; a decoder is part of the model, and not of the policies."""
    adapted = adapter_of(True, looking_ahead(sees="decoded"))
    policies, decoder = adapted.policy_learner.policies, adapted.model.decoder
    assert not any("decoder" in name or "view" in name for name in policies.state_dict())
    feature = torch.randn(40, adapted.model.rssm.feature_dim)
    member, torch_state = torch.zeros(40, dtype=torch.long), torch.get_rng_state()
    acted = policies.act(feature, member, mode=False)
    torch.set_rng_state(torch_state)
    assert torch.equal(acted, policies.sample(policies.actor(decoder.seen(feature).unsqueeze(0)))[0].round())
    before = copy.deepcopy(decoder.state_dict())
    metrics = adapted.update(tiny_batch(tiny_spec()))
    assert all(torch.isfinite(value).all() for value in metrics.values())
    assert all(torch.equal(before[name], p) for name, p in decoder.state_dict().items())


def test_where_only_pictures_are_observed_policies_see_the_feature() -> None:
    config, spec = looking_ahead(sees="decoded"), tiny_spec(kinds=("image",))
    adapted = TaskAdapter(WorldModel(spec, config.model), spec, config, spec.tasks)
    assert adapted.policy_learner.policies.view is None
    assert torch.isfinite(adapted.update(tiny_batch(spec))["actor_loss"]).all()
