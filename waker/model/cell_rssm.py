"""The RSSM on a board: latents and recurrence in every cell, and one rule for all of them.

A global latent must learn what a pushed block does anew for every place and every combination of other blocks. Here the
transition is a convolutional GRU (Shi et al. 2015, arXiv 1506.04214) whose candidate sees two cells far, prior and
posterior are computed cell by cell, and what is learned in one cell holds in all.

A cell's deterministic state is the GRU's, and beside it, word for word, what the cell's latents were before and the
action that led here: rewards are paid for what moved, and to which side, and nothing else makes the GRU keep that.

Shapes: P cells, each with S latents of C classes and D + S·C + A deterministic numbers; all flat outside of this file,
cell by cell, so that whoever rolls, credits or saves states need not know.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from waker.config import ModelConfig
from waker.model import products
from waker.model.cell_nets import CellConvolution
from waker.model.distributions import log_probabilities
from waker.model.features import CellLayout
from waker.model.nets import ACTIVATIONS, Linear, Norm
from waker.model.rssm import Dynamics, State, columns_of
from waker.precision import float32
from waker_envs.boards import Board


class CellRSSM(Dynamics):
    """Convolutional GRU dynamics over (stoch, action); ``config``'s sizes are those of one cell."""

    def __init__(self, config: ModelConfig, embed_dim: int, action_dim: int, board: Board) -> None:
        cells = board.size
        stoch, deter, hidden = config.stoch * config.classes, config.deter, config.hidden
        layout = CellLayout(board.rows, board.columns, stoch, deter + stoch + action_dim)
        super().__init__(cells * config.stoch, config.classes, cells * layout.deter, config)
        self.memory = deter  # the GRU's part of a cell's deterministic state
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
        return self._latents(self.img_dist(self.act(self.img_out_norm(self.img_out(self._remembered(deter))))))

    def entry_weights(self) -> tuple[Tensor, ...]:
        """None: no layer sees state and action side by side."""
        return ()

    def judge_weights(self) -> tuple[Tensor, ...]:
        """Columns of the posterior's layer: for deter, for the embedding."""
        return columns_of(self.obs_out, self.memory)

    def entering(self, action: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The action's shift and gate of the first layer, and itself, (..., 2·hidden + A): the same in every cell."""
        return torch.cat([self.action_in(action), self.action_gate(action), action], -1)

    def embedded(self, embed: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """The embedding's part of the posterior's layer, (..., P, hidden)."""
        return products.linear(self._cells(embed), weights[1], self.obs_out.bias)

    def advance(self, state: State, entering: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """See :meth:`Dynamics.advance`."""
        lead, stoch, hidden = state.deter.shape[:-1], self.layout.stoch, self.action_in.out_features
        cells = self.layout.cells(state.feature.flatten(0, -2))[..., : stoch + self.memory]  # (n, P, S·C + D)
        before, memory = cells.split([stoch, self.memory], -1)
        of_action = entering.flatten(0, -2).unsqueeze(1)
        shift, gate, action = of_action.split([hidden, hidden, of_action.shape[-1] - 2 * hidden], -1)
        near = self.near(cells.unsqueeze(0)).squeeze(0)
        x = self.act(self.near_norm(near + shift) * (1.0 + gate))
        x = self.act(self.far_norm(self.far(x.unsqueeze(0)).squeeze(0)))
        gates = self.gru_norm(float32(self.gru(torch.cat([x, memory], -1))))
        taken = action.expand(-1, self.layout.size, -1)
        return torch.cat([self.gated(gates, memory), before, taken], -1).flatten(1).unflatten(0, lead)

    def judge(self, deter: Tensor, embedded: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """See :meth:`Dynamics.judge`."""
        x = products.linear(self._remembered(deter), weights[0]) + embedded
        return self._latents(self.obs_dist(self.act(self.obs_out_norm(x))))

    def _remembered(self, deter: Tensor) -> Tensor:
        return self._cells(deter)[..., : self.memory]

    def _cells(self, flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (self.layout.size, -1))  # ... (p c) -> ... p c

    def _latents(self, logits: Tensor) -> Tensor:
        """(..., P, S·C) → log probabilities (..., P·S, C)."""
        return log_probabilities(float32(logits).flatten(-2).unflatten(-1, (self.latents, self.classes)), self.unimix)
