"""What ReST keeps and what self-rewarding pairs: numbers by hand, and the traps that they catch."""

from __future__ import annotations

import pytest
import torch

from waker.behaviour.filtering import best_and_worst, interpolated, kept, percentile, scaled

RETURNS = torch.tensor([[0.0, 1.0, 2.0, 4.0]])


def test_thresholds_by_hand() -> None:
    """The trap: returns that are not scaled, or a percentile of ranks without a line between them."""
    assert scaled(RETURNS).tolist() == [[0.0, 0.25, 0.5, 1.0]]
    assert kept(RETURNS, "global", 0.7).tolist() == [[False, False, False, True]]
    assert percentile(RETURNS, 75).item() == 2.5
    assert interpolated(RETURNS, 0.5).item() == 2.875


def test_a_global_threshold_keeps_lucky_starts_and_a_percentile_learns_in_all() -> None:
    """The trap: beside a start where everything pays, nothing is learned where little does."""
    score = torch.stack([torch.linspace(0, 1, 11), 10 + torch.linspace(0, 1, 11)])
    assert kept(score, "global", 0.7)[0].sum() == 0 and kept(score, "global", 0.7)[1].all()
    for of_start in kept(score, "percentile", 80.0):
        assert of_start.tolist() == [False] * 8 + [True] * 3


def test_where_nothing_is_earned_nothing_is_kept() -> None:
    """The trap: the luckiest of rollouts that differ by a head's noise alone."""
    nothing = torch.zeros(1, 8)
    noise = torch.linspace(-0.02, 0.02, 8).unsqueeze(0)
    for threshold, level in (("percentile", 90.0), ("interpolated", 0.5), ("global", 0.9)):
        assert not kept(nothing, threshold, level, 0.1).any()  # type: ignore[arg-type]
        assert not kept(noise, threshold, level, 0.1).any()  # type: ignore[arg-type]


def test_what_lies_on_a_percentile_is_kept() -> None:
    """The trap: of ten rollouts three reach the goal, and none is above the largest."""
    score = torch.tensor([[0.0] * 7 + [1.0] * 3])
    assert kept(score, "percentile", 90.0).sum() == 3


def test_filtering_by_returns_takes_the_gamble() -> None:
    """The trap that the authors warn of: an arm that pays 1 surely is worth more than one that pays 2 in 3 of 10."""
    sure, gamble = torch.ones(10), torch.tensor([2.0] * 3 + [0.0] * 7)
    score = torch.cat([sure, gamble]).unsqueeze(0)
    above = score > 1.5
    assert above[0, :10].sum() == 0 and above[0, 10:].sum() == 3
    assert gamble.mean().item() == pytest.approx(0.6) and sure.mean() == 1.0
    assert kept(score, "interpolated", 0.6)[0].nonzero().flatten().tolist() == [10, 11, 12]


def test_pairs_are_best_and_worst_and_equal_ones_are_dropped() -> None:
    """The trap: pairs of rollouts that a judge cannot tell apart."""
    score = torch.tensor([[0.2, 3.0, -1.0], [0.5, 0.5, 0.5], [0.0, 0.04, 0.08]])
    best, worst, differ = best_and_worst(score, 0.1)
    assert (best[0].item(), worst[0].item()) == (1, 2)
    assert differ.tolist() == [True, False, False]
