"""Networks that see a board from where something stands on it: what policies look through.

Whether a block is to be pushed to the right depends on what lies next to the agent, wherever both are. Seen from a
fixed corner, every place of the agent and the block is a case of its own; seen from the agent, they are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from waker.model.features import CellLayout, Features
from waker.model.nets import ACTIVATIONS, StackedLinear, StackedMLP

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
    return torch.where(within_rows & within_columns, cell, layout.size).flatten(2).flatten(0, 1)


class EgocentricStack(nn.Module):
    """M networks: a linear layer in every cell, the board moved so that one cell is in the middle, and an MLP on it.

    Args:
        where: the middle. No gradient reaches it.
        units: channels of the linear layer, then hidden layers of the MLP.
        zero, last: see :class:`waker.model.nets.StackedMLP`.
    """

    def __init__(
        self,
        members: int,
        layout: CellLayout,
        where: Where,
        units: Sequence[int],
        out: int,
        act: str,
        norm: str,
        zero: bool = False,
        last: type[StackedLinear] = StackedLinear,
    ) -> None:
        super().__init__()
        self.layout, self.where, self.act = layout, where, ACTIVATIONS[act]
        self.register_buffer("views", views(layout), persistent=False)
        self.views: Tensor
        self.each = StackedLinear(members, layout.channels, units[0])
        self.whole = StackedMLP(members, units[0] * self.views.shape[1], units[1:], out, act, norm, zero, last)

    def forward(self, feature: Tensor) -> Tensor:
        """(M, n, F) or shared (1, n, F) → (M, n, out)."""
        cells = self.each(self.layout.cells(feature).flatten(1, 2))  # m n p c -> m (n p) u
        cells = self.act(cells.contiguous()).unflatten(1, (-1, self.layout.size))
        view = self.views[self.where(feature.detach())]  # (m, n, v)
        beyond = torch.cat([cells, torch.zeros_like(cells[:, :, :1])], 2)
        index = view.unsqueeze(-1).expand(*cells.shape[:2], -1, cells.shape[-1])
        return self.whole(beyond.gather(2, index).flatten(2))


def policy_network(
    members: int,
    features: Features,
    units: Sequence[int],
    out: int,
    act: str,
    norm: str,
    zero: bool = False,
    last: type[StackedLinear] = StackedLinear,
    where: Where | None = None,
) -> nn.Module:
    """For what depends on all of the state; on a board where something stands, from there.

    See :class:`waker.model.cell_nets.Network`.
    """
    if isinstance(features, CellLayout) and where is not None:
        return EgocentricStack(members, features, where, units, out, act, norm, zero, last)
    inputs = features.size * features.channels if isinstance(features, CellLayout) else features
    return StackedMLP(members, inputs, units, out, act, norm, zero, last)
