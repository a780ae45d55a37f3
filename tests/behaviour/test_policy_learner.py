"""Losses against plain loops, learning on a table, and members of a stack that do not touch each other."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tests.helpers.fakes import Table
from tests.helpers.rounding import adam_drift, rounding
from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.policy_learner import PolicyLearner, RewardFunction, Rollout
from waker.behaviour.starts import Starts, start_states
from waker.config.schema import BehaviourConfig, OptimizerConfig
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.protocols import EXPLORER
from waker.specs import ActionSpec

in_float64 = pytest.mark.usefixtures("float64")
NAMES = ("a", "b", EXPLORER)
FAST = OptimizerConfig(lr=3e-2, eps=1e-8)
SMOOTH = OptimizerConfig(lr=3e-2, eps=1e-2, clip=0.5)
"""With eps of a gradient's size, so that a step does not turn a gradient's rounding into one of its own size."""
TABLE_MODEL = tiny_config().model


def update(
    learner: PolicyLearner, model: WorldModel, starts: Starts, reward_of: RewardFunction, mode: bool = False
) -> tuple[Rollout, dict[str, Tensor]]:
    """One step of every actor and critic, as the agent and the task adapter make it."""
    found = learner.gradients(model, starts, reward_of, mode)
    return found.rollout, found.metrics | learner.step(found)


def table_learner(
    table: Table, names: tuple[str, ...] = ("a",), uniform: tuple[str, ...] = (), **changes: Any
) -> PolicyLearner:
    torch.manual_seed(0)
    config = replace(
        tiny_config().behaviour, horizon=3, actor_optimizer=FAST, critic_optimizer=FAST, slow_rate=0.1, **changes
    )
    action = ActionSpec(table.actions, True)
    policies = ActorCriticStack(names, table.feature_dim, action, config, TABLE_MODEL, uniform)
    return PolicyLearner(policies, config)


def chosen(learner: PolicyLearner, table: Table) -> Tensor:
    """P(action) of every member in every state, (M, S, A)."""
    feature = torch.eye(table.states, table.feature_dim).unsqueeze(0)
    policies = learner.policies
    return policies._log_probs(policies.actor(feature)).exp().detach()


# Learning on a table ------------------------------------------------------------------------------------------

BANDIT = Table(torch.arange(4).expand(4, 4))
"""Action i leads to state i from everywhere."""


@pytest.mark.parametrize("baseline", ["lambda", "authors"])
@pytest.mark.parametrize("gradient", ["reinforce", "dynamics"])
def test_every_member_finds_its_own_best_arm(baseline: str, gradient: str) -> None:
    learner = table_learner(BANDIT, ("a", "b"), baseline=baseline, gradient=gradient)
    starts = BANDIT.starts(torch.arange(4).repeat(16))
    payoff = torch.tensor([[0.0, 0.5, 1.0, 0.2], [1.0, 0.1, 0.0, 0.3]])

    def reward(trajectory: Trajectory) -> Tensor:
        return torch.einsum("hmns,ms->hmn", trajectory.feature[..., :4], payoff)

    for _ in range(60):
        update(learner, BANDIT.as_model(), starts, reward)
    probability = chosen(learner, BANDIT)
    assert probability[0, :, 2].min() > 0.9
    assert probability[1, :, 0].min() > 0.9


def test_critics_learn_the_value_of_a_fixed_world() -> None:
    """One action only: a chain 0 → 1 → 2 → 2 with rewards 1, 0, 0.5 and γ = 0.5."""
    chain = Table(torch.tensor([[1], [2], [2]]))
    learner = table_learner(chain, discount=0.5, critic="gaussian", slow_regulariser=0.0)
    of_state = torch.tensor([1.0, 0.0, 0.5])
    starts = chain.starts(torch.arange(3).repeat(4))
    for _ in range(200):
        update(learner, chain.as_model(), starts, lambda trajectory: chain.reward(of_state, trajectory))
    critic = learner.policies.critic
    value = critic.mean(critic(starts.state.feature[:3].unsqueeze(0)))[0]
    torch.testing.assert_close(value.detach(), torch.tensor([1.25, 0.5, 1.0]), atol=0.05, rtol=0.0)


def test_policies_avoid_an_end_before_the_reward() -> None:
    """Action 0 ends the episode for 0.3 at once; action 1 walks on and is paid 1 a step."""
    table = Table(torch.tensor([[1, 0], [1, 1]]), torch.tensor([1.0, 0.0]))
    learner = table_learner(table, discount=0.9)
    of_state = torch.tensor([0.2, 0.3])
    starts = table.starts(torch.zeros(64, dtype=torch.long))
    for _ in range(60):
        update(learner, table.as_model(), starts, lambda trajectory: table.reward(of_state, trajectory))
    assert chosen(learner, table)[0, 0, 1] > 0.9


def test_uniform_members_learn_nothing_and_act_uniformly() -> None:
    learner = table_learner(BANDIT, ("a", EXPLORER), uniform=(EXPLORER,))
    before = copy.deepcopy(learner.policies.state_dict())
    starts = BANDIT.starts(torch.arange(4).repeat(100))
    payoff = torch.tensor([0.0, 0.5, 1.0, 0.2])
    rollout: Rollout | None = None
    for _ in range(3):
        rollout, _ = update(learner, BANDIT.as_model(), starts, lambda trajectory: BANDIT.reward(payoff, trajectory))
    for name, parameter in learner.policies.state_dict().items():
        if not name.startswith("slow."):
            assert torch.equal(parameter[1], before[name][1]), name
            assert not torch.equal(parameter[0], before[name][0]), name
    assert rollout is not None
    assert rollout.trajectory is not None
    assert rollout.trajectory is not None
    taken = rollout.trajectory.action[1:, 1].flatten(0, 1).mean(0)
    torch.testing.assert_close(taken, torch.full((4,), 0.25), atol=0.05, rtol=0.0)


GROVE = torch.tensor([[1, 2], [2, 0], [0, 1]])
"""Three states from each of which two actions lead to the others."""
GAIN = [0.3, -0.2, 1.0]


def grove_learner(cont: list[float], horizon: int) -> tuple[PolicyLearner, Table]:
    table = Table(GROVE, torch.tensor(cont))
    learner = table_learner(table, lambda_=1.0, discount=0.9, entropy=0.0, normalise_returns=False, actor_unimix=0.0)
    learner.config = replace(learner.config, horizon=horizon)
    with torch.no_grad():
        for p in learner.policies.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return learner, table


def rollout_of(learner: PolicyLearner, table: Table, start: int, actions: tuple[int, ...]) -> list[Tensor]:
    """The actor's gradients on the one rollout in which these actions happen."""
    policies, taken = learner.policies, iter(actions)
    policies.sample = lambda parameters, mode=False: one_hot(torch.tensor([[next(taken)]]), 2).to(parameters)  # type: ignore[method-assign]
    found = learner.gradients(
        table.as_model(), table.starts(torch.tensor([start])), lambda t: table.reward(torch.tensor(GAIN), t)
    )
    return found.actor


