"""A reward head that is learned from preferences: E members of a stack as one reward, and its Bradley–Terry loss.

Fitted by :class:`waker.agent.head_fit.HeadFit`; imagination and plans ask it as they ask any reward head. Christiano et
al. (2017, arXiv 1706.03741), eq. 1 and section 2.2.3.

Shapes: E members, n segments or states, L steps, F feature, A action.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from waker.config.schema import ModelConfig
from waker.model.features import Features
from waker.model.reward_heads import RewardHeads


class PreferenceHeads(RewardHeads):
    """The reward of one task: the mean of E members, shifted and scaled as :meth:`settle` found.

    Args:
        members: E.
        features: of the states.
        action_dim: A.
        config: of the model; members are Gaussian (preferences give no target that bins could be fitted to) and do not
            start at zero, so that they differ where nothing is known.

    Attributes:
        size: E.
        offset, scale: what is taken off the members' mean, and what it is then divided by; 0-dim.
    """

    def __init__(self, members: int, features: Features, action_dim: int, config: ModelConfig) -> None:
        super().__init__(members, features, action_dim, replace(config, reward="gaussian", zero_heads=False))
        self.size = members
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.offset: Tensor
        self.scale: Tensor

    def members(self, given: Tensor) -> Tensor:
        """What each member makes of what heads see, (E or 1, n, inputs) → (E, n); no offset, no scale."""
        return super().predict(given)

    def predict(self, feature: Tensor) -> Tensor:
        """The reward, (1, n, inputs) → (1, n)."""
        return (self.members(feature).mean(0, keepdim=True) - self.offset) / self.scale

    def sums(self, given: Tensor, inside: Tensor) -> Tensor:
        """Each member's sum over a segment's steps.

        Args:
            given: (E or 1, n, L, inputs).
            inside: (E or 1, n, L), 1 for steps that belong to the segment, 0 behind its end.

        Returns:
            (E, n).
        """
        steps = self.members(given.flatten(1, 2)).unflatten(1, given.shape[1:3])
        return (steps * inside).sum(-1)

    @torch.no_grad()
    def settle(self, rewards: Tensor, pinned: bool) -> None:
        """Set offset and scale by the members' mean on the states of a replay.

        The scale is the way from the median to the 99 % quantile, so that the best states pay about 1. Segments of
        equal length leave a constant free, r + c: then the median state is set to pay 0.

        Args:
            rewards: (n,), of states drawn from the replay.
            pinned: segments of different length have told the constant.
        """
        median, high = torch.quantile(rewards.float(), torch.tensor([0.5, 0.99], device=rewards.device))
        spread = high - median
        spread = torch.where(spread > 0, spread, rewards.max() - median)
        self.offset.copy_(torch.zeros_like(median) if pinned else median)
        self.scale.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))


def preference_loss(difference: Tensor, label: Tensor, error: float = 0.0) -> Tensor:
    """−log likelihood of labels, element by element: of y under P(first preferred) = ε/2 + (1 − ε) σ(d).

    Args:
        difference: d, the first segment's sum less the second's.
        label: y in [0, 1]; ½ says that both are equal.
        error: ε, the share of answers that are taken to be a coin's; 0.1 in Christiano et al.
    """
    if not error:
        return F.binary_cross_entropy_with_logits(difference, label, reduction="none")
    chance = 0.5 * error + (1.0 - error) * torch.sigmoid(difference)
    return F.binary_cross_entropy(chance, label, reduction="none")
