"""Ragged categorical variables against torch's own one-hot and cross-entropy, variable by variable."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from waker.model.categorical import CategoricalLayout

CLASSES = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)


def values_for(classes: tuple[int, ...], seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(c, (2, 4), generator=rng, dtype=torch.uint8) for c in classes], -1)


@settings(deadline=None, max_examples=40)
@given(CLASSES, st.integers(0, 1000))
def test_onehot_is_one_block_a_variable(classes: tuple[int, ...], seed: int) -> None:
    values = values_for(classes, seed)
    expected = torch.cat([F.one_hot(values[..., v].long(), c) for v, c in enumerate(classes)], -1)
    assert torch.equal(CategoricalLayout(classes).onehot(values), expected.float())


@settings(deadline=None, max_examples=40)
@given(CLASSES, st.integers(0, 1000))
def test_nll_and_its_gradient_are_the_sum_of_cross_entropies(classes: tuple[int, ...], seed: int) -> None:
    values = values_for(classes, seed)
    logits = torch.randn(2, 4, sum(classes), requires_grad=True)
    ours = CategoricalLayout(classes).nll(logits, values)
    parts = [
        F.cross_entropy(part.movedim(-1, 1), values[..., v].long(), reduction="none")
        for v, part in enumerate(logits.split(classes, -1))
    ]
    expected = torch.stack(parts).sum(0)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    (a,), (b,) = torch.autograd.grad(ours.sum(), logits), torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_log_probabilities_are_padded_to_the_widest_variable() -> None:
    logits = torch.tensor([0.0, 0.0, 5.0, 0.0, 0.0, 0.0])
    probs = CategoricalLayout((2, 1, 3)).log_probabilities(logits).exp()
    third = 1.0 / 3.0
    expected = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [third, third, third]])
    torch.testing.assert_close(probs, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_every_integer_type_is_taken(dtype: torch.dtype) -> None:
    layout = CategoricalLayout((3, 2))
    onehot = layout.onehot(torch.tensor([2, 1], dtype=dtype))
    assert onehot.tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]
    assert layout.nll(torch.zeros(5), torch.tensor([2, 1], dtype=dtype)).item() == pytest.approx(1.7917595)