@in_float64
@pytest.mark.parametrize("cont", [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.1, 0.1, 0.1], [1.0, 0.5, 0.0]])
@pytest.mark.parametrize("horizon", [1, 3])
def test_reinforce_with_the_lambda_baseline_is_the_exact_gradient(cont: list[float], horizon: int) -> None:
    """λ = 1: the mean over all rollouts of the actor's step is the gradient of the return, both by enumeration."""
    learner, table = grove_learner(cont, horizon)
    policies = learner.policies
    feature = torch.eye(3, table.feature_dim).unsqueeze(0)
    policy = policies.actor(feature)[0].softmax(-1)  # (S, A)
    value = policies.critic.predict(feature)[0].detach()
    gain = torch.zeros(())
    expected = [torch.zeros_like(p) for p in policies.actor.parameters()]
    for start, actions in itertools.product(range(3), itertools.product(range(2), repeat=horizon)):
        state, weight, earned, chance = start, 1.0, 0.0, torch.ones(())
        for action in actions:
            earned += weight * GAIN[state]
            weight *= 0.9 * cont[state]
            chance = chance * policy[state, action]
            state = int(GROVE[state, action])
        gain = gain + chance * (earned + weight * value[state].item())
        for total, grad in zip(expected, rollout_of(learner, table, start, actions), strict=True):
            total -= chance.item() * horizon * grad  # the loss is a mean over steps, to be descended
    exact = torch.autograd.grad(gain, list(policies.actor.parameters()))
    assert any(grad.abs().max() > 1e-3 for grad in exact)
    for ours, theirs in zip(expected, exact, strict=True):
        torch.testing.assert_close(ours, theirs)


