"""Learning a stack of policies in imagination: actor and critic losses, return normalisation, slow critics.

One :class:`PolicyLearner` trains the K task policies and the explorer during exploration; another trains task policies
afterwards from a frozen model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.chunks import GradientSum, ScaledGradientSum
from waker.behaviour.imagination import Trajectory, imagine
from waker.behaviour.returns import lambda_return, survival
from waker.behaviour.starts import Starts
from waker.config.schema import BehaviourConfig
from waker.machine.precision import Precision
from waker.model.optim import Adam
from waker.model.world_model import WorldModel
from waker.protocols import EXPLORER

RewardFunction = Callable[[Trajectory], Tensor]
"""Rewards of a rollout, (H+1, M, N); gradients may flow into the trajectory."""

_RANGE_DECAY = 0.99
_EXPLORER_FLOOR = 1e-3


class Rollout(NamedTuple):
    """What the policies were trained on: the trajectory, rewards and continue probabilities (H+1, M, N).

    The trajectory is None where start states went in chunks: to keep all of it is what chunks avoid.
    """

    trajectory: Trajectory | None
    reward: Tensor
    cont: Tensor


class PolicyGradients(NamedTuple):
    """What :meth:`PolicyLearner.gradients` found, for :meth:`PolicyLearner.step`: nothing has changed yet.

    Attributes:
        rollout: what the policies are to learn from.
        actor, critic: gradients of all parameters.
        range: the return range's new value, (2, M).
        metrics: each (M,).
    """

    rollout: Rollout
    actor: list[Tensor]
    critic: list[Tensor]
    range: Tensor
    metrics: dict[str, Tensor]

    def without_trajectory(self) -> PolicyGradients:
        """The same for the rest of an update, without what was only needed to differentiate it."""
        reward, cont = self.rollout.reward.detach(), self.rollout.cont.detach()
        # Not by `_replace`: older versions of torch.compile cannot hand out a tuple made by it.
        return PolicyGradients(Rollout(None, reward, cont), self.actor, self.critic, self.range, self.metrics)


class _Imagined(NamedTuple):
    """A rollout with its graph.

    Attributes:
        value: v_0 … v_H, (H+1, M, N).
        returns: V_0 … V_{H−1}, (H, M, N).
        weight: w_t, the probability that the episode lives to see state t, (H+1, M, N).
        live: the live critic's parameters (M, (H+1)·N, outputs) where returns bootstrap from it; else None.
    """

    rollout: Rollout
    trajectory: Trajectory
    value: Tensor
    returns: Tensor
    weight: Tensor
    live: Tensor | None


class _ActorLoss(NamedTuple):
    """The two terms of objective / scale + bonus, each (M,), and the policies' entropies (steps, M, N)."""

    objective: Tensor
    bonus: Tensor
    entropy: Tensor


class _Measured(NamedTuple):
    """What metrics need of each start state, each (steps, M, N)."""

    entropy: Tensor
    critic: Tensor
    value: Tensor
    returns: Tensor
    reward: Tensor
    cont: Tensor


