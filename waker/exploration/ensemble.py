"""Plan2Explore's ensemble: one-step predictors whose disagreement is the intrinsic reward and the error estimate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from waker.config.schema import ExplorerConfig
from waker.exploration.targets import LatentTarget, ObservationTarget, RegressionTarget, Target, cell_target
from waker.model.cell_nets import CellPredictors
from waker.model.features import CellLayout
from waker.model.nets import StackedMLP
from waker.model.rssm import Posterior
from waker.model.world_model import WorldModel

_CHUNK_ROWS = 1024
"""States whose disagreement is computed at a time, so that predictions are never held for all imagined states at once.

A number of rows, not of bytes: the number of dispatched operations must not grow with the number of heads.
"""


def make_target(model: WorldModel, name: str) -> Target:
    """The target called ``name`` of ``explorer.target``."""
    if name == "latent":
        return LatentTarget(model.rssm)
    if name == "observation":
        return ObservationTarget(model)
    return RegressionTarget(model.rssm, whole=name == "feature")


class Ensemble(nn.Module):
    """E predictors of the next state from a feature and an action, as one stack (docs/method.md, Exploration).

    Args:
        model: whose states it predicts; it is not kept.
    """

    def __init__(self, model: WorldModel, action_dim: int, config: ExplorerConfig) -> None:
        super().__init__()
        self.config = config
        self.target = make_target(model, config.target)
        features, how = model.rssm.features, (model.config.act, model.config.norm)
        self.net: nn.Module
        if isinstance(features, CellLayout):
            each, self.from_cells = cell_target(model, config.target, features)
            self.net = CellPredictors(config.heads, features, action_dim, config.units, each, *how)
        else:
            self.net = StackedMLP(config.heads, features + action_dim, config.units, self.target.dim, *how)

    def predict(self, feature: Tensor, action: Tensor) -> Tensor:
        """(n, F), (n, A) → (E, n, target)."""
        if isinstance(self.net, CellPredictors):
            return self.from_cells(self.net(feature, action))
        prediction: Tensor = self.net(torch.cat([feature, action], -1).unsqueeze(0))
        return prediction

    def predict_steps(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """Predictions of steps 1 … T−1 of a batch from those before, (E, B·(T−1), target); none reaches the model."""
        feature, action = posterior.state.feature.detach(), batch["action"]
        led_into = self.config.action == "authors"
        conditions = action[:, :-1] if led_into else action[:, 1:]
        return self.predict(feature[:, :-1].flatten(0, 1), conditions.flatten(0, 1))

    def loss(self, prediction: Tensor, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """−log likelihood of the next state, summed over heads, averaged over transitions inside an episode, 0-dim.

        No gradient reaches the world model.

        Args:
            prediction: of :meth:`predict_steps`.
        """
        nll = self.target.nll(prediction, posterior, batch)  # (E, B·(T−1))
        if self.config.across_ends:
            return nll.sum(0).mean()
        inside = (~batch["is_first"][:, 1:]).to(nll.dtype).flatten()
        return (nll * inside).sum() / inside.sum().clamp_min(1.0)

    def disagreement(self, feature: Tensor, action: Tensor) -> Tensor:
        """Disagreement of the heads at (..., F) under actions (..., A), shape (...), in the target's own measure."""
        lead = feature.shape[:-1]
        feature, action = feature.flatten(0, -2), action.flatten(0, -2)
        blocks = zip(feature.split(_CHUNK_ROWS), action.split(_CHUNK_ROWS), strict=True)
        parts = [self.target.disagreement(self.predict(f, a)) for f, a in blocks]
        return torch.cat(parts).unflatten(0, lead)

    def intrinsic_reward(self, feature: Tensor, action: Tensor) -> Tensor:
        """Scaled disagreement at every entry of a rollout, (H+1, N).

        With the action taken (default) the disagreement about the step t−1 → t is the reward of arriving at t, and
        entry 0 is zero; with ``authors`` entry t is computed from state t and the action that led into it.

        Args:
            feature: (H+1, N, F).
            action: (H+1, N, A); ``action[t]`` led into ``feature[t]``.
        """
        if self.config.action == "authors":
            return self.config.scale * self.disagreement(feature, action)
        arrived = self.disagreement(feature[:-1], action[1:])
        return self.config.scale * torch.cat([torch.zeros_like(arrived[:1]), arrived])