@in_float64
@pytest.mark.parametrize("cont", [1.0, 0.5, 0.1])
def test_the_continue_probability_counts_once_by_hand(cont: float) -> None:
    """One step: V_0 = r + γ·c·v of the state reached. ∂/∂logit_a of its mean is γ·c·π_a·(v_a − Σ π v)."""
    learner, table = grove_learner([cont] * 3, 1)
    policies = learner.policies
    feature = torch.eye(3, table.feature_dim).unsqueeze(0)
    pi = policies.actor(feature)[0, 0].softmax(-1).detach()
    reached = policies.critic.predict(feature)[0, GROVE[0]].detach()
    by_logit = sum(-pi[a] * rollout_of(learner, table, 0, (a,))[-1].flatten() for a in range(2))
    torch.testing.assert_close(by_logit, 0.9 * cont * pi * (reached - (pi * reached).sum()))


# Losses against plain loops -----------------------------------------------------------------------------------


class Scene:
    """A learner on a real tiny world model in float64, and what it must compute."""

    def __init__(self, discrete: bool, recipe: str = "tiny", **changes: Any) -> None:
        torch.manual_seed(0)
        self.spec = tiny_spec(discrete=discrete)
        config = tiny_config(recipe)
        self.model = WorldModel(self.spec, replace(config.model, zero_heads=False))
        self.config: BehaviourConfig = replace(config.behaviour, **changes)
        features = self.model.rssm.feature_dim
        model_config = replace(config.model, zero_heads=False)
        self.policies = ActorCriticStack(NAMES, features, self.spec.action, self.config, model_config)
        with torch.no_grad():
            for p in (*self.policies.parameters(), *self.model.parameters()):
                p.add_(0.1 * torch.randn_like(p))
        self.learner = PolicyLearner(self.policies, self.config)
        self.probe = torch.randn(3, features)
        self.states = 3, 6  # B, T

    @property
    def rounding(self) -> float:
        """Of what a step computes: each number is a sum over all imagined states of sums over their features."""
        return rounding((self.config.horizon + 1) * len(NAMES) * math.prod(self.states) * self.probe.shape[1])

    def starts(self) -> Starts:
        """Any states; one of them ended its episode."""
        rssm, rng = self.model.rssm, torch.Generator().manual_seed(1)
        logits = torch.randn((*self.states, rssm.latents, rssm.classes), generator=rng)
        deter = torch.tanh(torch.randn((*self.states, rssm.deter_dim), generator=rng))
        state = State(rssm.sample(logits.log_softmax(-1), mode=True), deter)
        return start_states(state, tiny_batch(self.spec, *self.states), 0)

    def reward(self, trajectory: Trajectory) -> Tensor:
        return torch.einsum("hmnf,mf->hmn", trajectory.feature, self.probe)


VARIANTS: dict[str, tuple[bool, dict[str, Any]]] = {
    "reinforce": (True, {}),
    "reinforce, authors' baseline": (True, {"baseline": "authors"}),
    "reinforce, slow target": (True, {"slow_target": True, "slow_regulariser": 0.0}),
    "dynamics": (False, {}),
    "dynamics, slow target": (False, {"slow_target": True, "critic": "gaussian"}),
}


