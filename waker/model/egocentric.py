"""Networks that see a board from where something stands on it: what policies look through.

Whether a block is to be pushed to the right depends on what lies next to the agent, wherever both are. Seen from a
fixed corner, every place of the agent and the block is a case of its own; seen from the agent, they are one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from waker.model.features import CellLayout, Features
from waker.model.nets import ACTIVATIONS, StackedLinear, StackShape

Where = Callable[[Tensor], Tensor]
"""The cell in the middle of the view, (...) integers below P, for features (..., F)."""


def views(layout: CellLayout) -> Tensor:
    """For each middle, the cells around it row by row, (P, (2·rows − 1)·(2·columns − 1)); beyond the edge lies "P".

    All of the board is in the view, from any cell.
    """
    row, column = torch.arange(layout.rows), torch.arange(layout.columns)
    rows = row[:, None] + torch.arange(1 - layout.rows, layout.rows)  # (rows, 2·rows − 1)
    columns = column[:, None] + torch.arange(1 - layout.columns, layout.columns)
    cell = rows[:, None, :, None] * layout.columns + columns[None, :, None, :]  # r c y x
    within_rows = ((rows >= 0) & (rows < layout.rows))[:, None, :, None]
    within_columns = ((columns >= 0) & (columns < layout.columns))[None, :, None, :]
    seen = torch.where(within_rows & within_columns, cell, layout.size)
    return rearrange(seen, "r c y x -> (r c) (y x)")


class EgocentricStack(nn.Module):
    """M networks: a linear layer in every cell, the board moved so that one cell is in the middle, and an MLP on it.

    Args:
        where: the middle. No gradient reaches it.
        shape: its first units are the channels of the linear layer, the others hidden layers of the MLP.
    """

    def __init__(self, layout: CellLayout, where: Where, shape: StackShape) -> None:
        super().__init__()
        self.layout, self.where, self.act = layout, where, ACTIVATIONS[shape.act]
        self.register_buffer("views", views(layout), persistent=False)
        self.views: Tensor
        channels = shape.units[0]
        self.each = StackedLinear(shape.members, layout.channels, channels)
        self.whole = shape._replace(units=shape.units[1:]).mlp(channels * self.views.shape[1])

    def forward(self, feature: Tensor) -> Tensor:
        """(M, n, F) or shared (1, n, F) → (M, n, out)."""
        cells = self.each(rearrange(self.layout.cells(feature), "m n p c -> m (n p) c"))
        cells = rearrange(self.act(cells.contiguous()), "m (n p) u -> m n p u", p=self.layout.size)
        view = self.views[self.where(feature.detach())]  # (m, n, v)
        beyond = torch.cat([cells, torch.zeros_like(cells[:, :, :1])], 2)
        index = view.unsqueeze(-1).expand(*cells.shape[:2], -1, cells.shape[-1])
        return self.whole(rearrange(beyond.gather(2, index), "m n v u -> m n (v u)"))


def policy_network(features: Features, shape: StackShape, where: Where | None = None) -> nn.Module:
    """For what depends on all of the state; on a board where something stands, from there.

    See :data:`waker.model.nets.Network`.
    """
    if isinstance(features, CellLayout) and where is not None:
        return EgocentricStack(features, where, shape)
    return shape.mlp(features.size * features.channels if isinstance(features, CellLayout) else features)
