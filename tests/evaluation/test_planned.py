"""Plans in models that are tables themselves: exact ones lose nothing, wrong ones what can be counted by hand."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.families import family_of
from tests.helpers.line import CELLS, LENGTH, SLIPS, Line, LineModel, Pit, line_moves
from waker.collection.episode import Episode
from waker.collection.spec_of import spec_of
from waker.config.presets import tiny
from waker.config.schema import EvalConfig
from waker.evaluation import learned_table, planned
from waker.evaluation.learned_table import PlannedModel, learned_tables
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.plan import plan_episodes
from waker.evaluation.planned import planned_rows
from waker.evaluation.rollouts import Row
from waker.evaluation.setup import Setup
from waker.model.world_model import WorldModel
from waker.names import EXPECTED
from waker.terminal.signals import Paused
from waker_envs.grids.cleanup_small import GridCleanUpSmall
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.keys import GridKeys
from waker_envs.tabular import Beginning, action_values, optimal_policy, policy_values
from waker_envs.testing import HardTheta

EPISODES = [Episode(np.array([slip]), n, seed, "dr") for n, slip in enumerate(SLIPS) for seed in range(40)]


def start(episode: Episode, family: type[Line] = Line) -> int:
    return int(family().reset(seed=episode.seed, options={"theta": episode.theta})[0]["agent"][0])


def rows_of(model: LineModel, samples: int = 64, episodes: list[Episode] = EPISODES, piece: Any = None) -> list[Row]:
    return planned_rows(Setup(family_of(Line), EvalConfig()), cast(PlannedModel, model), episodes, samples, piece)


def test_a_plan_in_the_true_dynamics_has_no_regret() -> None:
    rows = rows_of(LineModel(line_moves()))
    assert len(rows) == 2 * len(EPISODES)
    for row in rows:
        assert row["policy"] == "planned"
        assert row["return"] == row["exact_value"] == pytest.approx(row["optimal_return"], abs=1e-9)
        assert row["length"] == LENGTH
    by_hand = {cell: LENGTH - max(CELLS - 1 - cell, 1) + 1 for cell in range(CELLS)}
    for row, episode in zip(rows[::2], EPISODES, strict=True):
        if row["theta_slip"] == 0:
            assert row["optimal_return"] == pytest.approx(by_hand[start(episode)])


def test_a_wrong_transition_costs_what_it_costs_by_hand() -> None:
    """The model takes the left wall for a way to the right end, which is nearer than the true way from cells 0 and 1:
    from there its plan runs against the wall for ever."""
    moves = line_moves()
    moves[:, 0, 0] = np.eye(CELLS)[CELLS - 1]
    rows = rows_of(LineModel(moves))
    seen = set()
    for row, episode in zip(rows[::2], EPISODES, strict=True):
        cell = start(episode)
        seen.add(cell)
        if row["theta_slip"] == 0:
            assert row["task"] == "right"
            regret = {0: 3.0, 1: 4.0}.get(cell, 0.0)
            assert row["optimal_return"] - row["exact_value"] == pytest.approx(regret), cell
    assert seen == set(range(CELLS))


def test_an_end_that_the_model_fears_costs_what_lies_behind_it() -> None:
    ends = np.zeros(CELLS)
    ends[2] = 1.0  # nothing can be earned past the middle
    for row, episode in zip(rows_of(LineModel(line_moves(), ends))[::2], EPISODES, strict=True):
        if row["theta_slip"] == 0 and start(episode) > 2:
            assert row["exact_value"] == row["optimal_return"]
    table = learned(LineModel(line_moves(), ends))
    np.testing.assert_allclose(table.move[1, 1], 0, atol=1e-6)
    np.testing.assert_allclose(table.move[1, 2], np.eye(CELLS)[3], atol=1e-6)


def test_a_plan_is_not_told_where_episodes_end() -> None:
    """The model takes the left end, where an episode is over, for a way to the right one: it is the shorter way from
    the cell beside it alone. A model that knows the end loses nothing."""
    moves = line_moves()
    moves[:, 0, 0] = np.eye(CELLS)[CELLS - 1]
    setup, episodes = Setup(family_of(Pit), EvalConfig()), [e for e in EPISODES if e.theta[0] == 0]
    for ends in (None, np.eye(CELLS)[0]):
        rows = planned_rows(setup, cast(PlannedModel, LineModel(moves, ends)), episodes, 64)[::2]
        died = set()
        for row, episode in zip(rows, episodes, strict=True):
            if row["exact_value"] != row["optimal_return"]:
                died.add((start(episode, Pit), row["exact_value"], row["length"]))
        assert died == ({(1, 0.0, 1.0)} if ends is None else set())


def learned(model: LineModel, samples: int = 8, level: int = 0) -> Any:
    states = {"agent": np.arange(CELLS, dtype=np.uint8)[:, None], "floor": np.full((CELLS, 1), level, np.uint8)}
    return learned_tables(cast(PlannedModel, model), spec_of(Line()).observation, [states], 2, samples)[0]


def test_the_learned_table_is_the_model_s_mean_over_samples() -> None:
    torch.manual_seed(0)
    table = learned(LineModel(line_moves()), samples=4000, level=1)
    np.testing.assert_allclose(table.move, line_moves()[1], atol=0.04)
    np.testing.assert_allclose(table.reward[0], line_moves()[1][:, :, -1], atol=0.04)
    np.testing.assert_allclose(table.reward[1], line_moves()[1][:, :, 0], atol=0.04)


class PaidForSteps(LineModel):
    """Pays for a step to the right, and nothing for being anywhere."""

    def earned(self, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        cell = torch.arange(CELLS, dtype=torch.float32)
        gone = after[..., :CELLS] @ cell - before[..., :CELLS] @ cell
        return torch.stack([gone, action[..., 1].expand_as(gone)])


def test_heads_are_asked_about_the_step_that_they_are_to_value() -> None:
    table = learned(PaidForSteps(line_moves()))
    left, right = [0.0, -1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0, 0.0]
    np.testing.assert_allclose(table.reward[0], [left, right], atol=1e-6)
    np.testing.assert_allclose(table.reward[1], [[0.0] * CELLS, [1.0] * CELLS], atol=1e-6)


def test_rooms_of_several_sizes_are_asked_about_side_by_side() -> None:
    """One is a single state, another a part of the corridor: mass on cells that are not in it is lost."""
    rooms = [{"agent": np.array(cells)[:, None], "floor": np.zeros((len(cells), 1), int)} for cells in ([2], [0, 1, 4])]
    one, part = learned_tables(
        cast(PlannedModel, LineModel(line_moves())), spec_of(Line()).observation, rooms, 2, samples=2
    )
    np.testing.assert_allclose(one.move, np.ones((2, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(part.move, line_moves()[0][:, [0, 1, 4]][:, :, [0, 1, 4]], atol=1e-6)


def test_a_room_that_is_too_large_to_be_asked_about_at_once_is_asked_about_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = rows_of(LineModel(line_moves()))
    monkeypatch.setattr(learned_table, "DRAWS", 2 * 64 * 2)  # two states at a time
    assert repr(rows_of(LineModel(line_moves()))) == repr(whole)


def test_episodes_that_differ_in_their_start_share_a_room() -> None:
    model = LineModel(line_moves())
    rows_of(model)
    assert model.asked == len(SLIPS) * CELLS


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_every_path(seed: int) -> None:
    """Brute force: a policy's value is a sum over all sequences of states, the optimum that of the best policy."""
    rng = np.random.default_rng(seed)
    states, actions, tasks, length = 2, 2, 2, 3
    move = rng.dirichlet(np.ones(states + 1), (actions, states))[:, :, :states]  # the rest ends the episode
    reward = rng.normal(size=(tasks, actions, states))

    def value(policy: np.ndarray, task: int, first: int) -> float:
        total = 0.0
        for later in itertools.product(range(states), repeat=length - 1):
            path, chance = (first, *later), 1.0
            for t in range(length):
                if t:
                    chance *= move[policy[t - 1, path[t - 1]], path[t - 1], path[t]]
                # Every longer path that begins so shares this step: weigh it by the paths that are left.
                total += chance * reward[task, policy[t, path[t]], path[t]] / states ** (length - 1 - t)
        return total

    policies = np.array(list(itertools.product(range(actions), repeat=length * states))).reshape(-1, length, states)
    best = action_values(move, reward, length)[0].max(1)
    for task, first in itertools.product(range(tasks), range(states)):
        values = [value(policy, task, first) for policy in policies]
        assert best[task, first] == pytest.approx(max(values), abs=1e-12)
        for policy, expected in list(zip(policies, values, strict=True))[::7]:
            both = np.repeat(policy[:, None], tasks, 1)
            assert policy_values(move, reward, both)[task, first] == pytest.approx(expected, abs=1e-12)