class PolicyLearner:
    """Optimisers and running statistics of an :class:`ActorCriticStack`."""

    def __init__(self, policies: ActorCriticStack, config: BehaviourConfig, precision: Precision | None = None) -> None:
        self.policies, self.config, self.precision = policies, config, precision or Precision()
        members = policies.members
        self.actor_optimizer = Adam(policies.actor.parameters(), config.actor_optimizer, members)
        self.critic_optimizer = Adam(policies.critic.parameters(), config.critic_optimizer, members)
        device = policies.learns.device
        explores = torch.tensor([name == EXPLORER for name in policies.names], device=device)
        self.entropy_scale = torch.where(explores, config.explorer_entropy, config.entropy)  # (M,)
        self.floor = torch.where(explores, _EXPLORER_FLOOR, config.return_floor)  # (M,)
        self.range = torch.zeros(2, members, device=device)  # running 5 % and 95 % quantiles of returns
        self.count = torch.zeros((), device=device)
        gradient = config.gradient
        self.through_dynamics = gradient == "dynamics" or (gradient == "auto" and not policies.discrete)

    def gradients(
        self, model: WorldModel, starts: Starts, reward_of: RewardFunction, mode: bool = False
    ) -> PolicyGradients:
        """Imagine, and differentiate every actor's and critic's loss. Changes nothing but torch's generator.

        With ``behaviour.chunk`` rollouts are made and differentiated for that many start states at a time: the same
        step but for the order of sums (and of random draws), in a part of the memory.

        Args:
            starts: N start states.
            reward_of: rewards of a trajectory.

        Returns:
            Gradients, metrics, and the rollout: detached where it was built without gradient, or in several chunks.
        """
        parts, policies = starts.split(self.config.chunk or len(starts.cont)), self.policies
        # The return scale is a statistic of all start states.
        scale_known = len(parts) == 1 or not self.config.normalise_returns
        actor = ScaledGradientSum(policies.actor.parameters(), policies.learns)
        critic = GradientSum(policies.critic.parameters(), policies.learns)
        losses, measured, scale = [], [], None
        for part in parts:
            share = len(part.cont) / len(starts.cont)
            with self.precision():
                one = self._imagine(model, part, reward_of, mode)
                objective, bonus, entropy = self._actor_loss(one)
            if scale_known:
                return_range = self._return_range(one.returns)
                scale = self._return_scale(return_range)
            actor.add(objective, bonus, scale, share, keep_graph=one.live is not None)
            with self.precision():
                critic_loss, critic_mean = self._critic_loss(one)
            critic.add(critic_loss, share)
            losses.append(torch.stack([objective, bonus, critic_loss]).detach() * share)
            _, reward, cont = one.rollout
            measured.append(_Measured(entropy, critic_mean, one.value, one.returns, reward, cont))
        of_all = _Measured(*(torch.cat([x.detach() for x in xs], -1) for xs in zip(*measured, strict=True)))
        if scale is None:
            return_range = self._return_range(of_all.returns)
            scale = self._return_scale(return_range)
        rollout = one.rollout if len(parts) == 1 else Rollout(None, of_all.reward, of_all.cont)
        metrics = _metrics(torch.stack(losses).sum(0), of_all, scale)
        return PolicyGradients(rollout, actor.total(scale), critic.total, return_range, metrics)

    def step(self, found: PolicyGradients) -> dict[str, Tensor]:
        """Move actors, critics, slow critics and running statistics; the gradients' norms as metrics, each (M,)."""
        norms = {
            "actor_grad_norm": self.actor_optimizer.apply(found.actor),
            "critic_grad_norm": self.critic_optimizer.apply(found.critic),
        }
        self.range.copy_(found.range)
        self._refresh_slow()
        return norms

    def _imagine(self, model: WorldModel, starts: Starts, reward_of: RewardFunction, mode: bool) -> _Imagined:
        """H steps of every policy from each start state, with rewards, values and returns."""
        c, policies = self.config, self.policies
        with torch.set_grad_enabled(self.through_dynamics):
            trajectory = imagine(model.rssm, policies, starts.state, c.horizon, mode)
            reward = reward_of(trajectory)
            after = model.continue_probability(trajectory.feature[1:])
            cont = torch.cat([starts.cont.expand_as(after[0]).unsqueeze(0), after])
            value, live = self._values(trajectory.feature)
            discount = c.discount * cont  # (H+1, M, N)
            returns = lambda_return(reward[:-1], discount[:-1], value, c.lambda_)  # (H, M, N)
        rollout = Rollout(trajectory, reward, cont)
        return _Imagined(rollout, trajectory, value, returns, survival(discount.detach()), live)

    def _values(self, feature: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (H+1, M, N) of the critic that returns bootstrap from, and its parameters if it is the live one."""
        flat, live = _to_members(feature), None
        if self.config.slow_target:
            value = self.policies.slow.predict(flat)
        else:
            with torch.enable_grad():  # the critic's own loss uses the same pass
                value, live = self.policies.critic.predict_and_parameters(flat)
            if not self.through_dynamics:
                value = value.detach()
        return _by_member(value, self.config.horizon + 1), live

    def _actor_loss(self, one: _Imagined) -> _ActorLoss:
        """−mean over t of w_t·objective_t and of w_t·c_t·η·entropy_t.

        c_t is the probability that the episode goes on after state t, so that there is an action; where the objective
        is V_{t+1}, or made of it, it has that weight too. The objective is not divided by the return scale yet.
        """
        c, policies, trajectory, returns = self.config, self.policies, one.trajectory, one.returns
        if self.through_dynamics:
            steps = returns.shape[0] - 1  # t = 0 … H−2: the action at t is paid by V_{t+1}
            parameters = trajectory.policy[:steps]
            objective = returns[1:]
        else:
            authors = c.baseline == "authors"
            steps = returns.shape[0] - 1 if authors else returns.shape[0]
            feature = trajectory.feature[:steps].detach()
            parameters = rearrange(policies.actor(_to_members(feature)), "m (t n) p -> t m n p", t=steps)
            advantage = (returns[1:] if authors else returns) - one.value[:steps]
            action = trajectory.action[1 : steps + 1].detach()
            objective = advantage.detach() * policies.log_prob(parameters, action)
        entropy = policies.entropy(parameters)  # (steps, M, N)
        # cont[t] is the probability that the episode goes on after state t, so that there is an action at t. Objectives
        # that hold V_{t+1} are weighted by it. The advantage over the λ baseline holds it already, in V_t = r_t + γ ·
        # cont[t] · …; there only states that are known to have ended are left out.
        cont = one.rollout.cont[:steps].detach()
        taken = one.weight[:steps] * cont
        counted = taken if self.through_dynamics or c.baseline == "authors" else one.weight[:steps] * (cont > 0)
        bonus = -self.entropy_scale * (taken * entropy).mean((0, 2))
        return _ActorLoss(-(counted * objective).mean((0, 2)), bonus, entropy)

    def _critic_loss(self, one: _Imagined) -> tuple[Tensor, Tensor]:
        """Mean over t = 0 … H−1 of w_t·NLL(V_t) per member, and the critic's means (H, M, N)."""
        critic, steps = self.policies.critic, one.returns.shape[0]
        flat = _to_members(one.trajectory.feature[:-1].detach())
        parameters = critic(flat) if one.live is None else one.live[:, : flat.shape[1]]
        nll = critic.nll(parameters, _to_members(one.returns.detach()))  # (M, H·N)
        if self.config.slow_regulariser:
            with torch.no_grad():
                slow = self.policies.slow
                pull = _to_members(one.value[:-1].detach()) if one.live is None else slow.predict(flat)
            nll = nll + self.config.slow_regulariser * critic.nll(parameters, pull)
        loss = (_to_members(one.weight[:-1]) * nll).mean(1)
        return loss, _by_member(critic.mean(parameters.detach()), steps)

    @torch.no_grad()
    def _return_range(self, returns: Tensor) -> Tensor:
        """The running 5 % and 95 % quantiles with those of ``returns`` (H, M, N) among them, (2, M)."""
        if not self.config.normalise_returns:
            return self.range.clone()
        flat = _to_members(returns)  # (M, H·N)
        last = flat.shape[1] - 1
        ordered = flat.sort(1).values
        quantiles = torch.stack([ordered[:, int(0.05 * last)], ordered[:, int(0.95 * last)]])
        rate = torch.maximum(1.0 / (self.count + 1.0), torch.full_like(self.count, 1.0 - _RANGE_DECAY))
        return self.range + rate * (quantiles - self.range)

    def _return_scale(self, return_range: Tensor) -> Tensor:
        """max(floor, 5–95 % range) per member, (M,); ones where normalisation is off."""
        if not self.config.normalise_returns:
            return torch.ones_like(self.floor)
        return torch.maximum(return_range[1] - return_range[0], self.floor)

    def _refresh_slow(self) -> None:
        c = self.config
        due = (self.count % c.slow_every) == 0
        self.policies.refresh_slow(torch.where(due, c.slow_rate, 0.0))
        self.count += 1.0

    def tensors(self) -> Iterator[Tensor]:
        """All that learning reads or changes in place."""
        yield from (*self.policies.parameters(), *self.policies.buffers())
        yield from (*self.actor_optimizer.tensors(), *self.critic_optimizer.tensors())
        yield from (self.entropy_scale, self.floor, self.range, self.count)

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments and running statistics."""
        return {
            "policies": self.policies.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "range": self.range,
            "count": self.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.policies.load_state_dict(state["policies"])
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.range.copy_(state["range"])
        self.count.copy_(state["count"])


def _metrics(losses: Tensor, of: _Measured, scale: Tensor) -> dict[str, Tensor]:
    """Metrics, each (M,), from objective, bonus and critic's loss (3, M)."""
    objective, bonus, critic_loss = losses
    return {
        "actor_loss": objective / scale + bonus,
        "actor_ent": of.entropy.mean((0, 2)),
        "critic_loss": critic_loss,
        "critic": of.critic.mean((0, 2)),
        "critic_bootstrap": of.value.mean((0, 2)),
        "critic_target": of.returns.mean((0, 2)),
        "reward_mean": of.reward.mean((0, 2)),
        "reward_std": of.reward.std((0, 2), correction=0),
        "return_scale": scale,
    }


def _to_members(x: Tensor) -> Tensor:
    """(H, M, N, ...) → (M, H·N, ...): what one member's networks see."""
    return rearrange(x, "t m n ... -> m (t n) ...")


def _by_member(x: Tensor, steps: int) -> Tensor:
    """(M, H·N) → (H, M, N)."""
    return rearrange(x, "m (t n) -> t m n", t=steps)
