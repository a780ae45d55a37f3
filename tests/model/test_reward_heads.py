"""Reward heads: what they see of a step, which records they learn from, and that a push's reward can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.config.schema import ModelConfig, OptimizerConfig
from waker.model.cell_nets import ChangedCells
from waker.model.features import CellLayout, StepLayout, step_inputs
from waker.model.optim import Adam
from waker.model.reward_heads import RewardHeads
from waker.model.world_model import WorldModel

F, A, K = 6, 4, 2
LAYOUT = CellLayout(3, 4, 6, 5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def config(sees: str, **changes: object) -> ModelConfig:
    return replace(tiny_config().model, reward_sees=sees, zero_heads=False, **changes)  # type: ignore[arg-type]


def test_a_step_lies_cell_by_cell() -> None:
    layout = step_inputs(LAYOUT, A)
    assert isinstance(layout, StepLayout)
    before, after, action = torch.randn(2, 3, 132), torch.randn(2, 3, 132), torch.randn(2, 3, A)
    cells, taken = layout.parts(torch.cat([before, action, after], -1))
    assert torch.equal(taken, action)
    assert cells.shape == (2, 3, 12, layout.channels)
    for cell in range(12):
        expected = torch.cat([LAYOUT.cells(before)[..., cell, :], LAYOUT.cells(after)[..., cell, :]], -1)
        assert torch.equal(cells[..., cell, :], expected)


@pytest.mark.parametrize("sees", ["transition", "change"])
@pytest.mark.parametrize("units", [(4,), (4, 5), (4, 5, 6)])
def test_heads_of_steps_do_not_care_where_on_the_board_something_happens(units: tuple[int, ...], sees: str) -> None:
    heads = RewardHeads(K, LAYOUT, A, config(sees, head_units=units))
    before, after, order = torch.randn(5, 12, 11), torch.randn(5, 12, 11), torch.randperm(12)
    action = torch.eye(A)[torch.randint(A, (5,))]
    there = heads.earned(LAYOUT.flat(before), action, LAYOUT.flat(after))
    elsewhere = heads.earned(LAYOUT.flat(before[:, order]), action, LAYOUT.flat(after[:, order]))
    torch.testing.assert_close(there, elsewhere)
    apart = heads.earned(LAYOUT.flat(before[:, order]), action, LAYOUT.flat(after))
    assert not torch.allclose(there, apart)


@pytest.mark.parametrize("sees", ["state", "transition", "change"])
@pytest.mark.parametrize("features", [F, LAYOUT], ids=["vector", "board"])
def test_heads_see_the_step_or_the_state_alone(features: int | CellLayout, sees: str) -> None:
    heads = RewardHeads(K, features, A, config(sees, reward="gaussian"))
    size = F if isinstance(features, int) else 132
    before, action, after = torch.randn(3, 5, size), torch.eye(A)[torch.randint(A, (3, 5))], torch.randn(3, 5, size)
    earned = heads.earned(before, action, after)
    assert earned.shape == (K, 3, 5)
    changed = (heads.earned(before + 1.0, action, after), heads.earned(before, action.roll(1, -1), after))
    assert all(torch.equal(earned, other) == (sees == "state") for other in changed)
    assert not torch.equal(earned, heads.earned(before, action, after + 1.0))


def test_cells_that_stay_as_they_were_add_nothing_to_what_changed() -> None:
    net = RewardHeads(K, LAYOUT, A, config("change", head_units=(4, 5))).net
    assert isinstance(net, ChangedCells)
    seen: list[Tensor] = []
    net.sum.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    board, other = torch.randn(2, 3, 12, 11)
    action = torch.eye(A)[[0, 1, 2]]
    moved = board.clone()
    moved[:, 7] = other[:, 7]
    for before, after in ((board, board), (board, moved), (moved, moved)):
        net(torch.cat([LAYOUT.flat(before), action, LAYOUT.flat(after)], -1).unsqueeze(0))
    still, first, second = seen
    assert not still.any()
    assert first.any()
    assert not second.any()


def by_hand(heads: RewardHeads, feature: Tensor, batch: dict[str, Tensor]) -> list[Tensor]:
    """−log likelihood of every step, one after the other, (K,) each."""
    found = []
    for b, t in zip(*(~batch["is_first"]).nonzero(as_tuple=True), strict=True):
        step = torch.cat([feature[b, t - 1], batch["action"][b, t], feature[b, t]])
        found.append(heads.nll(heads(step.view(1, 1, -1)), batch["task_rewards"][b, t].view(K, 1)).squeeze(1))
    return found


def test_heads_of_steps_learn_from_the_steps_inside_episodes_alone() -> None:
    """A batch of 3 × 6 whose first sequence has an episode's beginning inside: 14 steps."""
    heads, batch = RewardHeads(K, F, A, config("transition")), tiny_batch(tiny_spec())
    feature = torch.randn(3, 6, F)
    steps = by_hand(heads, feature, batch)
    assert len(steps) == 14
    torch.testing.assert_close(heads.loss(feature, batch), torch.stack(steps).mean(0))


def test_records_that_no_step_led_to_weigh_nothing() -> None:
    heads, batch = RewardHeads(K, F, A, config("transition")), tiny_batch(tiny_spec())
    feature = torch.randn(3, 6, F)
    before = heads.loss(feature, batch)
    batch["task_rewards"][batch["is_first"]] = 1e3
    assert torch.equal(heads.loss(feature, batch), before)
    batch["is_first"][:] = True
    assert torch.equal(heads.loss(feature, batch), torch.zeros(K))


