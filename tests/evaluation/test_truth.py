"""What curricula are told of the model is what an evaluation would find, on episodes that no evaluation meets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from tests.helpers.families import family_of
from tests.helpers.known_dynamics import RingModel
from tests.helpers.line import CELLS, Line, LineModel, line_moves
from tests.helpers.ring import SLIPS, Ring
from tests.helpers.two_domains import Pair
from waker.analysis.source_means import pooled
from waker.config.schema import EvalConfig
from waker.curriculum import Wanted
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.learned_table import PlannedModel
from waker.evaluation.model_error import held_out_episodes
from waker.evaluation.planned import planned_rows
from waker.evaluation.setup import SEED, Setup
from waker.evaluation.truth import REGRETS, Truth, nearest
from waker.seeding import seed_for
from waker_envs.api import FiniteThetaSpace, Parameter

CONFIG = EvalConfig(model_episodes=1, horizon=4, samples=500)
WRONG = (0.25, 0.4)
"""Slips that a model believes in, of which the first is 0."""


def ring(believed: tuple[float, ...] = SLIPS) -> PlannedModel:
    """A model of the ring, whose reward heads nobody asks."""
    return cast(PlannedModel, RingModel(believed))


def truth(make: Any = Ring, seed: int = 3) -> Truth:
    return Truth(Setup(family_of(make), CONFIG), seed)


def test_it_is_the_model_s_error() -> None:
    found = truth().measure(ring(WRONG), Wanted(("one_step_tv",), 1, 4), 100)
    np.testing.assert_allclose(found, [0.25, 0.0], atol=0.03)


def test_it_is_what_an_evaluation_of_these_episodes_finds() -> None:
    wanted = Wanted(("open_loop_tv_4",), 1, 3)
    found = truth().measure(ring(WRONG), wanted, 100)
    settings = replace(CONFIG, model_episodes=3)
    seed = seed_for(3, "oracle", 100)
    rows = model_error.measure(Setup(family_of(Ring), settings, seed), ring(WRONG), steps=[4])
    means = pooled(pd.DataFrame(rows)).set_index(["metric", "theta_id"])["value"]
    assert found.tolist() == means["open_loop_tv_4"].tolist()


def test_its_episodes_are_its_own_and_other_ones_each_time() -> None:
    family, config = family_of(Ring), EvalConfig(model_episodes=50)
    met = [
        {e.seed for e in held_out_episodes(Setup(family, config, seed))}
        for seed in (SEED, seed_for(0, "oracle", 100), seed_for(0, "oracle", 200), seed_for(1, "oracle", 100))
    ]
    assert len(set.union(*met)) == sum(map(len, met)) == 400


def test_only_as_many_steps_ahead_are_predicted_as_the_metrics_need(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    predict = model_error.predict

    def noted(*args: Any) -> Any:
        asked.append(args[4].shape[1])
        return predict(*args)

    monkeypatch.setattr(model_error, "predict", noted)
    for metrics in (("one_step_tv", "observation_nll_1"), ("open_loop_tv_7",), ("latent_kl_2", "latent_kl_1")):
        truth().measure(ring(), Wanted(metrics, 1, 1), 0)
    assert asked == [1, 7, 1, 2]


def test_the_first_metric_that_most_theta_have_is_taken() -> None:
    model = ring(WRONG)
    one, nll = (truth().measure(model, Wanted((m,), 1, 4), 5) for m in ("one_step_tv", "observation_nll_1"))
    for metrics, expected in (
        (("one_step_tv", "observation_nll_1"), one),
        (("observation_nll_1", "one_step_tv"), nll),
        (("tv_colour_1", "one_step_tv"), one),
    ):
        assert truth().measure(model, Wanted(metrics, 1, 4), 5).tolist() == expected.tolist()


def test_what_cannot_be_measured_is_told() -> None:
    wanted = Wanted(("tv_colour_1", "planned"), 1, 1)
    with pytest.raises(UserError, match=r"asks for 'tv_colour_1' or 'planned', which cannot be .*one_step_tv.* can$"):
        truth().check(ring(), wanted)
    truth().check(ring(), Wanted(("one_step_tv",), 1, 1))


def test_regret_is_that_of_plans_mean_or_worst_over_tasks() -> None:
    """The model takes the left wall for a way to the right end, which costs both tasks something."""
    moves, env, seed = line_moves(), Line(), seed_for(3, "oracle", 40)
    moves[:, 0, 0] = np.eye(CELLS)[CELLS - 1]
    model = cast(PlannedModel, LineModel(moves))
    mean, worst = (truth(Line).measure(model, Wanted((metric,), 1, 25), 40) for metric in REGRETS)
    setup = Setup(family_of(Line), replace(CONFIG, model_episodes=25), seed)
    rows = planned_rows(setup, model, held_out_episodes(setup), CONFIG.samples)
    for theta in (0, 1):
        lost = [
            np.mean([r["optimal_return"] - r["return"] for r in rows if (r["theta_id"], r["task"]) == (theta, task)])
            for task in env.tasks
        ]
        assert 0 < lost[0] != lost[1] > 0
        assert mean[theta] == pytest.approx(sum(lost) / 2)
        assert worst[theta] == pytest.approx(max(lost))
    exact = truth(Line).measure(cast(PlannedModel, LineModel(line_moves())), Wanted(REGRETS[:1], 1, 4), 40)
    np.testing.assert_allclose(exact, 0, atol=1e-9)


def test_regret_needs_a_family_with_tables() -> None:
    with pytest.raises(UserError, match="'planned_regret_mean', which needs exact tables .* and .* offers none"):
        truth().check(ring(), Wanted(("planned_regret_mean",), 1, 1))


def test_theta_that_are_not_measured_take_the_nearest_s_value() -> None:
    points = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 100.0]]
    space = FiniteThetaSpace([Parameter("a", ""), Parameter("b", "")], points)
    # Scaled by their ranges, θ 2 is a third from θ 3 and two from θ 0; θ 4 is one from θ 3.
    assert nearest(space, np.array([0, 3])).tolist() == [0, 0, 1, 1, 1]


def test_nearest_stays_in_the_domain() -> None:
    space = Pair().theta_space
    assert isinstance(space, FiniteThetaSpace)
    assert space.groups is not None
    last_of_each = np.array([np.flatnonzero(space.groups == g)[-1] for g in (0, 1)])
    assert nearest(space, last_of_each).tolist() == space.groups.tolist()


def test_a_space_of_many_theta_is_measured_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_error, "MOST_THETA", 1)
    found = truth().measure(ring(WRONG), Wanted(("one_step_tv",), 1, 4), 0)
    assert found[0] == found[1]
    assert found[0] == pytest.approx(0.25, abs=0.03)
