"""Disagreement about the next latents (as LEXA's explorer; Mendonca et al. 2021, arXiv 2110.09514).

An ensemble of its own predicts the categorical latents, whatever ``explorer.target`` the error estimate has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from waker.config.schema import ExplorerConfig
from waker.errors import UserError
from waker.exploration.api import Explorer
from waker.exploration.ensemble import Ensemble
from waker.exploration.registry import register_explorer
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel


@register_explorer("latent-disagreement")
class LatentDisagreement(Explorer):
    """Reward: the Jensen–Shannon divergence of E predictions of each latent, in nats, averaged over latents.

    Raises:
        UserError: the error estimate's target are the latents already: then Plan2Explore is the same.
    """

    def __init__(self, model: WorldModel, action_dim: int, config: ExplorerConfig, settings: Any) -> None:
        super().__init__(model, action_dim, config, settings)
        if config.target == "latent":
            raise UserError(
                "with explorer.target 'latent' the error estimate is the disagreement about latents: "
                "take explorer 'plan2explore', or another explorer.target"
            )
        self.ensemble = Ensemble(model, action_dim, replace(config, target="latent"))

    def reward(self, feature: Tensor, action: Tensor) -> Tensor:
        """See :meth:`Explorer.reward`."""
        return self.ensemble.intrinsic_reward(feature, action)

    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """See :meth:`Explorer.loss`."""
        return self.ensemble.loss(self.ensemble.predict_steps(posterior, batch), posterior, batch)
