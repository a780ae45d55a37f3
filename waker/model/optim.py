"""Adam for whole modules and for stacks: one set of fused tensor operations, whatever the number of members.

Each member of a stack is clipped by its own gradient norm, as if it had an optimiser of its own. The step count lives
on the parameters' device and the learning rate is computed there: nothing is read back to the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from waker.config.schema import OptimizerConfig
from waker.errors import UserError

_BETA1, _BETA2 = 0.9, 0.999


class Adam:
    """Adam with global-norm clipping, warm-up, cosine decay and the two oddities of the authors' optimiser.

    ``keras``: w ← w − lr·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + eps), else the bias-corrected form
    w ← w − lr·m̂/(√v̂ + eps). ``decay``: w ← w·(1 − decay) of every variable before the step, not scaled by lr.

    Args:
        parameters: in a fixed order; those that do not require a gradient (frozen ones) are left alone.
        members: clip per member along the first axis of every parameter, (M, ...); None = one global norm.
    """

    def __init__(self, parameters: Iterable[Tensor], config: OptimizerConfig, members: int | None = None) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.config, self.members = config, members
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.count = torch.zeros((), device=self.parameters[0].device)

    def learning_rate(self) -> Tensor:
        """The rate of the next step, 0-dim, on the parameters' device."""
        c = self.config
        t = self.count
        rate = torch.full_like(t, c.lr)
        if c.warmup:
            rate = rate * ((t + 1.0) / c.warmup).clamp_max(1.0)
        if c.anneal:
            share = (t / c.anneal).clamp_max(1.0)
            rate = rate * (c.anneal_to + (1.0 - c.anneal_to) * 0.5 * (1.0 + torch.cos(math.pi * share)))
        return rate

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """The derivatives of ``loss`` with respect to the parameters alone, for :meth:`apply`."""
        return list(torch.autograd.grad(loss, self.parameters))

    def descend(self, loss: Tensor) -> Tensor:
        """:meth:`apply` with the loss's :meth:`gradients`."""
        return self.apply(self.gradients(loss))

    @torch.no_grad()
    def apply(self, grads: list[Tensor]) -> Tensor:
        """One step along given gradients, which are clipped in place; their norm before that, 0-dim or (M,)."""
        c = self.config
        norm = self._clip(grads)
        rate = self.learning_rate()
        self.count += 1.0
        correct1 = 1.0 - torch.pow(_BETA1, self.count)
        correct2 = (1.0 - torch.pow(_BETA2, self.count)).sqrt()
        torch._foreach_lerp_(self.m, grads, 1.0 - _BETA1)
        torch._foreach_mul_(self.v, _BETA2)
        torch._foreach_addcmul_(self.v, grads, grads, 1.0 - _BETA2)
        denominator = torch._foreach_sqrt(self.v)
        if not c.keras:
            torch._foreach_div_(denominator, correct2)
        torch._foreach_add_(denominator, c.eps)
        update = torch._foreach_div(self.m, denominator)
        torch._foreach_mul_(update, -rate * (correct2 if c.keras else 1.0) / correct1)
        if c.decay:
            torch._foreach_mul_(self.parameters, 1.0 - c.decay)
        torch._foreach_add_(self.parameters, update)
        return norm

    def _clip(self, grads: list[Tensor]) -> Tensor:
        clip = self.config.clip
        if self.members is None:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
            if clip:
                torch._foreach_mul_(grads, clip / norm.clamp_min(clip))
            return norm
        squares = [g.flatten(1).square().sum(1) for g in grads]  # each (M,)
        norms = torch.stack(squares).sum(0).sqrt()
        if clip:
            scale = clip / norms.clamp_min(clip)
            torch._foreach_mul_(grads, [scale.view(-1, *[1] * (g.dim() - 1)) for g in grads])
        return norms

    def tensors(self) -> Iterator[Tensor]:
        """Moments and step count; not the parameters."""
        yield from (*self.m, *self.v, self.count)

    def state_dict(self) -> dict[str, Any]:
        """Moments and step count."""
        return {"m": self.m, "v": self.v, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore moments and step count.

        Raises:
            UserError: the state belongs to other parameters.
        """
        for name, own in (("m", self.m), ("v", self.v)):
            if [tuple(t.shape) for t in state[name]] != [tuple(t.shape) for t in own]:
                raise UserError("the optimiser's state belongs to a model of another shape")
            for target, value in zip(own, state[name], strict=True):
                target.copy_(value)
        self.count.copy_(state["count"])
