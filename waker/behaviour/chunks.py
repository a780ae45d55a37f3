"""Gradients of means over start states, made for a chunk of them at a time and added up: a part of the memory.

Called by :class:`waker.behaviour.policy_learner.PolicyLearner`; knows nothing of policies.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class GradientSum:
    """Σ over chunks of the gradients of per-member losses (M,) with respect to a stack's parameters, (M, ...) each.

    Args:
        learns: (M,) bool; the losses of other members count as 0.
    """

    def __init__(self, parameters: Iterable[Tensor], learns: Tensor) -> None:
        self.parameters, self.learns = list(parameters), learns
        self.total: list[Tensor] = []

    def add(self, loss: Tensor, share: float, keep_graph: bool = False) -> None:
        """Differentiate a chunk's mean loss.

        Args:
            share: of all start states, those in this chunk.
            keep_graph: for another loss of the same rollout.
        """
        weighted = (loss * (self.learns * share)).sum()
        grads = torch.autograd.grad(weighted, self.parameters, retain_graph=keep_graph)
        if self.total:
            torch._foreach_add_(self.total, grads)
        else:
            self.total = list(grads)


class ScaledGradientSum:
    """The same for losses objective / scale + bonus, where the scale (M,) is a statistic of all chunks together.

    While it is not known the two terms are differentiated apart: ∇L = (1 / scale) · Σ ∇objective + Σ ∇bonus.
    """

    def __init__(self, parameters: Iterable[Tensor], learns: Tensor) -> None:
        self._objective = GradientSum(parameters, learns)
        self._bonus = GradientSum(self._objective.parameters, learns)

    def add(
        self, objective: Tensor, bonus: Tensor, scale: Tensor | None, share: float, keep_graph: bool = False
    ) -> None:
        """Differentiate a chunk's terms; ``scale`` None = it is not known yet. See :meth:`GradientSum.add`."""
        if scale is None:
            self._bonus.add(bonus, share, keep_graph=True)
            self._objective.add(objective, share, keep_graph)
        else:
            self._objective.add(objective / scale + bonus, share, keep_graph)

    def total(self, scale: Tensor) -> list[Tensor]:
        """∇L of all chunks."""
        if not self._bonus.total:
            return self._objective.total
        by_member = [(1.0 / scale).view(-1, *[1] * (g.dim() - 1)) for g in self._objective.total]
        return list(torch._foreach_add(torch._foreach_mul(self._objective.total, by_member), self._bonus.total))