class Interrupted(Piece):
    """Stops after some rooms, keeping what it was told."""

    def __init__(self, after: int) -> None:
        super().__init__(Pieces(), "planned", None)
        self.left = after

    def tick(self, snapshot: Any, progress: Any = str) -> None:
        if not self.left:
            self.state = snapshot()
            raise Paused
        self.left -= 1


def hazards() -> tuple[WorldModel, Any, Any, list[Episode]]:
    make = functools.partial(GridHazards, sizes=(3, 4), n_layouts=2)
    env = make()
    torch.manual_seed(0)
    config = dataclasses.replace(tiny().evaluation, episodes=24, suite_episodes=4)
    return WorldModel(spec_of(env), tiny().model), make, env, plan_episodes(family_of(make), config, 0)


def test_an_evaluation_that_was_stopped_ends_with_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "DRAWS", 1200)
    model, make, _, episodes = hazards()
    plan = functools.partial(planned_rows, Setup(family_of(make), EvalConfig()), model, episodes, 4)
    whole = plan()
    piece = Interrupted(after=3)
    with pytest.raises(Paused):
        plan(piece=piece)
    assert piece.state is not None
    assert len(piece.state["worth"]) > 0
    all_of_it, rest = Interrupted(after=10**6), Interrupted(after=10**6)
    rest.state = piece.state
    assert repr(plan(piece=all_of_it)) == repr(plan(piece=rest)) == repr(whole)
    assert rest.left == all_of_it.left + 3


