"""Rollouts of the world model under a stack of policies; returns on them are in :mod:`waker.behaviour.returns`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.model.rssm import Dynamics, State


class Trajectory(NamedTuple):
    """H imagined steps of M policies from N start states.

    Attributes:
        feature: (H+1, M, N, F); entry 0 is the start state.
        action: (H+1, M, N, A); ``action[t]`` led into ``feature[t]``, so entry 0 is zero.
        policy: (H, M, N, p), the actor's parameters at states 0 … H−1.
        origin: (1, M, N, F), where ``action[0]`` led from, in a trajectory whose entry 0 is no start state; else None.

    In memory the members come first, so that each member's H+1 steps are one matrix for its networks, without a copy.
    """

    feature: Tensor
    action: Tensor
    policy: Tensor
    origin: Tensor | None = None


def imagine(rssm: Dynamics, policies: ActorCriticStack, start: State, horizon: int, mode: bool = False) -> Trajectory:
    """Let every policy act in the model for ``horizon`` steps from the same start states.

    Args:
        start: stoch (N, S·C), deter (N, D).
    """
    members, n = policies.members, start.deter.shape[0]
    state = State(*(repeat(x, "n d -> (m n) d", m=members) for x in start))
    feature = rearrange(state.feature, "(m n) f -> m n f", m=members)
    features, policy = [feature], []
    actions = [feature.new_zeros(members, n, policies.action_dim)]
    for _ in range(horizon):
        parameters = policies.actor(policies.see(feature.detach()))  # policies see the feature without gradient
        action = policies.sample(parameters, mode)
        state = rssm.imagine(state, rearrange(action, "m n a -> (m n) a"), mode)
        feature = rearrange(state.feature, "(m n) f -> m n f", m=members)
        features.append(feature)
        actions.append(action)
        policy.append(parameters)
    return Trajectory(*(rearrange(torch.stack(x, 1), "m t n d -> t m n d") for x in (features, actions, policy)))
