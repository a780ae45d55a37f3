"""What networks on the latent state must know of it: how many numbers it has, or how a board of cells lies in them.

On a vector such networks (reward heads, actors and critics, the ensemble) are stacks of MLPs; on a board their rules
are shared between the cells (:mod:`waker.model.cell_nets`). What sees a step sees two states and the action between
them, side by side (:func:`step_inputs`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor


class CellLayout(NamedTuple):
    """How a board lies in a flat state: P = rows · columns cells, row by row, each with its latents and its channels.

    Attributes:
        stoch: one-hot entries of a cell's latents.
        deter: a cell's share of the deterministic state.
    """

    rows: int
    columns: int
    stoch: int
    deter: int

    @property
    def size(self) -> int:
        """P, the number of cells."""
        return self.rows * self.columns

    @property
    def channels(self) -> int:
        """Numbers a cell."""
        return self.stoch + self.deter

    def cells(self, feature: Tensor) -> Tensor:
        """The feature cell by cell, latents first: (..., F) → (..., P, channels)."""
        stoch, deter = feature.split([self.size * self.stoch, self.size * self.deter], -1)
        return torch.cat([rearrange(x, "... (p c) -> ... p c", p=self.size) for x in (stoch, deter)], -1)

    def flat(self, cells: Tensor) -> Tensor:
        """The other way: (..., P, channels) → (..., F)."""
        parts = cells.split([self.stoch, self.deter], -1)
        return torch.cat([rearrange(part, "... p c -> ... (p c)") for part in parts], -1)


Features = int | CellLayout
"""The latent state as networks see it: the size F of a vector, or the layout of a board."""


class StepLayout(NamedTuple):
    """How a step on a board lies in a flat vector: the feature before it, its action, the feature after it.

    Attributes:
        board: of both features.
        actions: size A of an action.
        change: whether what changes in a cell is seen by itself.
    """

    board: CellLayout
    actions: int
    change: bool = False

    @property
    def channels(self) -> int:
        """Numbers a cell, of both states."""
        return 2 * self.board.channels

    def parts(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Both states cell by cell, and the action: (..., F + A + F) → (..., P, channels), (..., A)."""
        feature = self.board.size * self.board.channels
        before, action, after = step.split([feature, self.actions, feature], -1)
        return torch.cat([self.board.cells(before), self.board.cells(after)], -1), action


Inputs = Features | StepLayout
"""What a network of cells, or in their absence an MLP, is given: a latent state, or a step between two."""


def step_inputs(features: Features, actions: int, change: bool = False) -> int | StepLayout:
    """What a network is given of a step, (..., F + A + F): its size for a vector, its layout for a board."""
    return StepLayout(features, actions, change) if isinstance(features, CellLayout) else 2 * features + actions
