"""The RSSM on a board: latents and recurrence in every cell, and one rule for all of them.

A global latent must learn what a pushed block does anew for every place and every combination of other blocks. Here the
transition is a convolutional GRU (Shi et al. 2015, arXiv 1506.04214) whose candidate sees two cells far, prior and
posterior are computed cell by cell, and what is learned in one cell holds in all.

Shapes: P cells, each with S latents of C classes and D deterministic numbers; all flat outside of this file, cell by
cell, so that whoever rolls, credits or saves states need not know.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from waker.config.schema import ModelConfig
from waker.machine import products
from waker.machine.precision import float32
from waker.model.cell_nets import CellConvolution
from waker.model.distributions import log_probabilities
from waker.model.features import CellLayout
from waker.model.nets import ACTIVATIONS, Linear, Norm
from waker.model.rssm import Dynamics, State, columns_of
from waker_envs.boards import Board


class CellRSSM(Dynamics):
    """Convolutional GRU dynamics over (stoch, action); ``config``'s sizes are those of one cell."""

    def __init__(self, config: ModelConfig, embed_dim: int, action_dim: int, board: Board) -> None:
        cells = board.size
        super().__init__(cells * config.stoch, config.classes, cells * config.deter, config)
        stoch, deter, hidden = config.stoch * config.classes, config.deter, config.hidden
        layout = CellLayout(board.rows, board.columns, stoch, deter)
        self.layout = self.features = layout
        self.act = ACTIVATIONS[config.act]
        self.near, self.near_norm = CellConvolution(1, layout, stoch + deter, hidden), Norm(config.norm, (hidden,))
        self.action_in, self.action_gate = Linear(action_dim, hidden), Linear(action_dim, hidden)
        self.far, self.far_norm = CellConvolution(1, layout, hidden, hidden), Norm(config.norm, (hidden,))
        self.gru = Linear(hidden + deter, 3 * deter)
        self.gru_norm = nn.LayerNorm(3 * deter, eps=config.gru_norm_eps)
        self.img_out, self.img_out_norm = Linear(deter, hidden), Norm(config.norm, (hidden,))
        self.img_dist = Linear(hidden, stoch)
        self.obs_out, self.obs_out_norm = Linear(deter + embed_dim // cells, hidden), Norm(config.norm, (hidden,))
        self.obs_dist = Linear(hidden, stoch)

    def prior(self, deter: Tensor) -> Tensor:
        """See :meth:`Dynamics.prior`."""
        return self._latents(self.img_dist(self.act(self.img_out_norm(self.img_out(self._cells(deter))))))

    def entry_weights(self) -> tuple[Tensor, ...]:
        """None: no layer sees state and action side by side."""
        return ()

    def judge_weights(self) -> tuple[Tensor, ...]:
        """Columns of the posterior's layer: for deter, for the embedding."""
        return columns_of(self.obs_out, self.layout.deter)

    def entering(self, action: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The action's shift and gate of the first layer, (..., 2·hidden): the same in every cell."""
        return torch.cat([self.action_in(action), self.action_gate(action)], -1)

    def embedded(self, embed: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The embedding's part of the posterior's layer, (..., P, hidden)."""
        return products.linear(self._cells(embed), weights[1], self.obs_out.bias)

    def advance(self, state: State, entering: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """See :meth:`Dynamics.advance`."""
        lead = state.deter.shape[:-1]
        cells = self.layout.cells(state.feature.flatten(0, -2))  # (n, P, S·C + D)
        shift, gate = entering.flatten(0, -2).unsqueeze(1).chunk(2, -1)  # each (n, 1, hidden)
        near = self.near(cells.unsqueeze(0)).squeeze(0)
        x = self.act(self.near_norm(near + shift) * (1.0 + gate))
        x = self.act(self.far_norm(self.far(x.unsqueeze(0)).squeeze(0)))
        deter = cells[..., self.layout.stoch :]
        gates = self.gru_norm(float32(self.gru(torch.cat([x, deter], -1))))
        return self.gated(gates, deter).flatten(1).unflatten(0, lead)

    def judge(self, deter: Tensor, embedded: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """See :meth:`Dynamics.judge`."""
        x = products.linear(self._cells(deter), weights[0]) + embedded
        return self._latents(self.obs_dist(self.act(self.obs_out_norm(x))))

    def _cells(self, flat: Tensor) -> Tensor:
        return rearrange(flat, "... (p c) -> ... p c", p=self.layout.size)

    def _latents(self, logits: Tensor) -> Tensor:
        """(..., P, S·C) → log probabilities (..., P·S, C)."""
        by_latent = rearrange(float32(logits), "... p (s c) -> ... (p s) c", c=self.classes)
        return log_probabilities(by_latent, self.unimix)
