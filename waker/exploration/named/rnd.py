"""Random Network Distillation (Burda et al. 2018, arXiv 1810.12894): go where a random function is not yet learned.

On latent features, which imagination has and which are bounded, so that they need no normalisation. The reward is
divided by the running standard deviation of the error on the replay, where the source takes that of its returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from waker.config.schema import ExplorerConfig
from waker.exploration.api import Explorer
from waker.exploration.registry import register_explorer
from waker.model.nets import MLP
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel
from waker.settings import Count, Settings


@dataclass(frozen=True)
class RNDSettings(Settings, section="explorer.settings"):
    """Both networks: ``layers`` hidden layers of ``width`` units, and ``size`` outputs; the predictor has one more."""

    size: Count = 64
    width: Count = 256
    layers: Count = 2


@register_explorer("rnd")
class RND(Explorer):
    """Reward of being in a state: the predictor's squared error there, averaged over outputs, in standard deviations.

    Attributes:
        target: a fixed random function of the feature.
        predictor: learns it where the agent has been.
        count, mean, variance: of all errors seen in updates, 0-dim. They start as one thousandth of an error would
            leave them, at mean 0 and variance 1.
    """

    Own = RNDSettings

    def __init__(self, model: WorldModel, action_dim: int, config: ExplorerConfig, settings: Any) -> None:
        super().__init__(model, action_dim, config, settings)
        inputs, hidden, size = model.rssm.feature_dim, (settings.width,) * settings.layers, settings.size
        how = model.config.act, model.config.norm
        self.target = MLP(inputs, hidden, size, *how).requires_grad_(False)
        self.predictor = MLP(inputs, (*hidden, settings.width), size, *how)
        for name, value in (("count", 1e-3), ("mean", 0.0), ("variance", 1.0)):
            self.register_buffer(name, torch.tensor(value))
        self.count: Tensor
        self.mean: Tensor
        self.variance: Tensor

    def error(self, feature: Tensor) -> Tensor:
        """Mean squared error of the prediction, (..., F) → (...)."""
        return (self.predictor(feature) - self.target(feature)).square().mean(-1)

    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        """See :meth:`Explorer.reward`."""
        return self.config.scale * self.error(feature) / self.variance.sqrt().clamp_min(1e-8)

    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """See :meth:`Explorer.loss`."""
        error = self.error(posterior.state.feature.detach())
        self._count_in(error.detach())
        return error.mean()

    def _count_in(self, error: Tensor) -> None:
        """Mean and variance of all errors so far (Chan, Golub & LeVeque 1979)."""
        share = error.numel() / (self.count + error.numel())
        off = error.mean() - self.mean
        within = torch.lerp(self.variance, error.var(correction=0), share)
        self.variance.copy_(within + off.square() * share * (1.0 - share))
        self.mean.add_(off * share)
        self.count.add_(error.numel())
