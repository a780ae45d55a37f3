"""Imagined rewards of task policies: each member's trajectory through its own reward head."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from waker.behaviour.imagination import Trajectory
from waker.model.reward_heads import RewardHeads


def task_rewards(heads: RewardHeads, trajectory: Trajectory) -> Tensor:
    """Predicted rewards (H+1, K, N) of K trajectories, one head a trajectory, or of one that all heads share.

    Heads that see steps give entry t the reward of the step from t − 1. None led to a start state: it earns 0, unless
    the trajectory says where it came from.
    """
    feature, action, start = trajectory.feature, trajectory.action, trajectory.origin
    if not heads.of_steps:
        return _by_entry(heads, heads.given(feature, action, feature))
    if start is None:
        earned = _by_entry(heads, heads.given(feature[:-1], action[1:], feature[1:]))
        return torch.cat([torch.zeros_like(earned[:1]), earned])
    return _by_entry(heads, heads.given(torch.cat([start, feature[:-1]]), action, feature))


def _by_entry(heads: RewardHeads, given: Tensor) -> Tensor:
    """(T, K or 1, N, inputs) → (T, K, N)."""
    steps = given.shape[0]
    flat = rearrange(given, "t k n i -> k (t n) i")
    return rearrange(heads.predict(flat), "k (t n) -> t k n", t=steps)
