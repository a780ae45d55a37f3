"""What environments refuse to be handed, each in one clear line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import waker_envs
from waker_envs.checks import checked_choice, checked_count, numbers

NOT_NUMBERS: tuple[Any, ...] = ("12", None, ["a", "b"], [[1.0], [1.0, 2.0]], [1.0, None], {"x": 1.0}, object())


@pytest.mark.parametrize("given", NOT_NUMBERS, ids=repr)
def test_numbers_are_numbers(given: Any) -> None:
    assert numbers("x", [1, True]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="^x must be an array of numbers, got "):
        numbers("x", given)


def test_what_is_long_is_cut_short() -> None:
    with pytest.raises(ValueError, match=r"\.\.\.$") as told:
        numbers("x", ["a"] * 100)
    assert len(str(told.value)) < 100


@pytest.mark.parametrize("given", [x for x in NOT_NUMBERS if x is not None], ids=repr)  # None: draw one
@pytest.mark.parametrize("env_id", ["GridHazards", "CleanUp", "Combined"])
def test_theta_is_numbers_in_every_family(env_id: str, given: Any) -> None:
    kwargs = {} if env_id == "GridHazards" else {"obs": "proprio"}
    env = waker_envs.make(env_id, **kwargs)
    with pytest.raises(waker_envs.ThetaError, match="θ must be an array of numbers"):
        env.reset(seed=0, options={"theta": given})
    env.close()


@pytest.mark.parametrize("action", [["a", "b"], [0.0, None], [[0.0], [0.0, 1.0]], "go"], ids=repr)
@pytest.mark.parametrize("env_id", ["CleanUp", "Combined", "TerrainHopper"])
def test_actions_are_numbers(env_id: str, action: Any) -> None:
    env = waker_envs.make(env_id, obs="proprio")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="the action must be an array of numbers, got"):
        env.step(action)
    env.close()


@pytest.mark.parametrize("value", [0, -3, 2.5, float("nan"), "9", True, None])
def test_a_count_is_a_whole_number_of_at_least_one(value: Any) -> None:
    assert checked_count("length", np.int64(7)) == 7
    with pytest.raises(ValueError, match="length must be a whole number of at least 1, got"):
        checked_count("length", value)


@pytest.mark.parametrize("value", ["smell", "", None, 3, ["pixels"], {"pixels": 1}, np.array(["pixels"])], ids=repr)
def test_a_choice_is_one_of_the_words(value: Any) -> None:
    assert checked_choice("obs", "pixels", ("pixels", "proprio")) == "pixels"
    with pytest.raises(ValueError, match="^obs must be one of 'pixels', 'proprio', got"):
        checked_choice("obs", value, ("pixels", "proprio"))


@pytest.mark.parametrize("argument", ["obs", "look"])
@pytest.mark.parametrize("env_id", ["CleanUp", "Combined", "TerrainWalker"])
def test_every_family_names_its_choices(env_id: str, argument: str) -> None:
    for value in ("smell", ["pixels"]):
        with pytest.raises(ValueError, match=f"{argument} must be one of"):
            waker_envs.make(env_id, **{argument: value})
