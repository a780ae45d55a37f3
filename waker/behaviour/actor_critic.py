"""A stack of M actor-critics that share nothing but their shape: one batched matmul per layer for all of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from waker.config.schema import BehaviourConfig, ModelConfig
from waker.model.distributions import (
    categorical_entropy,
    log_probabilities,
    sample_onehot,
    truncated_normal_entropy,
    truncated_normal_log_prob,
    truncated_normal_sample,
)
from waker.model.egocentric import Where, policy_network
from waker.model.features import Features
from waker.model.heads import ScalarStack
from waker.model.nets import Network, StackShape
from waker.specs import ActionSpec


class ActorCriticStack(nn.Module):
    """Actors, critics and slow critics of the named policies.

    Actor parameters p: A logits (discrete), or A locations and A scales of truncated normals on (−1, 1) with
    location tanh(out) and scale 2·σ(s/2) + 0.1 (docs/method.md, Policies).

    Args:
        names: one a member; tasks' names, and/or :data:`EXPLORER`.
        uniform: members that act uniformly at random and learn nothing.
        where: on a board, the cell they look from; None = they see it as it lies.
        view: what actors and critics see of a feature, (..., F) → (..., feature_dim); None = the feature itself. Its
            weights are not the policies' own.
    """

    def __init__(
        self,
        names: Sequence[str],
        features: Features,
        action: ActionSpec,
        config: BehaviourConfig,
        model: ModelConfig,
        uniform: Sequence[str] = (),
        where: Where | None = None,
        view: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.view = view
        self.names, self.members = tuple(names), len(names)
        self.action_dim, self.discrete = action.dim, action.discrete
        self.unimix, self.min_scale = config.actor_unimix, config.min_scale
        outputs = action.dim if action.discrete else 2 * action.dim
        build = functools.partial(policy_network, features, where=where)
        self.actor = build(StackShape(self.members, config.actor_units, outputs, model.act, model.norm))
        self.critic = self._critic(build, config, model)
        self.slow = self._critic(build, config, model)
        self.slow.load_state_dict(self.critic.state_dict())
        self.slow.requires_grad_(False)
        self.any_uniform, self.all_uniform = bool(uniform), all(name in uniform for name in names)
        learns = torch.tensor([name not in uniform for name in names])
        self.register_buffer("learns", learns, persistent=False)
        self.learns: Tensor

    def _critic(self, build: Network, config: BehaviourConfig, model: ModelConfig) -> ScalarStack:
        return ScalarStack(
            self.members,
            build,
            config.critic_units,
            model.act,
            model.norm,
            config.critic,
            model.bins,
            model.bins_limit,
            model.zero_heads,
        )

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = parameters.chunk(2, -1)
        return torch.tanh(loc), 2.0 * torch.sigmoid(scale / 2.0) + self.min_scale

    def _log_probs(self, logits: Tensor) -> Tensor:
        return log_probabilities(logits, self.unimix)

    def sample(self, parameters: Tensor, mode: bool = False) -> Tensor:
        """Actions (M, ..., A) for actor parameters (M, ..., p), reparameterised or straight-through.

        With ``mode`` learning members take their mode; uniform members have none and always draw.
        """
        if self.discrete:
            action = sample_onehot(self._log_probs(parameters), mode)
        else:
            action = truncated_normal_sample(*self._split(parameters), mode)
        if not self.any_uniform:
            return action
        return torch.where(self._learns_like(action).bool(), action, self.undirected(action))

    def undirected(self, like: Tensor) -> Tensor:
        """Uniform random actions of the shape (..., A) of a tensor."""
        if self.discrete:
            return sample_onehot(torch.full_like(like, -math.log(self.action_dim)))
        return 2.0 * torch.rand_like(like) - 1.0

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropy in nats, summed over action dimensions: (..., p) → (...)."""
        if self.discrete:
            return categorical_entropy(self._log_probs(parameters))
        return truncated_normal_entropy(*self._split(parameters)).sum(-1)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Log density of ``action``: (..., p), (..., A) → (...)."""
        if self.discrete:
            return (self._log_probs(parameters) * action).sum(-1)
        return truncated_normal_log_prob(*self._split(parameters), action).sum(-1)

    def _learns_like(self, tensor: Tensor) -> Tensor:
        return self.learns.to(tensor.dtype).view(-1, *[1] * (tensor.dim() - 1))

    def see(self, feature: Tensor) -> Tensor:
        """What actors and critics are given of features (..., F)."""
        return feature if self.view is None else self.view(feature)

    def act(self, feature: Tensor, member: Tensor, mode: bool) -> Tensor:
        """Actions of the chosen member for each row: features (n, F), member (n,) → (n, A)."""
        actions = self.sample(self.actor(self.see(feature).unsqueeze(0)), mode)  # (M, n, A)
        index = member.view(1, -1, 1).expand(1, -1, actions.shape[-1])
        chosen = actions.gather(0, index).squeeze(0)
        # Straight-through samples are one-hot only to rounding.
        return F.one_hot(chosen.argmax(-1), self.action_dim).float() if self.discrete else chosen

    @torch.no_grad()
    def refresh_slow(self, rate: Tensor) -> None:
        """Move the slow critics towards the live ones by ``rate`` (0-dim; 0 leaves them, 1 copies)."""
        slow: list[Tensor] = list(self.slow.parameters())
        live: list[Tensor] = list(self.critic.parameters())
        difference = list(torch._foreach_sub(live, slow))
        torch._foreach_mul_(difference, rate)
        torch._foreach_add_(slow, difference)