def test_grid_hazards_are_planned_in_all_suites() -> None:
    model, make, env, episodes = hazards()
    every = planned_rows(Setup(family_of(make), EvalConfig()), model, episodes, 2)
    rows = [row for row in every if row["policy"] == "planned"]
    assert len(rows) == 3 * len(episodes)
    assert {row["suite"] for row in rows} == {"dr", *env.theta_space.suites}
    of_suite = {"dr": env} | {name: make(**suite.env_kwargs) for name, suite in env.theta_space.suites.items()}
    for row in rows:
        assert row["exact_value"] <= row["optimal_return"] + 1e-9
        optimum = of_suite[row["suite"]].optimal_return(list(theta_of(row)), row["task"], row["episode_seed"])
        assert row["optimal_return"] == pytest.approx(optimum, abs=1e-9)


class KnownLine(Line):
    """Says where its episodes begin: in each cell alike, but twice as often in the first."""

    def begin(self, theta: Any) -> Any:
        super().begin(theta)
        self._cell = int(self.np_random.choice(CELLS, p=[1 / 3, *[1 / 6] * 4]))
        return self._observation()

    def beginnings(self, theta: Any) -> list[Beginning]:
        return [Beginning(self.tabular(theta, 0), np.array([1 / 3, *[1 / 6] * 4]))]


def test_a_row_of_each_theta_has_the_expectation_over_all_of_its_episodes() -> None:
    """By hand, as above: where nothing slips, a plan that mistakes the left wall loses 3 from cell 0 and 4 from 1."""
    moves = line_moves()
    moves[:, 0, 0] = np.eye(CELLS)[CELLS - 1]
    setup = Setup(family_of(KnownLine), EvalConfig())
    found = planned_rows(setup, cast(PlannedModel, LineModel(moves)), EPISODES[:3] + EPISODES[40:43], 64)
    expected = [row for row in found if row["policy"] == EXPECTED]
    assert [(row["theta_slip"], row["task"]) for row in expected] == [
        (slip, task) for slip in SLIPS for task in Line.tasks
    ]
    assert {(row["episode_seed"], row["suite"]) for row in expected} == {(-1, "dr")}
    right = expected[0]
    assert right["return"] == right["exact_value"]
    assert right["optimal_return"] - right["return"] == pytest.approx((2 * 3.0 + 4.0) / 6)
    best = [LENGTH - max(CELLS - 1 - cell, 1) + 1 for cell in range(CELLS)]
    assert right["optimal_return"] == pytest.approx((2 * best[0] + sum(best[1:])) / 6)
    assert right["length"] == LENGTH


def test_the_rows_of_episodes_do_not_depend_on_those_of_theta() -> None:
    without = GridHazards.beginnings
    model, make, _, episodes = hazards()
    plan = functools.partial(planned_rows, Setup(family_of(make), EvalConfig()), model, episodes, 4)
    rows = plan()
    try:
        del GridHazards.beginnings
        alone = plan()
    finally:
        GridHazards.beginnings = without  # type: ignore[method-assign]
    assert len(rows) > len(alone)
    assert repr(rows[: len(alone)]) == repr(alone)
    assert {row["policy"] for row in rows[len(alone) :]} == {EXPECTED}


@pytest.mark.parametrize("family", [GridHazards, functools.partial(GridKeys, sizes=(3, 5)), GridCleanUpSmall])
def test_expectations_are_the_means_of_many_episodes(family: Any) -> None:
    """The optima, which need no model: of 400 episodes of a θ, within four standard errors."""
    env = family()
    for theta in env.theta_space.hard[:2]:
        begun = env.beginnings(theta)
        best = [optimal_policy(b.table.move, b.table.reward, b.table.length)[1] for b in begun]
        expected = sum(value @ b.chance for value, b in zip(best, begun, strict=True))
        met = np.array([[env.optimal_return(theta, task, seed) for task in env.tasks] for seed in range(400)])
        assert (np.abs(met.mean(0) - expected) <= 4 * met.std(0) / 20 + 1e-9).all()


def theta_of(row: Row) -> list[float]:
    return [row["theta_size"], row["theta_hazards"], row["theta_slip"]]


def test_a_family_without_tables_has_no_rows(tmp_path: Path) -> None:
    family = family_of(HardTheta)
    model = WorldModel(family.spec, tiny().model)
    assert planned_rows(Setup(family, EvalConfig()), model, plan_episodes(family, tiny().evaluation, 0), 2) == []
    pixels = family_of(functools.partial(GridHazards, obs="pixels"))
    assert planned_rows(Setup(pixels, EvalConfig()), cast(Any, None), plan_episodes(pixels, EvalConfig(), 0), 2) == []
