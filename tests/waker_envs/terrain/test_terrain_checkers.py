"""Terrain passes gymnasium's checker and ours with every kind of observation and of ground."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from gymnasium.utils.env_checker import check_env

import waker_envs
from waker_envs import checker
from waker_envs.terrain.base import TerrainEnv
from waker_envs.terrain.hopper import TerrainHopper
from waker_envs.terrain.walker import TerrainWalker

FAMILIES = pytest.mark.parametrize("family", [TerrainWalker, TerrainHopper])
KINDS = pytest.mark.parametrize("obs", ["pixels", "proprio", "proprio+scan"])
AUTHORS = pytest.mark.parametrize("authors", [False, True])
GROUNDS = pytest.mark.parametrize("ground", ["noise", "stairs"])


@FAMILIES
@KINDS
@GROUNDS
@AUTHORS
def test_gymnasium_warns_of_nothing_but_vectors_without_bounds(
    family: type[TerrainEnv], obs: Any, ground: Any, authors: bool
) -> None:
    """Velocities and the hopper's touch have no bound that holds in every state, and one such entry is enough."""
    env = waker_envs.make(family.__name__, obs=obs, ground=ground, authors=authors)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)
    told = sorted(re.sub(r"\x1b\[\d+m", "", str(warning.message)) for warning in caught)
    bounds = [f"WARN: A Box observation space {end}imum value is" for end in ("max", "min")]
    assert len(told) == (0 if obs == "pixels" else len(bounds))
    assert all(line.startswith(bound) for line, bound in zip(told, bounds, strict=False))


@FAMILIES
@KINDS
@AUTHORS
@pytest.mark.filterwarnings("error")
def test_our_checker_is_content(family: type[TerrainEnv], obs: Any, authors: bool) -> None:
    checker.check_parametric_env(lambda **kwargs: family(**{"obs": obs, "authors": authors, "length": 20, **kwargs}))


@FAMILIES
@KINDS
@AUTHORS
@pytest.mark.filterwarnings("error")
def test_on_stairs_our_checker_complains_of_nothing_but_an_idle_theta(
    family: type[TerrainEnv], obs: Any, authors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stairs are one suite, not a family: they have no use for θ, as documented."""

    def made(**kwargs: Any) -> TerrainEnv:
        return family(**{"obs": obs, "authors": authors, "length": 10, "ground": "stairs", **kwargs})

    with pytest.raises(checker.EnvCheckError, match="^θ changes nothing"):
        checker.check_parametric_env(made)
    monkeypatch.setattr(checker, "_check_theta_matters", lambda *_: None)
    checker.check_parametric_env(made)