@pytest.mark.parametrize("sees", ["state", "transition"])
def test_rare_rewards_are_drawn_as_often_as_common_ones(sees: str) -> None:
    """Task 0 pays 3 in one record of 60, task 1 nothing: the record's share is the mean of 1/2 and 1/60."""
    heads = RewardHeads(K, F, A, config(sees, reward_draws=20_000))
    rewards, allowed = torch.zeros(64, K), torch.ones(64)
    rewards[7, 0] = 3.0
    allowed[:4] = 0.0
    rewards[:4] = -2.0
    drawn = torch.bincount(heads._drawn(rewards, allowed), minlength=64) / 20_000
    assert not drawn[:4].any()
    assert drawn[7].item() == pytest.approx((1 / 2 + 1 / 60) / 2, abs=0.02)
    assert drawn[8].item() == pytest.approx((1 / 2 / 59 + 1 / 60) / 2, abs=0.006)


@pytest.mark.parametrize("sees", ["state", "transition"])
def test_heads_learn_from_the_records_that_were_drawn(sees: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, batch = RewardHeads(K, F, A, config(sees, reward_draws=3)), tiny_batch(tiny_spec())
    feature, every = torch.randn(3, 6, F), RewardHeads(K, F, A, config(sees))
    every.load_state_dict(heads.state_dict())
    chosen = torch.tensor([1, 1, 4])
    monkeypatch.setattr(heads, "_drawn", lambda target, allowed: chosen)
    first = 1 if sees == "transition" else 0  # records 2 and 5, or 1 and 4, of the first sequence
    rows = []
    for index in (1, 1, 4):
        t = index + first
        part = {name: value[:1, t - first : t + 1] for name, value in batch.items()}
        part["is_first"] = part["is_first"] & False
        rows.append(every.loss(feature[:1, t - first : t + 1], part))
    torch.testing.assert_close(heads.loss(feature, batch), torch.stack(rows).mean(0))


def test_nothing_is_learned_where_nothing_may_be_drawn() -> None:
    heads, batch = RewardHeads(K, F, A, config("transition", reward_draws=5)), tiny_batch(tiny_spec())
    batch["is_first"][:] = True
    assert torch.equal(heads.loss(torch.randn(3, 6, F), batch), torch.zeros(K))
    alone = {name: value[:, :1] for name, value in batch.items()}
    assert torch.equal(heads.loss(torch.randn(3, 1, F), alone), torch.zeros(K))


def test_the_model_trains_heads_of_steps_without_touching_the_state() -> None:
    spec = tiny_spec()
    model, batch = WorldModel(spec, config("transition")), tiny_batch(spec)
    loss = model.reward_loss(model.observe(batch, mode=True).state.feature, batch).sum()
    grads = torch.autograd.grad(loss, [*model.rewards.parameters(), model.rssm.gru.weight], allow_unused=True)
    assert all(grad is not None and grad.any() for grad in grads[:-1])
    assert grads[-1] is None


def marks(n: int) -> tuple[dict[str, Tensor], Tensor]:
    """Windows of two records: a mark somewhere on a board, one step left or right, and what was paid for it.

    An action 0 takes it left, 1 right, others nowhere, and the edge holds it. Task 0 pays −1 for a step left and 1 for
    one to the right.
    """
    action, row, column = torch.randint(A, (n,)), torch.randint(3, (n,)), torch.randint(4, (n,))
    step = (action == 1).long() - (action == 0).long()
    after = (column + step).clamp(0, 3)
    places = torch.stack([4 * row + column, 4 * row + after], 1)  # (n, 2)
    cells = torch.zeros(n, 2, 12, 11)
    cells[..., 0] = torch.nn.functional.one_hot(places, 12).float()
    paid = torch.zeros(n, 2, K)
    paid[:, 1, 0] = (after - column).float()
    acted = torch.zeros(n, 2, A)
    acted[:, 1] = torch.eye(A)[action]
    first = torch.tensor([True, False]).expand(n, 2)
    return {"action": acted, "is_first": first, "task_rewards": paid}, LAYOUT.flat(cells)


def two_colours(n: int) -> tuple[dict[str, Tensor], Tensor]:
    """:func:`marks` of one of two colours: task 0 pays for steps right of the first and for steps left of the second.

    Neither the colour nor the action tells anything by itself.
    """
    batch, feature = marks(n)
    first = torch.randint(2, (n,)).bool()
    cells = LAYOUT.cells(feature).clone()
    cells[..., 1] = cells[..., 0] * ~first.view(n, 1, 1)
    cells[..., 0] *= first.view(n, 1, 1)
    batch["task_rewards"][:, 1, 0] *= torch.where(first, 1.0, -1.0)
    return batch, LAYOUT.flat(cells)


def error_after_learning(sees: str, made: Callable[[int], tuple[dict[str, Tensor], Tensor]]) -> float:
    """Mean squared error of task 0's head on new records, after 250 updates."""
    torch.manual_seed(1)
    heads = RewardHeads(K, LAYOUT, A, config(sees, reward="gaussian"))
    optimizer = Adam(heads.parameters(), OptimizerConfig(lr=1e-2), K)
    for _ in range(250):
        batch, feature = made(64)
        optimizer.apply(optimizer.gradients(heads.loss(feature, batch).sum()))
    batch, feature = made(500)
    with torch.no_grad():
        said = heads.earned(feature[:, 0], batch["action"][:, 1], feature[:, 1])[0]
    return (said - batch["task_rewards"][:, 1, 0]).square().mean().item()


def test_rewards_of_an_action_on_a_kind_of_thing_are_learned_from_what_changes() -> None:
    assert error_after_learning("change", two_colours) < 0.05


def test_rewards_of_what_an_action_did_are_learned_from_steps_and_not_from_states() -> None:
    assert error_after_learning("transition", marks) < 0.05
    assert error_after_learning("state", marks) > 0.2
