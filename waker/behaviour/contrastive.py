"""Losses that make a policy of preferences with no reward between them: contrastive preference learning, and DPO.

CPL (Hejna et al. 2023, arXiv 2310.13639): people prefer the segment with less regret, and in maximum-entropy RL the
advantage of an action is α log π(a|s). DPO (Rafailov et al. 2023, arXiv 2305.18290): of two continuations of the *same*
start the reward is β log(π/π_ref) but for a constant of that start. Where starts differ the constants do not cancel, so
DPO is for pairs that share theirs. Used by :mod:`waker.agent.contrastive_policy` and :mod:`waker.agent.self_policy`.

Shapes: n pairs of segments, L steps.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

DPOForm = Literal["sigmoid", "robust"]


def segment_score(log_prob: Tensor, inside: Tensor, gamma: float = 1.0) -> Tensor:
    """Σ_t γ^t log π(a_t|s_t) over each segment's own steps, (n, L) → (n,).

    Args:
        inside: (n, L), 1 for steps that belong to the segment; or the probability that they are taken at all.
        gamma: counts from the segment's start, as *imitation* and CPL have it.
    """
    if gamma == 1.0:
        return (log_prob * inside).sum(-1)
    step = torch.arange(log_prob.shape[-1], device=log_prob.device, dtype=log_prob.dtype)
    return (gamma**step * log_prob * inside).sum(-1)


def cpl_loss(first: Tensor, second: Tensor, label: Tensor, bias: float = 1.0, flips: float = 0.0) -> Tensor:
    """y·ℓ(first wins) + (1 − y)·ℓ(second wins), ℓ = −log σ(winner − λ loser), each (n,).

    With λ = 1 only differences count: both segments may become unlikely together, and the policy's mass leave what was
    seen. λ < 1 punishes that. A tie is half of each.

    Args:
        first, second: α Σ γ^t log π of both segments; or of log(π / π_ref).
        label: y = P(first preferred).
        bias: λ, on whichever segment is the loser.
        flips: ε, the share of answers taken to be turned round; labels are smoothed by it.
    """
    label = (1.0 - flips) * label + flips * (1.0 - label)
    return -label * F.logsigmoid(first - bias * second) - (1.0 - label) * F.logsigmoid(second - bias * first)


def dpo_loss(u: Tensor, label: Tensor, flips: float = 0.0, form: DPOForm = "sigmoid") -> Tensor:
    """The loss of a pair whose segments share their start, (n,).

    Args:
        u: β [Σ log(π/π_ref) of the first − the same of the second].
        label: y = P(first preferred); a soft one is so much of each answer.
        flips: ε, the share of answers taken to be turned round. ``sigmoid`` smooths labels by it (conservative DPO),
            which moves the optimum; ``robust`` does not move it, and may be negative.
        form: ``sigmoid``: ℓ(u) = −log σ(u). ``robust``: [(1−ε)ℓ(u) − ε ℓ(−u)] / (1−2ε) (Chowdhury et al. 2024, arXiv
            2403.00409).

    Raises:
        ValueError: half of the answers or more are turned round.
    """
    if not 0.0 <= flips < 0.5:
        raise ValueError("of answers of which half are turned round nothing can be learned")
    wins, loses = -F.logsigmoid(u), -F.logsigmoid(-u)
    if form == "robust":
        one = ((1.0 - flips) * wins - flips * loses) / (1.0 - 2.0 * flips)
        other = ((1.0 - flips) * loses - flips * wins) / (1.0 - 2.0 * flips)
    else:
        one, other = (1.0 - flips) * wins + flips * loses, (1.0 - flips) * loses + flips * wins
    return label * one + (1.0 - label) * other


def ipo_loss(difference: Tensor, label: Tensor, tau: float) -> Tensor:
    """(Δ − 1/(2τ))² where the first is preferred, (−Δ − 1/(2τ))² where the second is (Azar et al. 2023, 2310.12036).

    Args:
        difference: Δ, the mean over steps of log(π/π_ref) of the first less that of the second, (n,). By sums a
            longer segment would weigh more.
        tau: strength of the pull to the reference.
    """
    gap = 1.0 / (2.0 * tau)
    return label * (difference - gap).square() + (1.0 - label) * (-difference - gap).square()


def regularised_optimum(reference: Tensor, reward: Tensor, beta: float) -> Tensor:
    """π* ∝ π_ref exp(r/β), the policy that DPO's loss is minimal at, (..., A)."""
    return torch.softmax(reference.log() + reward / beta, -1)
