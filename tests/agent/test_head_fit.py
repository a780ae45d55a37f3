"""A head fitted to answers about segments: it sees the right states, learns what they tell, stops, and goes on."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.asked import answered, family, replay
from waker.agent.head_fit import CHECK, Criterion, HeadFit, HeadSettings
from waker.agent.segment_features import segment_features
from waker.config.schema import ModelConfig
from waker.errors import UserError
from waker.model.preference_heads import PreferenceHeads
from waker.model.rssm import Posterior, State
from waker.model.world_model import WorldModel
from waker.preferences.segments import candidates, shown
from waker.preferences.table import Answers, pairs_of

SETTINGS = HeadSettings(batch=32, patience=4, most=3_000)


class SeenModel(torch.nn.Module):
    """A world model whose state is what is seen: one-hot of the class under the agent, and its cell."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.keys = family().spec.observation
        self.side = round(next(len(k.classes) for k in self.keys if k.name == "cells") ** 0.5)
        self.classes = next(k.classes[0] for k in self.keys if k.name == "cells")
        self.size = self.classes + 1

    def observe(self, batch: dict[str, Tensor], mode: bool = False) -> Posterior:
        cell = batch["agent"][..., 0] * self.side + batch["agent"][..., 1]
        under = batch["cells"].gather(-1, cell.unsqueeze(-1).long()).squeeze(-1).long()
        stoch = torch.nn.functional.one_hot(under, self.classes).float()
        state = State(stoch, cell.unsqueeze(-1).float())
        return Posterior(state, stoch, stoch, stoch)


def model() -> WorldModel:
    return cast(WorldModel, SeenModel())


def heads(seed: int = 0, members: int = 3) -> PreferenceHeads:
    torch.manual_seed(seed)
    seen = SeenModel()
    return PreferenceHeads(members, seen.size, 5, ModelConfig(head_units=(32,), norm="none"))


def answers(n: int = 150) -> Answers:
    frame = answered(n)
    return Answers(pairs_of(frame), frame["label"].to_numpy())


def fit(n: int = 150, settings: HeadSettings = SETTINGS, of: Answers | None = None) -> HeadFit:
    return HeadFit(model(), heads(members=settings.members), replay(), of or answers(n), settings, 8, 0)


def test_features_are_of_the_segments_states_and_actions_lie_between() -> None:
    some = candidates(replay(), 4)
    found = segment_features(model(), replay(), some, context=3)
    assert found.feature.shape[:2] == (some.n, 5)
    for n in range(0, some.n, 7):
        steps = int(some.length[n])
        records = shown(replay(), ["agent", "action"], some, n)
        cells = records["agent"][:, 0].astype(int) * SeenModel().side + records["agent"][:, 1]
        assert found.feature[n, : steps + 1, -1].tolist() == cells.tolist()
        np.testing.assert_array_equal(found.action[n, :steps], records["action"][1:])
        assert found.inside[n].tolist() == [1.0] * steps + [0.0] * (4 - steps)


def test_the_true_head_scores_a_segment_by_its_rewards() -> None:
    """Off by one, the sums would be of other states."""
    frame = answered(60)
    truth = heads(members=1)
    green = family().make().unwrapped.cell_names.index("green")
    truth.members = lambda given: given[..., green].expand(1, -1)  # type: ignore[method-assign]
    for side, segments in zip((1, 2), pairs_of(frame), strict=True):
        found = segment_features(model(), replay(), segments, context=3)
        sums = truth.sums(found.given(truth).unsqueeze(0), found.inside.unsqueeze(0))[0]
        np.testing.assert_allclose(sums.numpy(), frame[f"score_{side}"])
    assert frame["score_1"].sum() > 0


