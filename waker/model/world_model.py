"""The world model: encoder, RSSM, decoder, reward heads and continue head, and its training loss.

Called by the agent's update, by imagination (through :attr:`WorldModel.rssm` and the heads) and by the evaluation of
model errors.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.model.cell_observations import CellDecoder, CellEncoder, board_of
from waker.model.cell_rssm import CellRSSM
from waker.model.decoder import Decoder, Reconstruction, weighted
from waker.model.distributions import categorical_entropy, categorical_kl, excess_surprise
from waker.model.egocentric import Where
from waker.model.encoder import Encoder
from waker.model.heads import bernoulli_nll, continue_head
from waker.model.reward_heads import RewardHeads
from waker.model.rssm import RSSM, Dynamics, Posterior, State
from waker.names import loss_metric
from waker.specs import EnvSpec


class ModelOutput(NamedTuple):
    """The loss to descend, the posterior it was computed on, and metrics (0-dim, or (K,) for reward losses)."""

    loss: Tensor
    posterior: Posterior
    metrics: dict[str, Tensor]


class StepLosses(NamedTuple):
    """Of each step of a batch, (B, T), nats.

    Attributes:
        loss: the whole loss.
        kl: KL(posterior ‖ prior), a part of it.
        excess: cross entropy of prior under posterior, less the prior's entropy: the KL beyond what a prior that is
            right would have. Where it is right the mean over steps is 0, however noisy they are; it may be negative.
    """

    loss: Tensor
    kl: Tensor
    excess: Tensor


class WorldModel(nn.Module):
    """θ enters nowhere: the model must infer the environment from observations."""

    def __init__(self, spec: EnvSpec, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.keys = config, spec.observation
        self.encoder: Encoder | CellEncoder
        self.rssm: Dynamics
        self.decoder: Reconstruction
        if config.latent == "cells":
            self.board = board = board_of(spec)
            self.encoder = CellEncoder(self.keys, config, board)
            self.rssm = CellRSSM(config, self.encoder.out_features, spec.action.dim, board)
            self.decoder = CellDecoder(self.keys, config, self.rssm.layout, board)
        else:
            self.encoder = Encoder(self.keys, config)
            self.rssm = RSSM(config, self.encoder.out_features, spec.action.dim)
            self.decoder = Decoder(self.keys, config, self.rssm.feature_dim)
        self.rewards = RewardHeads(len(spec.tasks), self.rssm.features, spec.action.dim, config)
        self.continues = continue_head(self.rssm.features, config) if config.continue_scale > 0 else None

    def observe(self, batch: Mapping[str, Tensor], mode: bool = False) -> Posterior:
        """The posterior over a batch of sequences, (B, T, ...)."""
        return self.rssm.observe(self.encoder(batch), batch["action"], batch["is_first"], mode)

    @property
    def where(self) -> Where | None:
        """The cell of the board that policies look from; None where the state is a vector, or nothing stands there."""
        if not isinstance(self.decoder, CellDecoder) or not self.decoder.outputs.board.places:
            return None
        return self.decoder.where

    def continue_probability(self, feature: Tensor) -> Tensor:
        """P(the episode goes on after this state), (...); ones where there is no continue head."""
        if self.continues is None:
            return torch.ones_like(feature[..., 0])
        return torch.sigmoid(self.continues(feature).squeeze(-1))

    def continue_loss(self, feature: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """−log likelihood of whether episodes go on after the records of a batch, 0-dim, from features (B, T, F).

        Raises:
            ValueError: there is no continue head.
        """
        if self.continues is None:
            raise ValueError("the model has no continue head")
        target = 1.0 - batch["is_terminal"].to(feature.dtype)
        return bernoulli_nll(self.continues(feature).squeeze(-1), target).mean()

    def with_continue_head(self, head: nn.Module) -> WorldModel:
        """This model with another continue head; all else is shared."""
        other = copy.copy(self)
        other._modules = dict(self._modules)
        other.continues = head
        return other

    def loss(self, batch: Mapping[str, Tensor], mode: bool = False) -> ModelOutput:
        """Reconstruction, KL, reward and continue losses, averaged over B·T (docs/method.md, World model)."""
        posterior = self.observe(batch, mode)
        feature = posterior.state.feature  # (B, T, F)
        reconstruction = self.decoder.nll(self.decoder(feature), batch)
        first = None if self.config.kl_first else batch["is_first"]
        kl_loss, kl = kl_losses(posterior.posterior, posterior.prior, self.config, first)
        reward = self.reward_loss(feature, batch)
        loss = weighted(reconstruction, self.keys) + self.config.kl_scale * kl_loss + reward.sum()
        metrics = {loss_metric(name): value.detach().mean() for name, value in reconstruction.items()}
        if self.continues is not None:
            cont = self.continue_loss(feature, batch)
            loss = loss + self.config.continue_scale * cont
            metrics["continue_loss"] = cont.detach()
        with torch.no_grad():
            metrics |= {
                "kl_loss": kl_loss.detach(),
                "model_kl": kl.detach(),
                "prior_ent": categorical_entropy(posterior.prior).sum(-1).mean(),
                "post_ent": categorical_entropy(posterior.posterior).sum(-1).mean(),
                "reward_loss": reward.detach(),
                "model_loss": loss.detach(),
            }
        return ModelOutput(loss, posterior, metrics)

    def step_losses(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> StepLosses:
        """How surprised the model is by each step: −log likelihood of what was seen, and KL(posterior ‖ prior).

        Keys count by their weights, as in :meth:`loss`; the KL as it is, without balance, scale or free nats, and where
        ``model.kl_first`` is off not at first steps. Rewards and ends are no part of it.
        """
        nll = self.decoder.nll(self.decoder(posterior.state.feature), batch)
        seen = torch.stack([k.weight * nll[k.name] for k in self.keys]).sum(0)
        kl = categorical_kl(posterior.posterior, posterior.prior).sum(-1)
        excess = excess_surprise(posterior.posterior, posterior.prior).sum(-1)
        if not self.config.kl_first:
            counted = (~batch["is_first"]).to(kl.dtype)
            kl, excess = kl * counted, excess * counted
        return StepLosses(seen + kl, kl, excess)

    def reward_loss(self, feature: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """−log likelihood of each task's rewards, (K,); see :meth:`waker.model.reward_heads.RewardHeads.loss`."""
        return self.rewards.loss(feature if self.config.reward_gradients else feature.detach(), batch)


