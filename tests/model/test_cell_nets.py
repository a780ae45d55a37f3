"""Stacks of networks on a board: members by themselves, sums over cells, and where the edge is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from waker.model.cell_nets import CellConvolution, CellConvolutions, CellPredictors, SummedCells
from waker.model.features import CellLayout
from waker.model.nets import StackShape

LAYOUT = CellLayout(3, 4, 6, 5)
F = 12 * 11
MEMBERS = 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_cells_and_flat_are_each_other_s_inverse() -> None:
    feature = torch.randn(2, 5, F)
    cells = LAYOUT.cells(feature)
    assert cells.shape == (2, 5, 12, 11)
    assert torch.equal(LAYOUT.flat(cells), feature)
    assert torch.equal(cells[..., 3, 6:], feature[..., 72 + 3 * 5 : 72 + 4 * 5])


@pytest.mark.parametrize("shared", [True, False])
def test_a_convolution_is_torch_s_for_each_member(shared: bool) -> None:
    convolution = CellConvolution(MEMBERS, LAYOUT, 5, 7)
    torch.nn.init.normal_(convolution.bias)
    x = torch.randn(1 if shared else MEMBERS, 2, 12, 5)
    found = convolution(x)
    for m in range(MEMBERS):
        picture = x[m % len(x)].unflatten(1, (3, 4)).permute(0, 3, 1, 2)
        alone = torch.nn.functional.conv2d(picture, convolution.weight[m], convolution.bias[m, 0], padding=1)
        torch.testing.assert_close(found[m], alone.permute(0, 2, 3, 1).flatten(1, 2))


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
def test_a_member_does_not_see_the_others(norm: str) -> None:
    layers = CellConvolutions(MEMBERS, LAYOUT, 5, (4, 4), "silu", norm)
    x, shift = torch.randn(MEMBERS, 2, 12, 5), torch.randn(MEMBERS, 2, 4)
    found = layers(x, shift)
    others = x.clone()
    others[1] += 1.0
    again = layers(others, shift)
    assert torch.equal(found[[0, 2]], again[[0, 2]])
    assert not torch.equal(found[1], again[1])


def test_an_action_reaches_every_cell() -> None:
    predictors = CellPredictors(2, LAYOUT, 4, (8,), 3, "silu", "layer")
    feature, action = torch.randn(5, F), torch.eye(4)[[0, 1, 2, 3, 0]]
    found = predictors(feature, action)
    assert found.shape == (2, 5, 12, 3)
    change = (predictors(feature, action.roll(1, -1)) - found).abs().amax(-1)
    assert (change > 0).all()


def permuted(feature: Tensor, order: Tensor) -> Tensor:
    return LAYOUT.flat(LAYOUT.cells(feature)[..., order, :])


@pytest.mark.parametrize("shared", [True, False])
def test_a_sum_over_cells_does_not_ask_where(shared: bool) -> None:
    heads = SummedCells(LAYOUT, StackShape(MEMBERS, (9, 7), 4, "silu", "layer"))
    feature = torch.randn(1 if shared else MEMBERS, 6, F)
    found = heads(feature)
    assert found.shape == (MEMBERS, 6, 4)
    torch.testing.assert_close(heads(permuted(feature, torch.randperm(12))), found)
    for m in range(MEMBERS):
        alone = SummedCells(LAYOUT, StackShape(1, (9, 7), 4, "silu", "layer"))
        alone.load_state_dict({name: value[m : m + 1] for name, value in heads.state_dict().items()})
        torch.testing.assert_close(alone(feature[m % len(feature)].unsqueeze(0)), found[m : m + 1])
