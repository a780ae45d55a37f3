"""(seed, info["theta"]) names every episode: whether θ was given or drawn, in every family and every way to make it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import waker_envs
import waker_envs.testing
from waker_envs.played import play
from waker_envs.registry import BUILT_IN
from waker_envs.testing import HardTheta, NoisyTheta

SMALL = {"TerrainWalker": "proprio", "TerrainHopper": "proprio", "CleanUp": "proprio", "CarCleanUp": "proprio"}


def arguments(env_id: str) -> dict[str, Any]:
    """Vectors in place of pictures, which would cost minutes here and show the same."""
    name = env_id.split("/")[1].removesuffix("-v0")
    return {"obs": "proprio"} if name in SMALL or name == "Combined" else {}


@pytest.mark.parametrize("env_id", [*BUILT_IN, "waker/test-Noisy-v0"])
def test_an_episode_of_a_drawn_theta_is_that_of_the_same_theta_given(env_id: str) -> None:
    env = waker_envs.make(env_id, **arguments(env_id))
    thetas = set()
    for seed in range(6):
        drawn = play(env, None, seed, steps=12)
        assert drawn.theta is not None
        thetas.add(tuple(drawn.theta))
        assert drawn.same(play(env, drawn.theta, seed, steps=12)), seed
        again = waker_envs.make(env_id, **arguments(env_id))
        assert drawn.same(play(again, None, seed, steps=12)), seed
    assert len(thetas) > 1


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_slots_of_a_vector_environment_are_named_too(mode: str) -> None:
    envs = gym.make_vec("waker/GridHazards-v0", num_envs=3, vectorization_mode=mode)
    observations, infos = envs.reset(seed=7)
    for i, theta in enumerate(infos["theta"]):
        single = gym.make("waker/GridHazards-v0")
        observation, info = single.reset(seed=7 + i, options={"theta": theta})
        assert info["theta"].tolist() == theta.tolist()
        for key, value in observation.items():
            np.testing.assert_array_equal(observations[key][i], value)
    envs.close()


def test_drawn_thetas_follow_dr_and_go_on_from_a_seed() -> None:
    env = HardTheta()
    drawn = [env.reset(seed=seed)[1]["theta"].item() for seed in range(300)]
    assert np.bincount(np.array(drawn, int), minlength=5).min() > 35
    series = []
    for _ in range(2):
        env.reset(seed=3)
        series.append([env.reset()[1]["theta"].item() for _ in range(20)])
    assert series[0] == series[1]
    assert len(set(series[0])) > 1


def test_a_generator_that_somebody_has_set_draws_theta() -> None:
    found = []
    for _ in range(2):
        env = NoisyTheta()
        env.np_random = np.random.default_rng(5)
        found.append([env.reset()[1]["theta"].item() for _ in range(12)])
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


class Spawning(HardTheta):
    """Takes its chance from children of the episode's generator."""

    def begin(self, theta: Any) -> Any:
        observation = super().begin(theta)
        self._x = observation[0] = np.float32(self.np_random.spawn(1)[0].uniform(-0.5, 0.5))
        return observation


def test_an_environment_that_spawns_generators_is_named_too() -> None:
    for seed in range(5):
        drawn = play(Spawning(), None, seed)
        assert drawn.same(play(Spawning(), drawn.theta, seed))
