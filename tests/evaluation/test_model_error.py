"""Model errors against theory: a model that knows the dynamics, and models that are wrong by a known amount."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import waker_envs.testing
from tests.evaluation.ring import SLIPS, Ring, RingModel
from waker.config import EvalConfig
from waker.errors import UserError
from waker.evaluation.model_error import MOST_THETA, _total_variation, held_out_episodes, measure
from waker.model.world_model import WorldModel
from waker.presets import tiny
from waker.spaces import EnvSpec, spec_of
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter, ParametricEnv
from waker_envs.testing import FailingEnv, HardTheta, PictureEnv

CONFIG = EvalConfig(model_episodes=8, horizon=4, samples=2000)


def errors(model: Any, make: Any = Ring, config: EvalConfig = CONFIG, seed: int = 0) -> pd.Series:
    """Mean error by (metric, θ)."""
    env: ParametricEnv = make()
    rows = measure(model, make, spec_of(env), env.theta_space, config, seed)
    return pd.DataFrame(rows).set_index(["metric", "theta_id"])["value"]


@pytest.fixture(scope="module")
def exact() -> pd.Series:
    return errors(RingModel())


def test_exact_model_has_no_error_without_noise(exact: pd.Series) -> None:
    for metric in ("one_step_tv", "open_loop_tv_4", "latent_kl_1", "latent_kl_4", "observation_nll_1"):
        assert exact[metric, 0] == pytest.approx(0.0, abs=1e-4), metric


def test_exact_model_has_only_sampling_error_with_noise(exact: pd.Series) -> None:
    # 2000 samples over two (one step) and five (four steps) possible cells.
    assert exact["one_step_tv", 1] < 0.02
    assert exact["open_loop_tv_4", 1] < 0.035


def test_one_step_tv_is_the_error_of_the_believed_slip() -> None:
    found = errors(RingModel(believed=(0.25, 0.4)))
    assert found["one_step_tv", 0] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("believed", "tolerance"), [([0.8, 0.1, 0.1], 0.01), ([0.5, 0.4, 0.1], 0.02)])
def test_few_samples_do_not_bias_total_variation(believed: list[float], tolerance: float) -> None:
    truth, rng = np.array([0.8, 0.1, 0.1]), np.random.default_rng(0)
    draws = rng.multinomial(16, believed, size=(4000, 2)) / 16  # two halves of 32 samples
    right = 0.5 * abs(np.array(believed) - truth).sum()
    plain = np.mean([0.5 * abs(halves.mean(0) - truth).sum() for halves in draws])
    assert np.mean([_total_variation(halves, truth) for halves in draws]) == pytest.approx(right, abs=tolerance)
    assert plain > right + 0.005


def test_the_number_of_samples_does_not_show_in_the_error(exact: pd.Series) -> None:
    few = errors(RingModel(), config=EvalConfig(model_episodes=8, horizon=4, samples=8))
    assert few["open_loop_tv_4", 1] == pytest.approx(exact["open_loop_tv_4", 1], abs=0.06)


def test_latent_kl_and_nll_are_the_surprise_of_the_slip(exact: pd.Series) -> None:
    # Expected −ln P: the entropy of a step, 0.673 nats; over ~96 steps its standard error is 0.02.
    entropy = -sum(p * math.log(p) for p in (SLIPS[1], 1 - SLIPS[1]))
    assert exact["latent_kl_1", 1] == pytest.approx(entropy, abs=0.07)
    assert exact["observation_nll_1", 1] == pytest.approx(entropy, abs=0.08)


def test_ended_episodes_stay_where_they_ended() -> None:
    def trap() -> Ring:
        return Ring(trap=True)

    knows = errors(RingModel(trap=True), trap)
    assert knows["open_loop_tv_4", 0] == pytest.approx(0.0, abs=1e-4)
    assert knows["open_loop_tv_4", 1] < 0.035
    walks_on = errors(RingModel(trap=False), trap)
    assert walks_on["open_loop_tv_4", 0] > 0.1


def test_same_seed_same_rows_and_torch_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    config = EvalConfig(model_episodes=2, horizon=3, samples=16)
    first, second, other = (errors(RingModel(), config=config, seed=s) for s in (0, 0, 1))
    assert first.equals(second)
    assert not first.equals(other)
    assert torch.equal(before, torch.get_rng_state())


def world_model(env: ParametricEnv) -> tuple[WorldModel, EnvSpec]:
    torch.manual_seed(0)
    spec = spec_of(env)
    return WorldModel(spec, tiny().model), spec


SMALL = EvalConfig(model_episodes=1, horizon=3, samples=4)


@pytest.mark.parametrize("make", [HardTheta, PictureEnv])
def test_vectors_and_images_are_measured_by_nll_and_mse(make: type[ParametricEnv]) -> None:
    env = make()
    model, spec = world_model(env)
    rows = pd.DataFrame(measure(model, make, spec, env.theta_space, SMALL, 0))
    kinds = {"latent_kl_1", "latent_kl_3", "observation_nll_1", "observation_nll_3"}
    assert set(rows["metric"]) == kinds | {"observation_mse_1", "observation_mse_3"}
    assert set(rows["theta_id"]) == set(range(env.theta_space.size or 0))
    assert np.isfinite(rows["value"]).all()
    assert (rows["value"] > 0).all()
    assert (rows["episodes"] == 1).all()


def test_grid_hazards_total_variation_for_every_theta() -> None:
    env = waker_envs.make("waker/GridHazards-v0")
    model, spec = world_model(env)
    space = env.theta_space
    rows = pd.DataFrame(measure(model, lambda: waker_envs.make("waker/GridHazards-v0"), spec, space, SMALL, 0))
    one = rows[rows["metric"] == "one_step_tv"]
    assert list(one["theta_id"]) == list(range(18))
    assert one["value"].between(0, 1).all()
    assert {"theta_size", "theta_hazards", "theta_slip"} <= set(rows.columns)


def test_a_failing_environment_is_named() -> None:
    env = FailingEnv(failure="nan", at_step=10**6)
    model, spec = world_model(env)
    with pytest.raises(
        UserError, match=r"failed in evaluation at step \d+ of an episode: .*not finite.*; reproduce it with"
    ):
        measure(model, lambda: FailingEnv(failure="nan", at_step=7), spec, env.theta_space, SMALL, 0)


def test_held_out_episodes_cover_a_large_space_evenly() -> None:
    space = FiniteThetaSpace([Parameter("x", "")], np.arange(1000.0)[:, None])
    ids = [e.theta_id for e in held_out_episodes(space, EvalConfig(model_episodes=2), 0)]
    assert len(set(ids)) == MOST_THETA
    assert ids[:2] == [0, 0]
    assert ids[-1] == 999
    gaps = np.diff(sorted(set(ids)))
    assert gaps.max() - gaps.min() <= 1


def test_held_out_theta_of_a_continuous_space_lie_in_it() -> None:
    space = BoxThetaSpace([Parameter("x", "")], [0.0], [2.0])
    episodes = held_out_episodes(space, EvalConfig(model_episodes=1), 0)
    assert all(space.contains(e.theta) and e.theta_id == -1 for e in episodes)
    assert len({e.seed for e in episodes}) == len(episodes)
