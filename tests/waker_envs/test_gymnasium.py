"""Every registered family passes gymnasium's checker and ours, in every kind of observation, without a warning."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import waker_envs
import waker_envs.testing
from waker_envs.checker import check_parametric_env
from waker_envs.registry import BUILT_IN

SHORT = {f"waker/{name}-v0": 40 for name in ("TerrainWalker", "TerrainHopper", "CleanUp", "CarCleanUp", "Combined")}
"""``length`` of families on MuJoCo: their episodes of 1000 control steps would keep our checker for minutes."""
BAD = {f"waker/test-{name}-v0" for name in ("Failing", "Misbehaves", "Exactly", "Endless")}
"""Families that break promises on purpose; other modules of tests may have registered them by now."""
GOOD = [env_id for env_id in waker_envs.registered_ids() if env_id not in BAD]


# Not one warning is unavoidable, so none is excepted.
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("env_id", waker_envs.registered_ids())
def test_gymnasium_is_content(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("env_id", BUILT_IN)
def test_gymnasium_is_content_with_pictures(env_id: str) -> None:
    check_env(gym.make(env_id, obs="pixels").unwrapped)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("env_id", GOOD)
def test_our_checker_is_content(env_id: str) -> None:
    if env_id in SHORT:
        check_parametric_env(functools.partial(waker_envs.make, env_id, length=SHORT[env_id]))
    else:
        check_parametric_env(env_id)


@pytest.mark.parametrize("env_id", BUILT_IN)
def test_pixels_are_64_square_and_render_is_for_people(env_id: str) -> None:
    env = waker_envs.make(env_id, obs="pixels", render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    observation, _ = env.reset(seed=0)
    assert observation.shape == (64, 64, 3)
    assert observation.dtype == np.uint8
    assert len(np.unique(observation.reshape(-1, 3), axis=0)) > 3
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8
    assert min(picture.shape[:2]) >= 256
    silent = waker_envs.make(env_id)
    silent.reset(seed=0)
    assert silent.render() is None


@pytest.mark.parametrize("env_id", BUILT_IN)
def test_a_wrong_kind_of_observation_is_refused(env_id: str) -> None:
    with pytest.raises(ValueError, match="'pixels'.*got 'text'"):
        waker_envs.make(env_id, obs="text")


@pytest.mark.parametrize("env_id", BUILT_IN)
def test_the_documentation_has_every_section(env_id: str) -> None:
    doc = type(waker_envs.make(env_id)).__doc__ or ""
    sections = ("Description", "Action space", "Observation space", "Tasks and rewards", "Parameters θ")
    for section in (*sections, "Episode end", "Registered ids", "Arguments"):
        assert f"## {section}" in doc
    assert env_id in doc
