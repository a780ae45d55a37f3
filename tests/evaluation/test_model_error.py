"""Model errors against theory: a model that knows the dynamics, and models that are wrong by a known amount."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces

from tests.helpers.families import family_of, family_over
from tests.helpers.known_dynamics import RingModel
from tests.helpers.pushed_blocks import PushedBlocks, misplaced_by_standing_still
from tests.helpers.ring import SLIPS, Ring
from waker.analysis.source_means import pooled
from waker.collection.spec_of import spec_of
from waker.config.presets import tiny
from waker.config.schema import EvalConfig
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.model_error import MOST_THETA, held_out_episodes, held_out_trajectories, measure
from waker.evaluation.setup import Setup
from waker.evaluation.sources import RANDOM_ONLY
from waker.model.world_model import WorldModel
from waker.specs import EnvSpec
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter, ParametricEnv
from waker_envs.foreign import Failed
from waker_envs.grids.cleanup import GridCleanUp
from waker_envs.grids.hazards import GridHazards
from waker_envs.testing import FailingEnv, HardTheta, PictureEnv

CONFIG = EvalConfig(model_episodes=8, horizon=4, samples=2000)


def errors(model: Any, make: Any = Ring, config: EvalConfig = CONFIG, seed: int = 0) -> pd.Series:
    """Mean error by (metric, θ)."""
    rows = measure(Setup(family_of(make), config, seed), model)
    return pooled(pd.DataFrame(rows)).set_index(["metric", "theta_id"])["value"]


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
    model, _ = world_model(env)
    rows = pd.DataFrame(measure(Setup(family_of(make), SMALL), model))
    kinds = {"latent_kl_1", "latent_kl_3", "observation_nll_1", "observation_nll_3"}
    assert set(rows["metric"]) == kinds | {"observation_mse_1", "observation_mse_3"}
    assert set(rows["theta_id"]) == set(range(env.theta_space.size or 0))
    assert np.isfinite(rows["value"]).all()
    assert (rows["value"] > 0).all()
    assert (rows["episodes"] == 1).all()


def test_grid_hazards_total_variation_for_every_theta() -> None:
    model, _ = world_model(GridHazards())
    rows = pd.DataFrame(measure(Setup(family_of(GridHazards), SMALL), model))
    one = rows[rows["metric"] == "one_step_tv"]
    assert list(one["theta_id"]) == list(range(18))
    assert one["value"].between(0, 1).all()
    assert {"theta_size", "theta_hazards", "theta_slip"} <= set(rows.columns)


def test_a_failing_environment_is_named() -> None:
    model, _ = world_model(FailingEnv(failure="nan", at_step=10**6))
    with pytest.raises(
        UserError, match=r"failed at step \d+ of an episode of suite 'model error': .*not finite.*; reproduce it with"
    ):
        measure(Setup(family_of(lambda: FailingEnv(failure="nan", at_step=7)), SMALL), model)


def test_held_out_episodes_cover_a_large_space_evenly() -> None:
    space = FiniteThetaSpace([Parameter("x", "")], np.arange(1000.0)[:, None])
    ids = [e.theta_id for e in held_out_episodes(Setup(family_over(space), EvalConfig(model_episodes=2)))]
    assert len(set(ids)) == MOST_THETA
    assert ids[:2] == [0, 0]
    assert ids[-1] == 999
    gaps = np.diff(sorted(set(ids)))
    assert gaps.max() - gaps.min() <= 1


def test_held_out_theta_of_a_continuous_space_lie_in_it() -> None:
    space = BoxThetaSpace([Parameter("x", "")], [0.0], [2.0])
    episodes = held_out_episodes(Setup(family_over(space), EvalConfig(model_episodes=1)))
    assert all(space.contains(e.theta) and e.theta_id == -1 for e in episodes)
    assert len({e.seed for e in episodes}) == len(episodes)


# What GridCleanUp is about: blocks ------------------------------------------------------------------------------------

CLEANUP = EvalConfig(model_episodes=1, horizon=5, samples=2)


def cleanup_rows(model: PushedBlocks, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Errors at every step of short episodes of a few θ."""
    monkeypatch.setattr(model_error, "_STARTS", {"one": (10**6, 1, 10**6), "open": (10**6, 1, 10**6)})
    monkeypatch.setattr(model_error, "MOST_THETA", 6)
    return pd.DataFrame(measure(Setup(family_of(short_cleanup), CLEANUP), cast(Any, model)))


def short_cleanup() -> GridCleanUp:
    return GridCleanUp(length=30)


def values(rows: pd.DataFrame, metric: str) -> np.ndarray:
    found = rows[rows["metric"] == metric]
    assert not found.empty, metric
    return found["value"].to_numpy()


