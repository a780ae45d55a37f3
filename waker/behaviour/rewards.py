"""Imagined rewards of task policies: each member's trajectory through its own reward head."""

from __future__ import annotations

from torch import Tensor

from waker.model.heads import ScalarStack


def task_rewards(heads: ScalarStack, feature: Tensor) -> Tensor:
    """Predicted rewards (H+1, K, N) of K trajectories (H+1, K, N, F), one head a trajectory."""
    steps = feature.shape[0]
    flat = feature.movedim(0, 1).flatten(1, 2)  # h k n f -> k (h n) f
    return heads.predict(flat).unflatten(1, (steps, -1)).movedim(1, 0)  # k (h n) -> h k n
