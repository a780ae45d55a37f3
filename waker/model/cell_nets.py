"""Stacks of networks on a board, whose weights are shared by all cells: M members of one shape, run together.

Reward and continue heads (:func:`summed_network`), the ensemble and the transition are made of them. P cells, row by
row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from waker.machine.precision import float32
from waker.model.features import CellLayout, Inputs, StepLayout
from waker.model.nets import ACTIVATIONS, Norm, StackedLinear, StackedMLP, StackShape, glorot_


class CellConvolution(nn.Module):
    """M 3 × 3 convolutions over boards whose edge is padded with zeros; weight (M, out, in, 3, 3), bias (M, 1, out)."""

    def __init__(self, members: int, layout: CellLayout, inputs: int, out: int) -> None:
        super().__init__()
        self.rows = layout.rows
        self.weight = nn.Parameter(torch.empty(members, out, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(members, 1, out))
        glorot_(self.weight, 9 * inputs, 9 * out)

    def forward(self, x: Tensor) -> Tensor:
        """(M, n, P, in) → (M, n, P, out); a shared input (1, n, P, in) is seen by every member."""
        members = len(self.weight)
        # Channels lie last in memory, of all members side by side: the layout that convolutions are quickest in.
        picture = rearrange(x, "m n (y x) c -> n y x (m c)", y=self.rows)
        picture = rearrange(picture, "n y x c -> n c y x")
        weight = rearrange(self.weight, "m o i y x -> (m o) i y x")
        y = F.conv2d(picture, weight, self.bias.flatten(), padding=1, groups=x.shape[0])
        return rearrange(y, "n (m o) y x -> m n (y x) o", m=members)


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
            flat = self.act(norm(rearrange(x, "m n p c -> m (n p) c")))
            x = rearrange(flat, "m (n p) c -> m n p c", p=x.shape[2])
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
        said = float32(self.out(rearrange(x, "m n p c -> m (n p) c")))
        return rearrange(said, "m (n p) c -> m n p c", p=self.layout.size)


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
        found = self.each(rearrange(self.layout.cells(feature), "m n p c -> m (n p) c"))
        return self.sum(self.act(rearrange(found, "m (n p) u -> m n p u", p=self.layout.size).sum(2)))


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

        def by_cell(x: Tensor) -> Tensor:
            return rearrange(x, "m (n p) u -> m n p u", p=size)

        def side_by_side(x: Tensor) -> Tensor:
            return rearrange(x, "m n p u -> m (n p) u")

        x = by_cell(self.both(side_by_side(cells))) + self.shift(action).unsqueeze(2)
        x = by_cell(self.both_norm(side_by_side(x))) * (1.0 + self.gate(action).unsqueeze(2))
        found = self.each(side_by_side(self.act(x)))
        return self.sum(self.act(by_cell(found).sum(2)))


class ChangedCells(nn.Module):
    """For a step, two networks whose answers add up: one of the board after it, one of what it changed in each cell.

    A push changes two cells or three of some fifty. Where all cells are summed, the others drown what tells a green
    block from a blue one; where that tells a reward's sign only together with the action, heads do not find it. Here a
    cell that stays as it was adds nothing, exactly, and the action scales what is left.
    """

    def __init__(self, layout: StepLayout, shape: StackShape) -> None:
        super().__init__()
        self.layout, self.act, width = layout, ACTIVATIONS[shape.act], shape.units[-1]
        self.after = SummedCells(layout.board, shape)
        self.change = nn.Parameter(torch.empty(shape.members, layout.board.channels, width))  # no bias: 0 stays 0
        glorot_(self.change, layout.board.channels, width)
        self.gate = StackedLinear(shape.members, layout.actions, width)
        self.sum = shape._replace(units=(width,)).mlp(width)

    def forward(self, step: Tensor) -> Tensor:
        """(M, n, F + A + F) or shared (1, n, F + A + F) → (M, n, out)."""
        cells, action = self.layout.parts(step)
        before, after = cells.chunk(2, -1)
        changed = torch.matmul(rearrange(after - before, "m n p c -> m (n p) c"), self.change)
        found = rearrange(self.act(changed), "m (n p) u -> m n p u", p=cells.shape[2]).sum(2)
        feature = step[..., -self.layout.board.size * self.layout.board.channels :]
        return self.after(feature) + self.sum(found * self.gate(action))


def summed_network(inputs: Inputs, shape: StackShape) -> nn.Module:
    """For what happens somewhere on a board, wherever that is: rewards, ends of episodes.

    See :data:`waker.model.nets.Network`.
    """
    if isinstance(inputs, StepLayout):
        return (ChangedCells if inputs.change else SummedSteps)(inputs, shape)
    return SummedCells(inputs, shape) if isinstance(inputs, CellLayout) else shape.mlp(inputs)
