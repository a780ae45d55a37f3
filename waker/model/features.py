"""What networks on the latent state must know of it: how many numbers it has, or how a board of cells lies in them.

On a vector such networks (reward heads, actors and critics, the ensemble) are stacks of MLPs; on a board their rules
are shared between the cells (:mod:`waker.model.cell_nets`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
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
        return torch.cat([stoch.unflatten(-1, (self.size, -1)), deter.unflatten(-1, (self.size, -1))], -1)

    def flat(self, cells: Tensor) -> Tensor:
        """The other way: (..., P, channels) → (..., F)."""
        return torch.cat([part.flatten(-2) for part in cells.split([self.stoch, self.deter], -1)], -1)


Features = int | CellLayout
"""The latent state as networks see it: the size F of a vector, or the layout of a board."""
