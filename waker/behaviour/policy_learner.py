"""Learning a stack of policies in imagination: actor and critic losses, return normalisation, slow critics.

One :class:`PolicyLearner` trains the K task policies and the explorer during exploration; another trains task policies
afterwards from a frozen model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory, imagine, lambda_return, survival
from waker.behaviour.starts import Starts
from waker.config.schema import BehaviourConfig
from waker.machine.precision import Precision
from waker.model.optim import Adam, add_gradients, by_member
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


class _Pass(NamedTuple):
    """A rollout with its graph: values (H+1, M, N), returns (H, M, N), weights w (H+1, M, N).

    ``live`` (M, (H+1)·N, outputs) are the live critic's parameters where returns bootstrap from it.
    """

    trajectory: Trajectory
    rollout: Rollout
    value: Tensor
    returns: Tensor
    weight: Tensor
    live: Tensor | None


class _Tally(NamedTuple):
    """What is kept of each chunk, joined along the last axis: start states N, or members M for ``losses`` (3, M)."""

    losses: Tensor
    entropy: Tensor
    live: Tensor
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

        With ``behaviour.chunk`` the rollouts are made and differentiated for so many start states at a time and their
        gradients added up: the same step but for the order of sums (and of random draws), in a part of the memory.

        Args:
            starts: N start states.
            reward_of: rewards of a trajectory.

        Returns:
            Gradients, metrics, and the rollout: detached where it was built without gradient, or in several chunks.
        """
        n = len(starts.cont)
        parts = starts.split(self.config.chunk or n)
        known = len(parts) == 1 or not self.config.normalise_returns
        actor, critic = list(self.policies.actor.parameters()), list(self.policies.critic.parameters())
        objective_grads: list[Tensor] = []
        entropy_grads: list[Tensor] = []
        critic_grads: list[Tensor] = []
        tallies = []
        for part in parts:
            with self.precision():
                one = self._roll(model, part, reward_of, mode)
                objective, bonus, entropy = self._actor_loss(one)  # per member, (M,)
            weight = self.policies.learns * (len(part.cont) / n)
            span = self._return_range(one.returns) if len(parts) == 1 else self.range
            scale = self._return_scale(span) if len(parts) == 1 else torch.ones_like(self.floor)
            loss, keep = objective / scale + bonus if known else objective, one.live is not None
            if not known:
                # The scale is a statistic of all chunks: until it is known the two terms stay apart.
                entropy_grads = add_gradients(entropy_grads, (bonus * weight).sum(), actor, keep=True)
            objective_grads = add_gradients(objective_grads, (loss * weight).sum(), actor, keep)
            with self.precision():
                critic_loss, live = self._critic_loss(one)
            critic_grads = add_gradients(critic_grads, (critic_loss * weight).sum(), critic)
            losses = torch.stack([objective, bonus, critic_loss]).detach() * (len(part.cont) / n)
            rollout = one.rollout
            tallies.append(_Tally(losses, entropy, live, one.value, one.returns, rollout.reward, rollout.cont))
        total = _Tally(*(torch.cat([x.detach() for x in xs], -1) for xs in zip(*tallies, strict=True)))
        if len(parts) > 1:
            rollout, span = Rollout(None, total.reward, total.cont), self._return_range(total.returns)
            scale = self._return_scale(span)
            if not known:
                objective_grads = list(torch._foreach_add(by_member(1.0 / scale, objective_grads), entropy_grads))
        objective, bonus, critic_loss = total.losses.unflatten(-1, (len(parts), -1)).sum(-2)
        metrics = {
            "actor_loss": objective / scale + bonus,
            "actor_ent": total.entropy.mean((0, 2)),
            "critic_loss": critic_loss,
            "critic": total.live.mean((0, 2)),
            "critic_bootstrap": total.value.mean((0, 2)),
            "critic_target": total.returns.mean((0, 2)),
            "reward_mean": total.reward.mean((0, 2)),
            "reward_std": total.reward.std((0, 2), correction=0),
            "return_scale": scale,
        }
        return PolicyGradients(rollout, objective_grads, critic_grads, span, metrics)

    def step(self, found: PolicyGradients) -> dict[str, Tensor]:
        """Move actors, critics, slow critics and running statistics; the gradients' norms as metrics, each (M,)."""
        norms = {
            "actor_grad_norm": self.actor_optimizer.apply(found.actor),
            "critic_grad_norm": self.critic_optimizer.apply(found.critic),
        }
        self.range.copy_(found.range)
        self._refresh_slow()
        return norms

    def _roll(self, model: WorldModel, starts: Starts, reward_of: RewardFunction, mode: bool) -> _Pass:
        c, policies = self.config, self.policies
        with torch.set_grad_enabled(self.through_dynamics):
            trajectory = imagine(model.rssm, policies, starts.state, c.horizon, mode)
            reward = reward_of(trajectory)
            continues = model.continue_probability(trajectory.feature[1:])
            first = starts.cont.expand_as(continues[0]).unsqueeze(0)
            cont = torch.cat([first, continues])
            flat, live = _to_members(trajectory.feature), None
            if c.slow_target:
                value = policies.slow.predict(flat)
            else:
                with torch.enable_grad():  # the critic's own loss uses the same pass
                    value, live = policies.critic.predict_and_parameters(flat)
                if not self.through_dynamics:
                    value = value.detach()
            value = _by_member(value, c.horizon + 1)
            discount = c.discount * cont  # (H+1, M, N)
            returns = lambda_return(reward[:-1], discount[:-1], value, c.lambda_)  # (H, M, N)
        return _Pass(trajectory, Rollout(trajectory, reward, cont), value, returns, survival(discount.detach()), live)

    def _actor_loss(self, one: _Pass) -> tuple[Tensor, Tensor, Tensor]:
        """−mean over t of w_t·objective_t and of w_t·c_t·η·entropy_t, each (M,), and the entropies (steps, M, N).

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
            parameters = policies.actor(_to_members(feature)).unflatten(1, (steps, -1)).movedim(1, 0)
            advantage = (returns[1:] if authors else returns) - one.value[:steps]
            action = trajectory.action[1 : steps + 1].detach()
            objective = advantage.detach() * policies.log_prob(parameters, action)
        entropy = policies.entropy(parameters)  # (steps, M, N)
        # The probability that there is an action at t. V_{t+1} is worth as much, but V_t has it in itself (λ baseline):
        # there only the states known to have ended are left out, whose action earns nothing.
        cont = one.rollout.cont[:steps].detach()
        taken = one.weight[:steps] * cont
        counted = taken if self.through_dynamics or c.baseline == "authors" else one.weight[:steps] * (cont > 0)
        bonus = -self.entropy_scale * (taken * entropy).mean((0, 2))
        return -(counted * objective).mean((0, 2)), bonus, entropy

    def _critic_loss(self, one: _Pass) -> tuple[Tensor, Tensor]:
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

    def _return_scale(self, span: Tensor) -> Tensor:
        """max(floor, 5–95 % range) per member, (M,); ones where normalisation is off."""
        if not self.config.normalise_returns:
            return torch.ones_like(self.floor)
        return torch.maximum(span[1] - span[0], self.floor)

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


def _to_members(x: Tensor) -> Tensor:
    """h m n ... -> m (h n) ..."""
    return x.movedim(0, 1).flatten(1, 2)


def _by_member(x: Tensor, steps: int) -> Tensor:
    """m (h n) -> h m n"""
    return x.unflatten(1, (steps, -1)).movedim(1, 0)
