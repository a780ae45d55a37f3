"""Heads of preferences: their loss and its gradient by hand, sums over segments, offset and scale."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from waker.config.schema import ModelConfig
from waker.model.preference_heads import PreferenceHeads, preference_loss

CONFIG = ModelConfig(head_units=(8,))


def heads(members: int = 3, config: ModelConfig = CONFIG) -> PreferenceHeads:
    torch.manual_seed(0)
    return PreferenceHeads(members, 5, 2, config)


def test_the_loss_is_bradley_and_terry_s_and_its_gradient_is_the_error() -> None:
    difference = torch.tensor([2.0, 2.0, 2.0, 0.0], requires_grad=True)
    label = torch.tensor([1.0, 0.0, 0.5, 0.5])
    loss = preference_loss(difference, label)
    p = 0.8808
    expected = [-math.log(p), -math.log(1 - p), -0.5 * math.log(p) - 0.5 * math.log(1 - p), math.log(2)]
    assert loss.tolist() == pytest.approx(expected, abs=1e-3)
    (gradient,) = torch.autograd.grad(loss.sum(), difference)
    torch.testing.assert_close(gradient, torch.sigmoid(difference) - label)


def test_the_error_term_bounds_what_a_wrong_answer_costs() -> None:
    chance = preference_loss(torch.tensor([2.0]), torch.tensor([1.0]), error=0.1)
    assert math.exp(-chance) == pytest.approx(0.8427, abs=5e-5)
    far = preference_loss(torch.tensor([40.0]), torch.tensor([0.0]), error=0.1)
    assert far.item() == pytest.approx(-math.log(0.05), rel=1e-4)


def test_labels_swapped_with_the_segments_cost_the_same() -> None:
    d, y = torch.randn(20), torch.rand(20)
    for error in (0.0, 0.1):
        torch.testing.assert_close(preference_loss(d, y, error), preference_loss(-d, 1 - y, error))


def test_a_constant_leaves_segments_of_equal_length_as_they_are() -> None:
    net, given = heads(), torch.randn(1, 2, 4, 5)
    equal, shorter = torch.ones(1, 2, 4), torch.tensor([[[1.0, 1, 1, 1], [1, 0, 0, 0]]])
    before = [net.sums(given, inside) for inside in (equal, shorter)]
    with torch.no_grad():
        net.net.out.bias += 2.0
    after = [net.sums(given, inside) for inside in (equal, shorter)]
    gaps = [(a[:, 0] - a[:, 1]) - (b[:, 0] - b[:, 1]) for a, b in zip(after, before, strict=True)]
    torch.testing.assert_close(gaps[0], torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(gaps[1], torch.full((3,), 2.0 * 3))


def test_sums_end_with_the_segment() -> None:
    net, given = heads(), torch.randn(1, 6, 4, 5)
    inside = (torch.arange(4) < torch.tensor([1, 2, 3, 4, 2, 1])[:, None]).float().unsqueeze(0)
    steps = net.members(given.flatten(1, 2)).unflatten(1, (6, 4))
    expected = torch.stack([steps[:, n, : int(inside[0, n].sum())].sum(1) for n in range(6)], 1)
    torch.testing.assert_close(net.sums(given, inside), expected)


def test_the_reward_is_the_members_mean_shifted_and_scaled() -> None:
    net, given = heads(), torch.randn(1, 7, 5)
    mean = net.members(given).mean(0, keepdim=True)
    torch.testing.assert_close(net.predict(given), mean)
    net.offset.fill_(2.0)
    net.scale.fill_(4.0)
    torch.testing.assert_close(net.predict(given), (mean - 2.0) / 4.0)
    assert net.predict(given).shape == (1, 7)


def test_the_best_states_pay_about_1_and_a_free_constant_goes() -> None:
    net, rewards = heads(), torch.cat([torch.full((95,), 3.0), torch.full((6,), 8.0)])
    net.settle(rewards, pinned=False)
    assert (float(net.offset), float(net.scale)) == (3.0, 5.0)
    net.settle(rewards, pinned=True)
    assert (float(net.offset), float(net.scale)) == (0.0, 5.0)


def test_a_rare_best_state_sets_the_scale_and_a_flat_head_none() -> None:
    net = heads()
    net.settle(torch.cat([torch.zeros(999), torch.ones(1) * 7]), pinned=True)
    assert float(net.scale) == 7.0
    net.settle(torch.full((50,), 3.0), pinned=True)
    assert float(net.scale) == 1.0


def test_members_differ_before_they_have_learned_anything() -> None:
    given = torch.randn(1, 9, 5)
    assert heads().members(given).std(0).min() > 0


def test_heads_may_see_steps() -> None:
    net = heads(config=replace(CONFIG, reward_sees="transition"))
    before, action, after = torch.randn(2, 3, 5), torch.randn(2, 3, 2), torch.randn(2, 3, 5)
    assert net.given(before, action, after).shape == (2, 3, 12)
    assert net.earned(before, action, after).shape == (1, 2, 3)
