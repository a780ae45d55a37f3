"""A saved curriculum continues identically, and only where it belongs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.helpers.spaces import PARAMETERS, POINTS, WEIGHTS, box_space, finite_space
from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.api import Curriculum, Informed, State
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, Parameter, ThetaSpace

NAMES = ["dr", "waker-m", "waker-r", "gradual-expansion", "hardest-oracle", "reweighting-oracle", "error-oracle"]


def make(name: str, seed: int, space: ThetaSpace | None = None) -> Curriculum:
    config = CurriculumConfig(staleness=0.3, memory_updates=3, reduction_start=20, reduction_interval=20)
    return make_curriculum(name, space or finite_space(), config, np.random.default_rng(seed), samples_per_update=12)


def drive(curriculum: Curriculum, start: int, updates: int) -> list[list[list[float]]]:
    """A stretch of training with the world's own randomness a function of the step; the θ it was given."""
    given = []
    for step in range(start, start + 10 * updates, 10):
        world = np.random.default_rng(step)
        theta = curriculum.sample(2).points
        given.append(theta.tolist())
        ids = world.integers(-1, 6, size=(3, 4))
        curriculum.observe(ids, world.exponential(size=(3, 4)) * (1 + ids) / (1 + step), step)
        if isinstance(curriculum, Informed) and curriculum.wanted is not None and step % 30 == 0:
            curriculum.measured(world.exponential(size=6), step)
        curriculum.episode_done(theta[0], int(world.integers(6)), {"return": 1.0})
    return given


def through_a_file(state: State, folder: Any) -> State:
    """As a checkpoint would: arrays in one file without pickles, the rest as JSON."""
    arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
    scalars = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
    np.savez(folder / "arrays.npz", **arrays)
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        return {**dict(file), **json.loads(json.dumps(scalars))}


def assert_same(a: State, b: State) -> None:
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_curriculum_continues_identically(name: str, tmp_path: Any) -> None:
    whole = make(name, seed=0)
    drive(whole, 0, 12)
    saved = through_a_file(whole.state_dict(), tmp_path)
    other = make(name, seed=99)
    drive(other, 0, 3)
    other.load_state_dict(saved)
    assert_same(other.state_dict(), whole.state_dict())
    assert drive(whole, 120, 30) == drive(other, 120, 30)
    assert_same(other.state_dict(), whole.state_dict())
    np.testing.assert_array_equal(other.probabilities(), whole.probabilities())


@pytest.mark.parametrize("name", ["dr", "hardest-oracle", "reweighting-oracle"])
def test_a_restored_continuous_curriculum_continues_identically(name: str, tmp_path: Any) -> None:
    whole, other = make(name, 0, box_space()), make(name, 1, box_space())
    whole.sample(5)
    other.load_state_dict(through_a_file(whole.state_dict(), tmp_path))
    np.testing.assert_array_equal(whole.sample(50).ids, other.sample(50).ids)


def test_a_state_is_a_snapshot() -> None:
    curriculum = make("waker-r", 0)
    drive(curriculum, 0, 12)
    state = curriculum.state_dict()
    kept = {k: np.copy(v) for k, v in state.items()}
    drive(curriculum, 120, 12)
    assert_same(state, kept)
    other = make("waker-r", 1)
    other.load_state_dict(state)
    drive(other, 120, 12)
    assert_same(state, kept)  # loading does not share memory either


def other_names() -> ThetaSpace:
    return FiniteThetaSpace([Parameter("size", ""), Parameter("wind", "")], POINTS, WEIGHTS)


def fewer_points() -> ThetaSpace:
    return FiniteThetaSpace(PARAMETERS, POINTS[:5])


def other_points() -> ThetaSpace:
    return FiniteThetaSpace(PARAMETERS, POINTS + np.array([0.0, 0.05]))


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("waker-r", finite_space(), "saved curriculum is 'waker-m', this run uses 'waker-r'"),
        ("waker-m", other_names(), r"has θ \(size,slip\), this run has \(size,wind\)"),
        ("waker-m", fewer_points(), "has 6 θ, this run's space has 5"),
        ("waker-m", other_points(), r"saved θ 0 is \[3.0, 0.0\], this run's is \[3.0, 0.05\]"),
    ],
)
def test_a_state_of_other_settings_is_refused(name: str, space: ThetaSpace, message: str) -> None:
    saved = make("waker-m", 0)
    drive(saved, 0, 3)
    other = make(name, 1, space)
    before = other.state_dict()
    with pytest.raises(UserError, match=message):
        other.load_state_dict(saved.state_dict())
    assert_same(other.state_dict(), before)


def test_a_damaged_state_is_refused() -> None:
    curriculum = make("waker-m", 0)
    state = curriculum.state_dict()
    missing = {k: v for k, v in state.items() if k != "tracker.estimate"}
    with pytest.raises(UserError, match=r"missing keys \['tracker\.estimate'\]"):
        curriculum.load_state_dict(missing)
    with pytest.raises(UserError, match="episodes has shape"):
        curriculum.load_state_dict({**state, "episodes": np.zeros(3, np.int64)})
    other = make_curriculum("waker-m", finite_space(), CurriculumConfig(), np.random.Generator(np.random.Philox(1)))
    with pytest.raises(UserError, match="PCG64 generator, this one has Philox"):
        other.load_state_dict(state)


def test_the_state_is_flat_arrays_and_json() -> None:
    for value in make("waker-r", 0).state_dict().values():
        assert isinstance(value, np.ndarray | str | int | float | bool)
