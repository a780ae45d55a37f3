"""Returns of imagined rollouts: the λ-return, and the probability that a rollout is still under way."""

from __future__ import annotations

import torch
from torch import Tensor


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