@in_float64
@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_are_the_published_sums(variant: str) -> None:
    """docs/method.md, Policies, as loops over members, starts and steps, on the rollout the learner made."""
    discrete, changes = VARIANTS[variant]
    scene = Scene(discrete, normalise_returns=False, entropy=0.125, explorer_entropy=0.25, **changes)
    before = copy.deepcopy(scene.policies)
    starts = scene.starts()
    rollout, metrics = update(scene.learner, scene.model, starts, scene.reward)
    c, (trajectory, reward, cont) = scene.config, rollout
    assert trajectory is not None
    horizon, n = c.horizon, len(starts.cont)
    with torch.no_grad():
        flat = trajectory.feature.movedim(1, 0).flatten(1, 2)
        values = {name: getattr(before, name).mean(getattr(before, name)(flat)) for name in ("slow", "critic")}
        v = {name: x.unflatten(1, (horizon + 1, n)) for name, x in values.items()}  # (M, H+1, N)
        target = v["slow" if c.slow_target else "critic"]
    assert torch.equal(cont[0, 0], starts.cont)
    assert not cont[0].all()
    for m in range(3):
        entropy_scale = 0.25 if NAMES[m] == EXPLORER else 0.125
        actor, critic = 0.0, 0.0
        dynamics = scene.learner.through_dynamics
        short = dynamics or c.baseline == "authors"
        for i in range(n):
            d = [c.discount * cont[t, m, i].item() for t in range(horizon)]
            w = [float(np.prod(d[:t])) for t in range(horizon)]
            returns = [0.0] * horizon + [target[m, horizon, i].item()]
            for t in reversed(range(horizon)):
                mixed = (1 - c.lambda_) * target[m, t + 1, i].item() + c.lambda_ * returns[t + 1]
                returns[t] = reward[t, m, i].item() + d[t] * mixed
            for t in range(horizon - 1 if short else horizon):
                parameters = trajectory.policy[t, m, i].detach()
                alive = w[t] * cont[t, m, i].item()
                bonus = alive * entropy_scale * scene.policies.entropy(parameters).item()
                if dynamics:
                    objective = returns[t + 1]
                else:
                    baseline = target[m, t, i].item()
                    advantage = (returns[t + 1] if short else returns[t]) - baseline
                    log_prob = scene.policies.log_prob(parameters, trajectory.action[t + 1, m, i].detach()).item()
                    objective = advantage * log_prob
                # V_t knows by itself how likely there is an action at t.
                counted = alive if short else w[t] * (cont[t, m, i].item() > 0)
                actor -= (counted * objective + bonus) / ((horizon - 1 if short else horizon) * n)
            for t in range(horizon):
                stack = before.critic
                output = stack(trajectory.feature[t, :, i].detach().unsqueeze(1))
                nll = stack.nll(output, torch.full((3, 1), returns[t]))[m, 0].item()
                pull = stack.nll(output, v["slow"][:, t, i].unsqueeze(1))[m, 0].item()
                critic += w[t] * (nll + c.slow_regulariser * pull) / (horizon * n)
        assert metrics["actor_loss"][m].item() == pytest.approx(actor, rel=scene.rounding, abs=scene.rounding)
        assert metrics["critic_loss"][m].item() == pytest.approx(critic, rel=scene.rounding, abs=scene.rounding)


@in_float64
@pytest.mark.parametrize("discrete", [True, False])
def test_states_that_ended_their_episode_train_no_actor(discrete: bool) -> None:
    scene = Scene(discrete)
    starts = scene.starts()
    before = copy.deepcopy(scene.policies.actor.state_dict())
    _, metrics = update(scene.learner, scene.model, starts._replace(cont=torch.zeros_like(starts.cont)), scene.reward)
    assert not metrics["actor_grad_norm"].any()
    assert metrics["critic_grad_norm"].all()
    assert all(torch.equal(before[name], p) for name, p in scene.policies.actor.state_dict().items())