def test_a_model_that_knows_the_moves_of_blocks_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = cleanup_rows(PushedBlocks(), monkeypatch)
    for metric in ("one_step_tv", "open_loop_tv_5", "tv_agent_5", "tv_blocks_1", "tv_blocks_5", "tv_cells_5"):
        np.testing.assert_allclose(values(rows, metric), 0, atol=1e-6)
    assert set(rows["exact_keys"]) == {"agent, blocks, cells"}


@pytest.mark.parametrize("k", [1, 5])
def test_a_model_that_is_blind_to_blocks_is_wrong_by_the_blocks_that_moved(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cleanup_rows(PushedBlocks("still"), monkeypatch)
    np.testing.assert_allclose(values(rows, f"tv_agent_{k}")[:1], 0, atol=1e-6)  # no block in its way
    portions = held_out_trajectories(Setup(family_of(short_cleanup), CLEANUP), RANDOM_ONLY[0])
    trajectories = [trajectory for portion in portions for trajectory in portion]
    expected = [misplaced_by_standing_still(t.observations, k).mean() for t in trajectories]
    assert max(expected) > 0.02 * k
    if k == 1:  # later, it believes that the agent is stopped where it is not, and the other way round
        np.testing.assert_allclose(values(rows, "tv_agent_1"), 0, atol=1e-6)
        np.testing.assert_allclose(values(rows, "one_step_tv"), expected, atol=1e-6)
    np.testing.assert_allclose(values(rows, f"tv_blocks_{k}"), expected, atol=1e-6)


def test_the_error_is_that_of_the_key_that_is_most_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, stopped = (cleanup_rows(m, monkeypatch) for m in (PushedBlocks("gone"), PushedBlocks(agent=False)))
    with_blocks = gone[gone["metric"] == "open_loop_tv_5"]
    with_blocks = with_blocks[with_blocks["theta_n_green"] + with_blocks["theta_n_blue"] > 0]["value"]
    assert len(with_blocks) >= 4
    np.testing.assert_allclose(with_blocks, 1, atol=1e-6)
    np.testing.assert_allclose(values(stopped, "one_step_tv"), values(stopped, "tv_agent_1"), atol=1e-6)
    assert values(stopped, "tv_agent_1").min() > 0.2


class HalfRing(Ring):
    """Predicts one of its two keys."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = spaces.Dict(**self.observation_space.spaces, moon=spaces.Discrete(2))

    def _observation(self) -> dict[str, Any]:
        return super()._observation() | {"moon": np.int64(0)}


def test_a_prediction_of_a_part_is_no_total_variation_of_the_whole() -> None:
    model, _ = world_model(HalfRing())
    rows = pd.DataFrame(measure(Setup(family_of(HalfRing), SMALL), model))
    assert {"tv_agent_1", "tv_agent_3", "observation_nll_3"} <= set(rows["metric"])
    assert not {"one_step_tv", "open_loop_tv_3"} & set(rows["metric"])
    assert set(rows["exact_keys"]) == {"agent"}


def test_start_states_are_of_all_times_alike() -> None:
    """Weights of early steps must not grow where few start states are taken: each step counts as often as any."""
    env = Ring()
    spec = spec_of(env)
    config = EvalConfig(model_episodes=40)
    portions = held_out_trajectories(Setup(family_of(Ring), config), RANDOM_ONLY[0])
    trajectories = [trajectory for portion in portions for trajectory in portion]
    for k in (1, 4):
        found = model_error._starts(trajectories, spec, k, 2, np.random.default_rng(0)).t
        counts = np.bincount(found, minlength=13 - k)
        assert len(counts) == 13 - k
        assert counts.sum() == 160
        assert abs(counts - 160 / (13 - k)).max() < 4 * np.sqrt(160 / (13 - k))


class BadBoard(GridCleanUp):
    """Predicts a board whose cells are no distributions, from some states."""

    def predict(self, *args: Any) -> Any:
        rows = super().predict(*args)
        if args[2]["agent"][0] == 0:
            rows["blocks"] = rows["blocks"] * 1.5
        return rows


def test_start_states_whose_prediction_is_no_distribution_are_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_error, "MOST_THETA", 6)
    model: Any = PushedBlocks()
    with pytest.warns(Failed, match=r"predict failed at .* calls.*'blocks' is no distribution"):
        rows = measure(Setup(family_of(lambda: BadBoard(length=30)), CLEANUP), model)
    table = pd.DataFrame(rows)
    np.testing.assert_allclose(values(table, "one_step_tv"), 0, atol=1e-6)
    one = table.set_index(["episode_seed", "metric"])["starts"].unstack("metric")
    assert (one["one_step_tv"].fillna(0) < one["observation_nll_1"]).any()
