"""What the learner reads off an environment, and what it refuses."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from waker.collection.spec_of import spec_of
from waker.errors import UserError
from waker.specs import ActionSpec, BrokenPromise, ObservationKey, completion_of


class Shell(gym.Env[Any, Any]):
    """An environment that is nothing but its spaces and tasks."""

    tasks = ("walk", "run")

    def __init__(
        self, observation: spaces.Space[Any], action: spaces.Space[Any] | None = None, **weights: float
    ) -> None:
        self.observation_space = observation
        self.action_space = spaces.Discrete(3) if action is None else action
        self.observation_weights = weights


PICTURE = spaces.Box(0, 255, (8, 6, 3), np.uint8)
FLOATS = spaces.Box(-np.inf, np.inf, (2, 3), np.float64)
CELLS = spaces.MultiDiscrete([7, 2, 300])


def key_of(space: spaces.Space[Any]) -> ObservationKey:
    (key,) = spec_of(Shell(space)).observation
    return key


@pytest.mark.parametrize(
    ("space", "expected", "size"),
    [
        (PICTURE, ObservationKey("image", "image", (8, 6, 3), "uint8"), 144),
        (FLOATS, ObservationKey("observation", "vector", (2, 3), "float32"), 6),
        (spaces.Box(0, 255, (5,), np.uint8), ObservationKey("observation", "vector", (5,), "float32"), 5),
        (spaces.Box(0, 1, (), np.float32), ObservationKey("observation", "vector", (), "float32"), 1),
        (CELLS, ObservationKey("observation", "categorical", (3,), "int32", (7, 2, 300)), 309),
        (spaces.MultiDiscrete([256]), ObservationKey("observation", "categorical", (1,), "uint8", (256,)), 256),
        (spaces.Discrete(5), ObservationKey("observation", "categorical", (1,), "uint8", (5,)), 5),
        (spaces.Discrete(257), ObservationKey("observation", "categorical", (1,), "int32", (257,)), 257),
    ],
)
def test_every_kind_of_space(space: spaces.Space[Any], expected: ObservationKey, size: int) -> None:
    assert key_of(space) == expected
    assert expected.size == size


def test_a_dict_keeps_its_keys_and_the_environment_s_weights() -> None:
    space = spaces.Dict({"camera": PICTURE, "speed": FLOATS, "cells": CELLS})
    spec = spec_of(Shell(space, camera=0.5, cells=3.0))
    assert [k.name for k in spec.observation] == list(space.spaces)
    assert {(k.name, k.kind, k.weight) for k in spec.observation} == {
        ("camera", "image", 0.5),
        ("speed", "vector", 1.0),
        ("cells", "categorical", 3.0),
    }
    assert spec.tasks == ("walk", "run")
    assert spec.env_id == "Shell"


def test_a_registered_environment_is_known_by_its_id() -> None:
    import waker_envs  # noqa: F401

    env = gym.make("waker/GridHazards-v0")
    spec = spec_of(env)
    assert spec.env_id == "waker/GridHazards-v0"
    assert spec.action.discrete
    observation, _ = env.reset(seed=0)
    arrays = spec.split(observation)
    for key in spec.observation:
        assert arrays[key.name].shape == key.shape
        assert arrays[key.name].dtype == key.dtype
        if key.kind == "categorical":
            assert (arrays[key.name] < np.array(key.classes)).all()
    env.close()


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiBinary(3),
        spaces.MultiDiscrete(np.full((2, 2), 3)),
        spaces.MultiDiscrete([3, 3], start=[1, 0]),
        spaces.Discrete(3, start=1),
        spaces.Text(5),
        spaces.Dict({"inner": spaces.Dict({"x": FLOATS})}),
    ],
)
def test_other_observations_are_refused_in_one_line(space: spaces.Space[Any]) -> None:
    with pytest.raises(
        UserError, match=r"the learner takes .*Box of uint8 H×W×C images, Box of floats, and a flat Dict"
    ) as told:
        spec_of(Shell(space))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=1),
        spaces.MultiDiscrete([2, 2]),
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
        spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    ],
)
def test_other_actions_are_refused_in_one_line(space: spaces.Space[Any]) -> None:
    with pytest.raises(UserError, match="the learner takes Discrete from 0 and bounded one-dimensional Box") as told:
        spec_of(Shell(FLOATS, space))
    assert "\n" not in str(told.value)


def test_a_family_without_tasks_is_refused() -> None:
    env = Shell(FLOATS)
    env.tasks = ()
    with pytest.raises(UserError, match="has no tasks; a family needs at least one"):
        spec_of(env)


def test_splitting_gives_arrays_of_the_keys_types() -> None:
    several = spec_of(Shell(spaces.Dict({"speed": FLOATS, "cells": CELLS})))
    arrays = several.split({"speed": [[1, 2, 3], [4, 5, 6]], "cells": [6, 1, 299], "other": 5})
    assert arrays.keys() == {"speed", "cells"}
    assert arrays["speed"].dtype == np.float32
    assert arrays["cells"].dtype == np.int32
    single = spec_of(Shell(spaces.Discrete(5))).split(3)
    assert single["observation"].tolist() == [3]
    assert single["observation"].dtype == np.uint8


# Actions ------------------------------------------------------------------------------------------------------


def test_a_discrete_action_is_the_largest_entry() -> None:
    spec = spec_of(Shell(FLOATS)).action
    assert spec == ActionSpec(3, True)
    action = spec.to_env(np.array([0.0, 1.0, 0.0], np.float32))
    assert action == 1
    assert isinstance(action, int)


def test_a_continuous_action_is_scaled_to_the_bounds_and_clipped() -> None:
    box = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
    spec = spec_of(Shell(FLOATS, box)).action
    assert (spec.dim, spec.low, spec.high) == (2, (-2.0, 0.0), (2.0, 10.0))
    assert spec.to_env(np.array([-1.0, -1.0], np.float32)).tolist() == [-2.0, 0.0]
    assert spec.to_env(np.array([0.5, 0.0], np.float32)).tolist() == [1.0, 5.0]
    assert spec.to_env(np.array([7.0, -9.0], np.float32)).tolist() == [2.0, 0.0]


@given(hnp.arrays(np.float32, 3, elements=st.floats(-100, 100, width=32)))
def test_every_vector_becomes_an_action_inside_the_space(vector: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    low, high = np.array([-1.3, 0.1, -7.0], np.float32), np.array([0.7, 0.3, 1e3], np.float32)
    spec = ActionSpec(3, False, tuple(map(float, low)), tuple(map(float, high)))
    assert spaces.Box(low, high).contains(spec.to_env(vector))


def test_random_actions_are_uniform() -> None:
    rng = np.random.default_rng(0)
    onehots = ActionSpec(4, True).random(rng, 4_000)
    assert onehots.dtype == np.float32
    assert (onehots.sum(1) == 1.0).all()
    assert np.abs(onehots.mean(0) - 0.25).max() < 0.03
    values = ActionSpec(2, False, (0.0, 0.0), (9.0, 9.0)).random(rng, 4_000)
    assert values.shape == (4_000, 2)
    assert np.abs(values).max() <= 1.0
    assert np.abs(values.mean(0)).max() < 0.05
    assert np.abs(values.std(0) - 3**-0.5).max() < 0.03


@pytest.mark.parametrize(
    "space",
    [
        *(spaces.Box(-b, b, (2,), np.float64) for b in (1e300, 1e30, float(np.finfo(np.float64).max))),
        spaces.Box(-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max), (2,), np.float32),
        spaces.Box(-float(np.finfo(np.float16).max), float(np.finfo(np.float16).max), (2,), np.float16),
        spaces.Box(np.array([-1.0, -np.inf]), np.array([1.0, 1.0]), dtype=np.float64),
        spaces.Box(np.array([0.0]), np.array([np.inf]), dtype=np.float32),
        spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32),
        spaces.Box(0, 2**63 - 1, (1,), np.int64),
        spaces.Box(0, 2**20, (1,), np.int32),
        spaces.Box(-1.0, 1.0, (0,), np.float32),
    ],
    ids=str,
)
def test_actions_without_real_bounds_are_refused_in_one_line(space: spaces.Box) -> None:
    with pytest.raises(UserError, match="bounded one-dimensional Box") as told:
        spec_of(Shell(FLOATS, space))
    assert "\n" not in str(told.value)


KINDS_OF_BOX = [
    spaces.Box(-2, 2, (2,), np.int32),
    spaces.Box(0, 255, (2,), np.uint8),
    spaces.Box(np.array([-128, 5]), np.array([127, 5]), dtype=np.int8),
    spaces.Box(0.1, 0.2, (2,), np.float64),
    spaces.Box(np.array([0.1, -1e9]), np.array([0.7, 1e9]), dtype=np.float64),
    spaces.Box(-0.1, 0.3, (2,), np.float16),
    spaces.Box(-0.7, 0.1, (2,), np.float32),
]


@pytest.mark.parametrize("space", KINDS_OF_BOX, ids=str)
@given(hnp.arrays(np.float32, 2, elements=st.floats(-3, 3, width=32)))
def test_every_vector_becomes_an_action_of_the_space_s_own_type(
    space: spaces.Box, vector: np.ndarray[Any, np.dtype[np.float32]]
) -> None:
    action = spec_of(Shell(FLOATS, space)).action.to_env(vector)
    assert space.contains(action)
    assert action.dtype == space.dtype


@pytest.mark.parametrize("space", KINDS_OF_BOX, ids=str)
def test_actions_reach_both_bounds_and_what_lies_between(space: spaces.Box) -> None:
    spec = spec_of(Shell(FLOATS, space)).action
    assert spec.to_env(-np.ones(2, np.float32)).tolist() == space.low.tolist()
    assert spec.to_env(np.ones(2, np.float32)).tolist() == space.high.tolist()
    drawn = np.array([spec.to_env(v) for v in spec.random(np.random.default_rng(0), 2_000)], np.float64)
    middle = (space.low.astype(float) + space.high) / 2
    spread = space.high.astype(float) - space.low
    assert (np.abs(drawn.mean(0) - middle) <= 0.03 * spread).all()


def test_each_integer_takes_an_equal_share() -> None:
    spec = spec_of(Shell(FLOATS, spaces.Box(-2, 2, (1,), np.int64))).action
    drawn = [int(spec.to_env(v)[0]) for v in spec.random(np.random.default_rng(0), 5_000)]
    assert np.abs(np.bincount(np.array(drawn) + 2, minlength=5) / 5_000 - 0.2).max() < 0.02


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, [0.5, 0.5]),
        ([0, 1], [0, 1]),
        ({"run": 1.0}, [np.nan, 1]),
        (np.float32([1 + 2e-7, np.nan]), [1, np.nan]),
        (None, [np.nan, np.nan]),
    ],
)
def test_completion_that_is_a_share_or_none(given: Any, expected: list[float]) -> None:
    np.testing.assert_allclose(completion_of({"completion": given}, ("walk", "run")), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (1.5, "of 'walk' is 1.5, outside"),
        ([0.5, -0.1], "of 'run' is -0.1, outside"),
        ({"run": np.inf}, "of 'run' is inf, outside"),
        (-np.inf, "is -inf"),
        ([0.1, 0.2, 0.3], "one for each of the 2 tasks"),
        ("half", "'half' where one number"),
        ({"run": [0.1, 0.2]}, "where one number"),
    ],
)
def test_completion_that_is_no_share_is_a_broken_promise(given: Any, told: str) -> None:
    with pytest.raises(BrokenPromise, match=r"info\['completion'\]") as caught:
        completion_of({"completion": given}, ("walk", "run"))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
