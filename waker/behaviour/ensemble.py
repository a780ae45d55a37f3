"""Plan2Explore's ensemble: one-step predictors whose disagreement is the intrinsic reward and the error estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from waker.config import ExplorerConfig, ModelConfig
from waker.model.distributions import categorical_entropy, gaussian_nll, log_softmax
from waker.model.nets import StackedMLP
from waker.model.rssm import RSSM, Posterior

_CHUNK_ROWS = 1024
"""States whose disagreement is computed at a time, so that predictions are never held for all imagined states at once.

A number of rows, not of bytes: the number of dispatched operations must not grow with the number of heads.
"""

_LEAST_DEVIATION = 1e-8
"""Below this the heads agree: the standard deviation has no derivative at zero."""


class Ensemble(nn.Module):
    """E predictors of the next latent state from a feature and an action, as one stack (METHOD §5)."""

    def __init__(self, rssm: RSSM, action_dim: int, config: ExplorerConfig, model: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.latents, self.classes, self.stoch_dim = rssm.latents, rssm.classes, rssm.stoch_dim
        sizes = {"feature": rssm.feature_dim, "deter": rssm.deter_dim, "latent": rssm.stoch_dim}
        self.target_dim = sizes[config.target]
        inputs = rssm.feature_dim + action_dim
        self.net = StackedMLP(config.heads, inputs, config.units, self.target_dim, model.act, model.norm)

    def predict(self, feature: Tensor, action: Tensor) -> Tensor:
        """(n, F), (n, A) → (E, n, target)."""
        return self.net(torch.cat([feature, action], -1).unsqueeze(0))

    def loss(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> Tensor:
        """−log likelihood of the next state, summed over heads, averaged over transitions inside an episode, 0-dim.

        No gradient reaches the world model.
        """
        feature, action = posterior.state.feature.detach(), batch["action"]
        led_into = self.config.action == "authors"
        conditions = action[:, :-1] if led_into else action[:, 1:]
        prediction = self.predict(feature[:, :-1].flatten(0, 1), conditions.flatten(0, 1))  # (E, B·(T−1), target)
        if self.config.target == "latent":
            log_probs = self._latent_log_probs(prediction)
            truth = posterior.posterior[:, 1:].detach().exp().flatten(0, 1)  # (B·(T−1), S, C)
            nll = -(truth * log_probs).sum((-1, -2))
        else:
            target = feature if self.config.target == "feature" else posterior.state.deter.detach()
            nll = gaussian_nll(prediction, target[:, 1:].flatten(0, 1)).sum(-1)  # (E, B·(T−1))
        if self.config.across_ends:
            return nll.sum(0).mean()
        inside = (~batch["is_first"][:, 1:]).to(nll.dtype).flatten()
        return (nll * inside).sum() / inside.sum().clamp_min(1.0)

    def disagreement(self, feature: Tensor, action: Tensor) -> Tensor:
        """Disagreement of the heads at (..., F) under actions (..., A), shape (...).

        Regression targets: the population standard deviation over heads, averaged over target dimensions. Latents: the
        Jensen–Shannon divergence of the heads' categoricals in nats, averaged over latents.
        """
        lead = feature.shape[:-1]
        feature, action = feature.flatten(0, -2), action.flatten(0, -2)
        blocks = zip(feature.split(_CHUNK_ROWS), action.split(_CHUNK_ROWS), strict=True)
        parts = [self._spread(self.predict(f, a)) for f, a in blocks]
        return torch.cat(parts).unflatten(0, lead)

    def _spread(self, prediction: Tensor) -> Tensor:
        if self.config.target == "latent":
            log_probs = self._latent_log_probs(prediction)  # (E, n, S, C)
            mixture = log_probs.exp().mean(0).clamp_min(1e-12).log()
            return (categorical_entropy(mixture) - categorical_entropy(log_probs).mean(0)).mean(-1)
        spread: Tensor = _Deviation.apply(prediction)
        return spread

    def _latent_log_probs(self, logits: Tensor) -> Tensor:
        return log_softmax(logits.unflatten(-1, (self.latents, self.classes)))

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


class _Deviation(torch.autograd.Function):
    """Population standard deviation over the first axis, averaged over the last: (E, n, D) → (n,).

    Written out, as torch.std over the leading axis costs several times the matmuls on a CPU. The derivative is
    (x − mean) / (E·D·std): one product, the mean's own part being zero. Where heads agree it is zero.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor) -> Tensor:
        centred = prediction - prediction.mean(0, keepdim=True)
        deviation = centred.square().mean(0).sqrt_().clamp_min_(_LEAST_DEVIATION)
        ctx.save_for_backward(centred, deviation)
        return deviation.mean(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        centred, deviation = ctx.saved_tensors
        share = grads[0].unsqueeze(-1) / (deviation * centred.shape[0] * centred.shape[-1])
        return centred * share.where(deviation > _LEAST_DEVIATION, 0.0)