@in_float64
def test_the_gradient_takes_the_configured_way() -> None:
    ways = {(True, "auto"): False, (False, "auto"): True, (True, "dynamics"): True, (False, "reinforce"): False}
    for (discrete, gradient), through in ways.items():
        scene = Scene(discrete, gradient=gradient)
        rollout, _ = update(scene.learner, scene.model, scene.starts(), scene.reward)
        assert scene.learner.through_dynamics is through
        assert rollout.reward.requires_grad is through


# Members do not touch each other ------------------------------------------------------------------------------


def member_of(scene: Scene, m: int) -> PolicyLearner:
    """Member m as a stack of one."""
    name, model = NAMES[m], replace(tiny_config().model, zero_heads=False)
    single = ActorCriticStack((name,), scene.model.rssm.feature_dim, scene.spec.action, scene.config, model)
    with torch.no_grad():
        for own, stacked in zip(single.parameters(), scene.policies.parameters(), strict=True):
            own.copy_(stacked[m : m + 1])
    return PolicyLearner(single, scene.config)


@in_float64
@pytest.mark.parametrize("discrete", [True, False])
def test_a_stack_learns_what_its_members_learn_alone(discrete: bool) -> None:
    scene = Scene(discrete, actor_optimizer=SMOOTH, critic_optimizer=SMOOTH)
    singles = [member_of(scene, m) for m in range(3)]
    starts = scene.starts()
    for _ in range(2):
        _, together = update(scene.learner, scene.model, starts, scene.reward, True)
        for m, single in enumerate(singles):
            reward = _reward_of_one(scene.probe[m : m + 1])
            _, alone = update(single, scene.model, starts, reward, True)
            assert together.keys() == alone.keys()
            for name, value in alone.items():
                same(together[name][m : m + 1], value, scene.rounding, name)
    error = scene.rounding * SMOOTH.clip  # of a gradient no longer than that
    for m, single in enumerate(singles):
        for own, stacked in zip(single.policies.parameters(), scene.policies.parameters(), strict=True):
            torch.testing.assert_close(own[0], stacked[m], atol=adam_drift(SMOOTH, error, 2), rtol=0.0)


def same(found: Tensor, expected: Tensor, bound: float, name: str = "") -> None:
    """Equal to ``bound``, relative to the larger of 1 and the value."""
    torch.testing.assert_close(found, expected, atol=bound, rtol=bound, msg=lambda text: f"{name}: {text}")


def _reward_of_one(probe: Tensor) -> Callable[[Trajectory], Tensor]:
    return lambda trajectory: torch.einsum("hmnf,mf->hmn", trajectory.feature, probe)


# Chunks of start states ------------------------------------------------------------------------------------------


@in_float64
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_chunks_of_start_states_make_the_same_step(variant: str, normalise: bool) -> None:
    """18 start states at once, and as 7 + 7 + 4."""
    discrete, changes = VARIANTS[variant]
    clipped = {"actor_optimizer": SMOOTH, "critic_optimizer": SMOOTH}
    settings = {**changes, **clipped, "normalise_returns": normalise, "return_floor": 1e-3, "entropy": 0.1}
    whole, parts = Scene(discrete, **settings), Scene(discrete, chunk=7, **settings)
    for _ in range(2):
        rollout, expected = update(whole.learner, whole.model, whole.starts(), whole.reward, True)
        joined, found = update(parts.learner, parts.model, parts.starts(), parts.reward, True)
        assert joined.trajectory is None
        same(joined.reward, rollout.reward.detach(), whole.rounding)
        same(joined.cont, rollout.cont.detach(), whole.rounding)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            same(found[name], value, whole.rounding, name)
    drift = adam_drift(SMOOTH, whole.rounding * SMOOTH.clip, 2)
    for a, b in zip(whole.policies.parameters(), parts.policies.parameters(), strict=True):
        torch.testing.assert_close(b, a, atol=drift, rtol=0.0)


