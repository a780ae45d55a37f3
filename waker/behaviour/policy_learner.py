"""Learning a stack of policies in imagination: actor and critic losses, return normalisation, slow critics.

One :class:`PolicyLearner` trains the K task policies and the explorer during exploration; another trains task policies
afterwards from a frozen model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory, imagine, lambda_return, survival
from waker.behaviour.starts import Starts
from waker.config import BehaviourConfig
from waker.learner import EXPLORER
from waker.model.optim import Adam
from waker.model.world_model import WorldModel

RewardFunction = Callable[[Trajectory], Tensor]
"""Rewards of a rollout, (H+1, M, N); gradients may flow into the trajectory."""

_RANGE_DECAY = 0.99
_EXPLORER_FLOOR = 1e-3


class Rollout(NamedTuple):
    """What the policies were trained on: the trajectory, rewards and continue probabilities (H+1, M, N)."""

    trajectory: Trajectory
    reward: Tensor
    goes_on: Tensor


class PolicyLearner:
    """Optimisers and running statistics of an :class:`ActorCriticStack`."""

    def __init__(self, policies: ActorCriticStack, config: BehaviourConfig) -> None:
        self.policies, self.config = policies, config
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

    def update(
        self, model: WorldModel, starts: Starts, reward_of: RewardFunction, mode: bool = False
    ) -> tuple[Rollout, dict[str, Tensor]]:
        """One step of every actor and critic.

        Args:
            starts: N start states.
            reward_of: rewards of a trajectory.

        Returns:
            The rollout (detached where it was built without gradient) and metrics, each (M,).
        """
        with torch.set_grad_enabled(self.through_dynamics):
            trajectory = imagine(model.rssm, self.policies, starts.state, self.config.horizon, mode)
            reward = reward_of(trajectory)
            continues = model.continue_probability(trajectory.feature[1:])
            first = starts.goes_on.expand_as(continues[0]).unsqueeze(0)
            rollout = Rollout(trajectory, reward, torch.cat([first, continues]))
        metrics = self._learn(rollout)
        return rollout, metrics

    def _learn(self, rollout: Rollout) -> dict[str, Tensor]:
        c, policies = self.config, self.policies
        trajectory, reward, goes_on = rollout
        discount = c.discount * goes_on  # (H+1, M, N)
        weight = survival(discount.detach())  # (H+1, M, N)
        with torch.set_grad_enabled(self.through_dynamics):
            value = self._values(policies.slow if c.slow_target else policies.critic, trajectory.feature)
            returns = lambda_return(reward[:-1], discount[:-1], value, c.lambda_)  # (H, M, N)
        scale = self._return_scale(returns)
        actor_loss, entropy = self._actor_loss(rollout, returns, value, weight, scale)
        actor_norm = self.actor_optimizer.step((actor_loss * policies.learns).sum())
        target = returns.detach()
        critic_loss, live = self._critic_loss(trajectory.feature[:-1].detach(), target, weight[:-1])
        critic_norm = self.critic_optimizer.step((critic_loss * policies.learns).sum())
        self._refresh_slow()
        spread = reward.detach()
        return {
            "actor_loss": actor_loss.detach(),
            "actor_grad_norm": actor_norm,
            "actor_ent": entropy.detach().mean((0, 2)),
            "critic_loss": critic_loss.detach(),
            "critic_grad_norm": critic_norm,
            "critic": live.mean((0, 2)),
            "critic_bootstrap": value.detach().mean((0, 2)),
            "critic_target": target.mean((0, 2)),
            "reward_mean": spread.mean((0, 2)),
            "reward_std": spread.std((0, 2), correction=0),
            "return_scale": scale,
        }

    def _values(self, critic: Any, feature: Tensor) -> Tensor:
        """Critic means over a trajectory: (H+1, M, N, F) → (H+1, M, N)."""
        return _by_member(critic.mean(critic(_to_members(feature))), feature.shape[0])

    def _actor_loss(
        self, rollout: Rollout, returns: Tensor, value: Tensor, weight: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """−mean over t of w_t·(objective_t + η·entropy_t) per member, and the entropies (steps, M, N)."""
        c, policies, trajectory = self.config, self.policies, rollout.trajectory
        per_member = scale.view(1, -1, 1)
        if self.through_dynamics:
            steps = returns.shape[0] - 1  # t = 0 … H−2: the action at t is paid by V_{t+1}
            parameters = trajectory.policy[:steps]
            objective = returns[1:] / per_member
        else:
            authors = c.baseline == "authors"
            steps = returns.shape[0] - 1 if authors else returns.shape[0]
            feature = trajectory.feature[:steps].detach()
            parameters = policies.actor(_to_members(feature)).unflatten(1, (steps, -1)).movedim(1, 0)
            advantage = (returns[1:] if authors else returns) - value[:steps]
            action = trajectory.action[1 : steps + 1].detach()
            objective = (advantage.detach() / per_member) * policies.log_prob(parameters, action)
        entropy = policies.entropy(parameters)  # (steps, M, N)
        # An ended episode's action earns nothing, so it is not trained.
        importance = weight[:steps] * rollout.goes_on[:steps].detach()
        objective = objective + self.entropy_scale.view(1, -1, 1) * entropy
        return -(importance * objective).mean((0, 2)), entropy

    def _critic_loss(self, feature: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over t = 0 … H−1 of w_t·NLL(V_t) per member, and the critic's means (H, M, N)."""
        critic, steps = self.policies.critic, feature.shape[0]
        flat = _to_members(feature)
        parameters = critic(flat)
        nll = critic.nll(parameters, _to_members(target))  # (M, H·N)
        if self.config.slow_regulariser:
            with torch.no_grad():
                slow = self.policies.slow
                pull = slow.mean(slow(flat))
            nll = nll + self.config.slow_regulariser * critic.nll(parameters, pull)
        loss = (_to_members(weight) * nll).mean(1)
        return loss, _by_member(critic.mean(parameters.detach()), steps)

    @torch.no_grad()
    def _return_scale(self, returns: Tensor) -> Tensor:
        """max(floor, running 5–95 % range of returns) per member, (M,); ones where normalisation is off."""
        if not self.config.normalise_returns:
            return torch.ones_like(self.floor)
        flat = _to_members(returns)  # (M, H·N)
        last = flat.shape[1] - 1
        ordered = flat.sort(1).values
        quantiles = torch.stack([ordered[:, int(0.05 * last)], ordered[:, int(0.95 * last)]])
        rate = torch.maximum(1.0 / (self.count + 1.0), torch.full_like(self.count, 1.0 - _RANGE_DECAY))
        self.range += rate * (quantiles - self.range)
        return torch.maximum(self.range[1] - self.range[0], self.floor)

    def _refresh_slow(self) -> None:
        c = self.config
        due = (self.count % c.slow_every) == 0
        self.policies.refresh_slow(torch.where(due, c.slow_rate, 0.0))
        self.count += 1.0

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
