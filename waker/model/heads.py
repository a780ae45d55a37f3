"""Heads on the feature: one reward head per task, as a stack, and the continue head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from waker.model.distributions import (
    gaussian_nll,
    paired_twohot_mean,
    symexp_bins,
    twohot_mean,
    twohot_nll,
    unpaired,
)
from waker.model.nets import PairedLinear, StackedLinear, StackedMLP


class ScalarStack(nn.Module):
    """M scalar regressors as one stack: unit-variance Gaussians or two-hot over symexp bins.

    Serves reward heads (M = K tasks) and critics (M = K task policies and the explorer).
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        units: tuple[int, ...],
        act: str,
        norm: str,
        kind: str,
        bins: int,
        limit: float,
        zero: bool,
    ) -> None:
        super().__init__()
        self.twohot = kind == "twohot"
        last = PairedLinear if self.twohot else StackedLinear
        self.net = StackedMLP(members, inputs, units, bins if self.twohot else 1, act, norm, zero, last)
        self.register_buffer("bins", symexp_bins(bins, limit), persistent=False)
        self.bins: Tensor

    def forward(self, feature: Tensor) -> Tensor:
        """(M or 1, n, F) → parameters (M, n, outputs) for :meth:`mean` and :meth:`nll`: means, or logits by bin."""
        out = self.net(feature)
        return unpaired(out) if self.twohot else out

    def predict(self, feature: Tensor) -> Tensor:
        """Expected values of features (M or 1, n, F), (M, n). Differentiate these, not those of :meth:`mean`."""
        return self._mean(self.net(feature))

    def predict_and_parameters(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`predict` and :meth:`forward` by one pass of the network."""
        out = self.net(feature)
        return self._mean(out), unpaired(out) if self.twohot else out

    def _mean(self, out: Tensor) -> Tensor:
        return paired_twohot_mean(out, self.bins) if self.twohot else out.squeeze(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Expected value, (M, n)."""
        return twohot_mean(parameters, self.bins) if self.twohot else parameters.squeeze(-1)

    def nll(self, parameters: Tensor, target: Tensor) -> Tensor:
        """−log likelihood of targets (M, n) → (M, n)."""
        if self.twohot:
            return twohot_nll(parameters, target, self.bins)
        return gaussian_nll(parameters.squeeze(-1), target)


def bernoulli_nll(logit: Tensor, target: Tensor) -> Tensor:
    """−log likelihood of 0/1 targets, element by element."""
    return F.binary_cross_entropy_with_logits(logit, target, reduction="none")
