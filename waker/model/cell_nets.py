"""Stacks of networks on a board, whose weights are shared by all cells: M members of one shape, run together.

Reward and continue heads (:func:`summed_network`), the ensemble and the transition are made of them. P cells, row by
row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from waker.machine.precision import float32
from waker.model.features import CellLayout, Inputs, StepLayout
from waker.model.nets import ACTIVATIONS, Norm, StackedLinear, StackedMLP, StackShape, glorot_


class CellConvolution(nn.Module):
    """M 3 × 3 convolutions over boards whose edge is padded with zeros; weight (M, out, in, 3, 3), bias (M, 1, out)."""

    def __init__(self, members: int, layout: CellLayout, inputs: int, out: int) -> None:
        super().__init__()
        self.board = (layout.rows, layout.columns)
        self.weight = nn.Parameter(torch.empty(members, out, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(members, 1, out))
        glorot_(self.weight, 9 * inputs, 9 * out)

    def forward(self, x: Tensor) -> Tensor:
        """(M, n, P, in) → (M, n, P, out); a shared input (1, n, P, in) is seen by every member."""
        members, out = self.weight.shape[:2]
        # Channels lie last in memory, of all members side by side: the layout that convolutions are quickest in.
        cells = x.movedim(0, 2).flatten(2)  # m n p c -> n p (m c)
        picture = cells.unflatten(1, self.board).permute(0, 3, 1, 2)  # n (y x) c -> n c y x
        y = F.conv2d(picture, self.weight.flatten(0, 1), self.bias.flatten(), padding=1, groups=x.shape[0])
        return y.permute(0, 2, 3, 1).flatten(1, 2).unflatten(-1, (members, out)).movedim(2, 0)


class CellConvolutions(nn.Module):
    """Layers of 3 × 3 convolutions, norm and activation: each cell sees as many cells far as there are layers."""

    def __init__(
        self, members: int, layout: CellLayout, inputs: int, units: Sequence[int], act: str, norm: str
    ) -> None:
        super().__init__()
        sizes = [inputs, *units]
        pairs = zip(sizes, sizes[1:], strict=False)
        self.hidden = nn.ModuleList(CellConvolution(members, layout, i, o) for i, o in pairs)
        self.norms = nn.ModuleList(Norm(norm, (members, 1, o)) for o in units)
        self.act = ACTIVATIONS[act]

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """(M or 1, n, P, in) → (M, n, P, units[-1]); ``shift`` (M, n, units[0]) is added in every cell first."""
        for convolution, norm in zip(self.hidden, self.norms, strict=True):
            x = convolution(x)
            if shift is not None:
                x, shift = x + shift.unsqueeze(2), None
            x = self.act(norm(x.flatten(1, 2))).unflatten(1, x.shape[1:3])
        return x


class CellPredictors(nn.Module):
    """M networks that say of each cell what an action makes of it: convolutions, the action seen in every cell.

    Args:
        actions: size A of an action.
        units: channels of the convolutions.
        each: numbers said of a cell.
    """

    def __init__(
        self, members: int, layout: CellLayout, actions: int, units: Sequence[int], each: int, act: str, norm: str
    ) -> None:
        super().__init__()
        self.layout = layout
        self.action_in = StackedLinear(members, actions, units[0])
        self.near = CellConvolutions(members, layout, layout.channels, units, act, norm)
        self.out = StackedLinear(members, units[-1], each)

    def forward(self, feature: Tensor, action: Tensor) -> Tensor:
        """(n, F), (n, A) → (M, n, P, each)."""
        x = self.near(self.layout.cells(feature).unsqueeze(0), self.action_in(action.unsqueeze(0)))
        return float32(self.out(x.flatten(1, 2))).unflatten(1, x.shape[1:3])


class SummedCells(nn.Module):
    """M networks that look at each cell and add up what they find: heads of what happens anywhere on the board.

    All hidden layers but the last, and a linear one to the last's width, work in every cell; the last one and the
    output on their sum.

    Args:
        shape: with at least one hidden layer.
    """

    def __init__(self, layout: CellLayout, shape: StackShape) -> None:
        super().__init__()
        self.layout, self.act = layout, ACTIVATIONS[shape.act]
        *inner, width = shape.units
        self.each = StackedMLP(shape.members, layout.channels, inner, width, shape.act, shape.norm)
        self.sum = shape._replace(units=(width,)).mlp(width)

    def forward(self, feature: Tensor) -> Tensor:
        """(M, n, F) or shared (1, n, F) → (M, n, out)."""
        found = self.each(self.layout.cells(feature).flatten(1, 2))  # m n p c -> m (n p) width
        return self.sum(self.act(found.unflatten(1, (-1, self.layout.size)).sum(2)))


class SummedSteps(nn.Module):
    """:class:`SummedCells` for a step: each cell before and after it, seen in the light of the action.

    The action shifts and scales the first layer, the same in every cell, so that what a change is worth may depend on
    what was done.
    """

    def __init__(self, layout: StepLayout, shape: StackShape) -> None:
        super().__init__()
        self.layout, self.act = layout, ACTIVATIONS[shape.act]
        members, first, width = shape.members, shape.units[0], shape.units[-1]
        self.both = StackedLinear(members, layout.channels, first)
        self.both_norm = Norm(shape.norm, (members, 1, first))
        self.shift, self.gate = (StackedLinear(members, layout.actions, first) for _ in range(2))
        self.each = StackedMLP(members, first, shape.units[1:-1], width, shape.act, shape.norm)
        self.sum = shape._replace(units=(width,)).mlp(width)

    def forward(self, step: Tensor) -> Tensor:
        """(M, n, F + A + F) or shared (1, n, F + A + F) → (M, n, out)."""
        cells, action = self.layout.parts(step)
        size = cells.shape[2]
        x = self.both(cells.flatten(1, 2)).unflatten(1, (-1, size)) + self.shift(action).unsqueeze(2)
        x = self.both_norm(x.flatten(1, 2)).unflatten(1, (-1, size)) * (1.0 + self.gate(action).unsqueeze(2))
        found = self.each(self.act(x).flatten(1, 2))  # m n p c -> m (n p) width
        return self.sum(self.act(found.unflatten(1, (-1, size)).sum(2)))


def summed_network(inputs: Inputs, shape: StackShape) -> nn.Module:
    """For what happens somewhere on a board, wherever that is: rewards, ends of episodes.

    See :data:`waker.model.nets.Network`.
    """
    if isinstance(inputs, StepLayout):
        return SummedSteps(inputs, shape)
    return SummedCells(inputs, shape) if isinstance(inputs, CellLayout) else shape.mlp(inputs)