def kl_losses(
    posterior: Tensor, prior: Tensor, config: ModelConfig, left_out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The KL loss, and the plain KL(posterior ‖ prior) in nats.

    ``mix`` (authors): the batch mean of each side is clamped at the free nats, then the two are mixed.
    ``dyn-rep`` (DreamerV3): each state's KL is clamped, then averaged.

    Args:
        posterior, prior: log probabilities (B, T, S, C).
        left_out: (B, T) bool, states whose KL counts as 0; None = none.
    """
    dyn = categorical_kl(posterior.detach(), prior).sum(-1)  # (B, T): trains the prior
    rep = categorical_kl(posterior, prior.detach()).sum(-1)  # (B, T): trains the posterior
    if left_out is not None:
        counted = (~left_out).to(dyn.dtype)
        dyn, rep = dyn * counted, rep * counted
    if config.kl_balance == "mix":
        sides = [dyn.mean().clamp_min(config.free_nats), rep.mean().clamp_min(config.free_nats)]
    else:
        sides = [dyn.clamp_min(config.free_nats).mean(), rep.clamp_min(config.free_nats).mean()]
    return config.kl_dyn * sides[0] + config.kl_rep * sides[1], dyn.mean()


__all__ = ["ModelOutput", "State", "StepLosses", "WorldModel", "kl_losses"]
