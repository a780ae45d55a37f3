"""Heads on the feature: stacks of scalar regressors (rewards, values) and the continue head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.model.cell_nets import SummedCells
from waker.model.distributions import (
    gaussian_nll,
    paired_twohot_mean,
    symexp_bins,
    twohot_mean,
    twohot_nll,
    unpaired,
)
from waker.model.features import CellLayout, Features
from waker.model.nets import MLP, Network, PairedLinear, StackedLinear, StackShape


class ScalarStack(nn.Module):
    """M scalar regressors as one stack: unit-variance Gaussians or two-hot over symexp bins.

    Serves reward heads (M = K tasks) and critics (M = K task policies and the explorer).

    Args:
        build: makes the networks; see :func:`waker.model.cell_nets.summed_network` and
            :func:`waker.model.egocentric.policy_network`.
    """

    def __init__(
        self,
        members: int,
        build: Network,
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
        outputs = bins if self.twohot else 1
        self.net = build(StackShape(members, units, outputs, act, norm, zero, last))
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


class ContinueCells(nn.Module):
    """The continue head on a board: (..., F) → logits (..., 1)."""

    def __init__(self, layout: CellLayout, units: tuple[int, ...], act: str, norm: str) -> None:
        super().__init__()
        self.net = SummedCells(layout, StackShape(1, units, 1, act, norm))

    def forward(self, feature: Tensor) -> Tensor:
        return self.net(feature.flatten(0, -2).unsqueeze(0)).view(*feature.shape[:-1], 1)


def continue_head(features: Features, config: ModelConfig) -> nn.Module:
    """Logits (..., 1) of the episode's going on after the state (..., F)."""
    c = config
    if isinstance(features, CellLayout):
        return ContinueCells(features, c.continue_units, c.act, c.norm)
    return MLP(features, c.continue_units, 1, c.act, c.norm)