def test_it_learns_what_is_preferred_and_scales_it() -> None:
    found = fit()
    while not found.step():
        pass
    assert found.check["training_accuracy"] >= 0.97 and found.check["validation_accuracy"] > 0.8
    seen = SeenModel()
    one_hot = torch.cat([torch.eye(seen.classes), torch.zeros(seen.classes, 1)], 1).unsqueeze(0)
    names = family().make().unwrapped.cell_names
    rewards = dict(zip(names, found.heads.predict(one_hot)[0].tolist(), strict=True))
    assert max(rewards, key=rewards.__getitem__) == "green"
    assert found.record()["converged"] and found.record()["constant_pinned"]


def test_a_replay_without_rewards_teaches_the_same() -> None:
    """Whoever learns never reads the truth."""
    blind = replay().replaced("task_rewards", np.zeros((replay().slots, replay().size, 1), np.float32))
    one = fit()
    two = HeadFit(model(), heads(), blind, answers(), SETTINGS, 8, 0)
    one.step()
    two.step()
    for a, b in zip(one.heads.parameters(), two.heads.parameters(), strict=True):
        assert torch.equal(a, b)


def test_going_on_equals_not_stopping() -> None:
    whole = fit()
    for _ in range(4):
        whole.step()
    first = fit()
    first.step()
    first.step()
    state, weights = first.state_dict(), {k: v.clone() for k, v in first.heads.state_dict().items()}
    second = fit()
    second.heads.load_state_dict(weights)
    second.load_state_dict(state)
    second.step()
    second.step()
    for a, b in zip(whole.heads.parameters(), second.heads.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.criterion.best == second.criterion.best and second.updates == 4 * CHECK


def test_each_member_is_judged_on_pairs_of_its_own() -> None:
    held_out = fit()._held_out
    assert held_out.sum(1).tolist() == [15, 15, 15]
    assert (held_out.sum(0) <= 1).all()


def test_few_pairs_are_all_learned_from() -> None:
    found = fit(settings=SETTINGS, of=_some(answers(), 4))
    assert not found._held_out.any()
    found.step()
    assert np.isnan(found.check["validation_loss"]) and found.record()["validation_loss"] is None


def _some(of: Answers, n: int) -> Answers:
    untied = np.flatnonzero(of.label != 0.5)[:n]
    return Answers(of.pairs.at(untied), of.label[untied])


def test_pairs_of_equal_length_pin_no_constant() -> None:
    of = answers(150)
    same = np.flatnonzero(of.pairs.first.length == of.pairs.second.length)
    assert not fit(of=Answers(of.pairs.at(same), of.label[same])).pinned
    assert fit(of=of).pinned


def check(**changes: float) -> dict[str, float]:
    usual = {"training_loss": 0.5, "training_accuracy": 1.0, "validation_loss": 0.7, "validation_accuracy": 0.8}
    return {**usual, **changes}


def test_it_is_over_when_held_out_pairs_no_longer_improve_and_training_pairs_are_right() -> None:
    criterion = Criterion(HeadSettings(patience=2))
    assert [criterion.met(check(), 50) for _ in range(3)] == [False, False, True]


def test_wrong_training_pairs_are_waited_for_as_long_as_they_get_better() -> None:
    criterion = Criterion(HeadSettings(patience=2))
    losses = [0.9, 0.8, 0.7, 0.6, 0.6, 0.6]
    found = [criterion.met(check(training_accuracy=0.8, training_loss=loss), 50) for loss in losses]
    assert found == [False] * 5 + [True]


def test_every_improvement_of_held_out_pairs_gives_time() -> None:
    criterion = Criterion(HeadSettings(patience=2))
    changes: list[dict[str, Any]] = [{}, {}, {"validation_accuracy": 0.81}, {"validation_loss": 0.6}, {}, {}]
    assert [criterion.met(check(**c), 50) for c in changes] == [False] * 5 + [True]


def test_it_ends_in_any_case() -> None:
    criterion = Criterion(HeadSettings(most=100))
    assert [criterion.met(check(training_loss=1.0 / n), 50 * n) for n in (1, 2)] == [False, True]


@pytest.mark.parametrize("settings", [{"members": 0}, {"error": 1.0}])
def test_settings_that_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        HeadSettings(**settings)