# Return scale and slow critic ---------------------------------------------------------------------------------


def test_the_return_scale_is_a_running_range_with_a_floor() -> None:
    learner = table_learner(BANDIT, ("a", EXPLORER), return_floor=1.0)
    spread = torch.linspace(0.0, 1.0, 41).view(41, 1, 1)  # 5 % at 0.05 and 95 % at 0.95
    returns = torch.cat([10.0 * spread, 0.01 * spread], 1)

    def scale(returns: Tensor) -> Tensor:
        learner.range.copy_(learner._return_range(returns))
        return learner._return_scale(learner.range)

    torch.testing.assert_close(scale(returns), torch.tensor([9.0, 0.009]))
    learner.count += 1.0  # the second update: the mean of both
    torch.testing.assert_close(scale(3.0 * returns), torch.tensor([18.0, 0.018]))
    learner.count += 1000.0  # later: 1 % of the newest
    torch.testing.assert_close(scale(0.0 * returns), torch.tensor([0.99 * 18.0, 0.99 * 0.018]))
    learner.range.zero_()
    torch.testing.assert_close(scale(0.0 * returns), torch.tensor([1.0, 1e-3]))


def test_without_normalisation_returns_are_not_scaled() -> None:
    learner = table_learner(BANDIT, normalise_returns=False)
    span = learner._return_range(100.0 * torch.randn(4, 1, 5))
    assert learner._return_scale(span).tolist() == [1.0]
    assert not span.any()


@in_float64
def test_normalised_policies_do_not_depend_on_the_reward_s_scale() -> None:
    """Rewards ten times as large, beyond the floor, give the same actor gradient."""
    norms = []
    for scale in (10.0, 100.0):
        scene = Scene(True, entropy=0.0, explorer_entropy=0.0, critic="gaussian")
        with torch.no_grad():
            for p in (*scene.policies.critic.parameters(), *scene.policies.slow.parameters()):
                p.zero_()
        scene.probe = torch.ones_like(scene.probe) * scale
        _, metrics = update(scene.learner, scene.model, scene.starts(), scene.reward, True)
        assert (metrics["return_scale"] > 1.0).all()
        norms.append(metrics["actor_grad_norm"])
    torch.testing.assert_close(norms[0], norms[1], rtol=scene.rounding, atol=0.0)


def test_the_slow_critic_is_refreshed_on_schedule() -> None:
    learner = table_learner(BANDIT, slow_every=3)
    learner.config = replace(learner.config, slow_rate=1.0)
    starts, payoff = BANDIT.starts(torch.arange(4)), torch.tensor([0.0, 0.5, 1.0, 0.2])
    equal = []
    for _ in range(7):
        update(learner, BANDIT.as_model(), starts, lambda trajectory: BANDIT.reward(payoff, trajectory))
        pairs = zip(learner.policies.slow.parameters(), learner.policies.critic.parameters(), strict=True)
        # Refreshed as slow + (live − slow): equal to rounding.
        equal.append(all(torch.allclose(a, b, atol=1e-6) for a, b in pairs))
    assert equal == [True, False, False, True, False, False, True]


def test_a_restored_learner_continues_bit_for_bit() -> None:
    scene, other = Scene(True), Scene(True)
    starts = scene.starts()
    for _ in range(2):
        update(scene.learner, scene.model, starts, scene.reward, True)
    other.learner.load_state_dict(copy.deepcopy(scene.learner.state_dict()))
    for _ in range(2):
        for each in (scene, other):
            update(each.learner, scene.model, starts, scene.reward, True)
    ours, theirs = scene.learner.state_dict(), other.learner.state_dict()
    assert torch.equal(ours["range"], theirs["range"])
    assert ours["count"].item() == theirs["count"].item() == 4
    assert all(torch.equal(p, theirs["policies"][name]) for name, p in ours["policies"].items())
