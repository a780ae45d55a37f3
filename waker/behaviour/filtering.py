"""Which imagined rollouts a policy is cloned from: ReST's thresholds (Gulcehre et al. 2023, arXiv 2308.08998).

Scores are compared among rollouts from *one* start state: a threshold over all starts keeps the lucky starts, whatever
was done there. Used by :mod:`waker.agent.rest_policy` and :mod:`waker.agent.self_policy`.

Shapes: N start states, C candidates from each.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Threshold = Literal["percentile", "interpolated", "global"]


def scaled(score: Tensor) -> Tensor:
    """Scores on [0, 1] by the smallest and the largest of all; zeros where all are equal."""
    spread = score.max() - score.min()
    return (score - score.min()) / spread if spread > 0 else torch.zeros_like(score)


def percentile(score: Tensor, p: float) -> Tensor:
    """The p-th percentile of each start's scores, (N, C) → (N, 1); between two of them linear."""
    return torch.quantile(score, p / 100.0, 1, keepdim=True)


def interpolated(score: Tensor, share: float) -> Tensor:
    """γ·max + (1 − γ)·mean of each start's scores, (N, C) → (N, 1)."""
    return share * score.amax(1, keepdim=True) + (1.0 - share) * score.mean(1, keepdim=True)


def kept(score: Tensor, threshold: Threshold, level: float, margin: float = 0.0) -> Tensor:
    """Which rollouts are learned from, (N, C) → (N, C) bool.

    By a start's own threshold a rollout must also be better than the mean of its start's by ``margin``, by
    ``global`` better than the least of all: where all earn nothing, none is kept. Of several that lie on a
    threshold all are, as many returns of a grid are equal.

    Args:
        threshold: ``percentile``: ``level`` in 0 … 100, of each start. ``interpolated``: γ in 0 … 1, of each start.
            ``global``: a share of the way from the smallest to the largest of *all*; to compare with.
        level: see there.
        margin: in units of a score.
    """
    if threshold == "global":
        return (scaled(score) > level) & (score > score.min() + margin)
    least = percentile(score, level) if threshold == "percentile" else interpolated(score, level)
    return (score >= least) & (score > score.mean(1, keepdim=True) + margin)


def best_and_worst(score: Tensor, margin: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Of each start the best and the worst candidate (N,), and whether they differ by more than ``margin`` (N,)."""
    best, worst = score.argmax(1), score.argmin(1)
    gap = score.amax(1) - score.amin(1)
    return best, worst, gap > margin
