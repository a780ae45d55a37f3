"""Plans in rooms of many states: true moves lose nothing, models that are blind to blocks what blocks would earn."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.families import family_of
from tests.helpers.pushed_blocks import PushedBlocks
from waker.collection.episode import Episode
from waker.collection.spec_of import spec_of
from waker.config.schema import EvalConfig
from waker.evaluation.learned_successors import learned_successors
from waker.evaluation.learned_table import PlannedModel
from waker.evaluation.planned import planned_rows, states_of
from waker.evaluation.setup import Setup
from waker.storage.tables import Row
from waker_envs.grids.cleanup import BLUE, GREEN
from waker_envs.grids.cleanup_small import GridCleanUpSmall

THETAS = [("dr", (0, 0, 0)), ("dr", (1, 1, 0)), ("dr", (2, 0, 1)), ("crowded", (1, 1, 1))]
EPISODES = [
    Episode(np.array(theta, float), number, seed, suite)
    for number, (suite, theta) in enumerate(THETAS)
    for seed in range(4)
]


class PaidBlocks(PushedBlocks):
    """With reward heads that know the tasks.

    Args:
        ends: P(the episode ends) that it believes in, after every step.
    """

    def __init__(self, blocks: str = "moved", ends: float = 0.0) -> None:
        super().__init__(blocks, frame=GridCleanUpSmall.frame)
        self.ends = ends

    @property
    def rewards(self) -> PaidBlocks:
        return self

    def continue_probability(self, feature: Tensor) -> Tensor:
        return torch.full_like(feature[..., 0], 1.0 - self.ends)

    def earned(self, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        (distance, _), (left, inside) = self.standing(before), self.standing(after)
        return 4.0 * (distance - left) + 0.5 * inside

    def standing(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Distances and fractions inside for each task, (K, ...): the rules alone, no code of the family's."""
        size, frame = self.frame**2, self.frame
        known = feature[..., -2 * size :]
        blocks, cells = known[..., :size], known[..., size:]
        column = torch.arange(size) % frame
        last = torch.where(cells != 1, column, 0).amax(-1, keepdim=True)
        green, blue = (blocks == GREEN).float(), (blocks == BLUE).float()
        to_left, to_right = column.expand_as(last - column), (last - column).abs()
        count = (green + blue).sum(-1)
        distances, fractions = [], []
        for g, b in ((to_left, to_right), (to_right, to_left), (to_right, to_right)):
            distances.append((green * g + blue * b).sum(-1))
            there = (green * (g == 0) + blue * (b == 0)).sum(-1)
            fractions.append(torch.where(count > 0, there / count.clamp_min(1), 1.0))
        return torch.stack(distances), torch.stack(fractions)


def rows_of(model: PaidBlocks, episodes: list[Episode] = EPISODES) -> list[Row]:
    setup = Setup(family_of(GridCleanUpSmall), EvalConfig())
    rows = planned_rows(setup, cast(PlannedModel, model), episodes, 2)
    return [row for row in rows if row["policy"] == "planned"]


def test_a_plan_in_the_true_moves_has_no_regret() -> None:
    rows, env = rows_of(PaidBlocks()), GridCleanUpSmall()
    assert len(rows) == len(EPISODES) * len(env.tasks)
    for row in rows:
        theta = [row[f"theta_{name}"] for name in env.theta_space.names]
        optimum = env.optimal_return(theta, row["task"], row["episode_seed"])
        assert row["exact_value"] == pytest.approx(optimum, abs=1e-9)
        assert row["optimal_return"] == pytest.approx(optimum, abs=1e-9)


def test_a_model_whose_blocks_never_move_leaves_them_where_they_are() -> None:
    """All begin outside of their goals, and nothing that it believes it could do would change that."""
    for row in rows_of(PaidBlocks("still")):
        empty = row["theta_n_green"] + row["theta_n_blue"] == 0
        assert row["exact_value"] == pytest.approx(0.5 * 100 if empty else 0.0, abs=1e-9)


def table(model: PaidBlocks, theta: tuple[int, ...] = (1, 1, 0)) -> tuple[Any, Any]:
    env = GridCleanUpSmall()
    spec, true = spec_of(env), env.tabular(theta, 0)
    learned = learned_successors(cast(PlannedModel, model), spec.observation, states_of(spec, true), 9)
    return learned, true


def test_the_learned_moves_and_rewards_are_the_model_s() -> None:
    learned, true = table(PaidBlocks(ends=0.25))
    assert (learned.move.after == true.move.after).all()
    np.testing.assert_allclose(learned.move.chance, 0.75, atol=1e-6)
    np.testing.assert_allclose(learned.reward, true.reward, atol=1e-6)


def test_what_looks_like_no_state_of_the_room_is_lost() -> None:
    learned, _ = table(PaidBlocks("gone"))
    assert not learned.move.chance.any()


def test_a_room_of_one_state_stays_what_it_is() -> None:
    env = GridCleanUpSmall()
    spec, true = spec_of(env), env.tabular((0, 0, 0), 0)
    one = {name: values[:1] for name, values in states_of(spec, true).items()}
    learned = learned_successors(cast(PlannedModel, PaidBlocks()), spec.observation, one, 9)
    assert learned.move.after.shape == (9, 1, 1)
    np.testing.assert_allclose(learned.move.chance, 1.0)
