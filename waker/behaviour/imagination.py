"""Rollouts of the world model under a stack of policies, and the returns computed on them."""

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
        parameters = policies.actor(feature.detach())  # policies see the feature without gradient
        action = policies.sample(parameters, mode)
        state = rssm.imagine(state, rearrange(action, "m n a -> (m n) a"), mode)
        feature = rearrange(state.feature, "(m n) f -> m n f", m=members)
        features.append(feature)
        actions.append(action)
        policy.append(parameters)
    return Trajectory(*(rearrange(torch.stack(x, 1), "m t n d -> t m n d") for x in (features, actions, policy)))


def lambda_return(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float) -> Tensor:
    """V_t = r_t + d_t·((1 − λ)·v_{t+1} + λ·V_{t+1}) for t = 0 … H−1, with V_H = v_H (docs/method.md, Policies).

    Args:
        reward, discount: entries 0 … H−1, (H, ...); ``discount[t]`` = γ · P(the episode goes on after state t).
        value: v_0 … v_H, (H+1, ...).
    """
    following = value[-1]
    returns = []
    for t in reversed(range(reward.shape[0])):
        following = reward[t] + discount[t] * ((1.0 - lambda_) * value[t + 1] + lambda_ * following)
        returns.append(following)
    return torch.stack(returns[::-1])


def survival(discount: Tensor) -> Tensor:
    """w_t = Π_{i<t} d_i with w_0 = 1, same shape as ``discount`` (H, ...)."""
    shifted = torch.cat([torch.ones_like(discount[:1]), discount[:-1]])
    return shifted.cumprod(0)
