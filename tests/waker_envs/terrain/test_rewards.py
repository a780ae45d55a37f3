"""Task rewards at the reference states of the authors' environments, and the scalar tolerance they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from dm_control.utils import rewards as suite
from hypothesis import given
from hypothesis import strategies as st

from waker_envs.terrain.base import TerrainEnv
from waker_envs.terrain.hopper import TerrainHopper
from waker_envs.terrain.tolerance import tolerance
from waker_envs.terrain.walker import TerrainWalker

REFERENCE = Path(__file__).parents[2] / "reference" / "terrain_rewards.npz"


def put(env: TerrainEnv, qpos: Any, qvel: Any, ctrl: Any) -> tuple[float, ...]:
    """The rewards in a given state."""
    env._data.qpos[:], env._data.qvel[:], env._data.ctrl[:] = qpos, qvel, ctrl
    mujoco.mj_forward(env._model, env._data)
    return env._rewards()


@pytest.mark.parametrize("family", [TerrainWalker, TerrainHopper])
def test_all_tasks_agree_with_the_authors_at_all_reference_states(family: type[TerrainEnv]) -> None:
    data = np.load(REFERENCE)
    name = family.__name__.lower()
    qpos, qvel, ctrl, expected = (data[f"{name}/{key}"] for key in ("qpos", "qvel", "ctrl", "task_rewards"))
    assert expected.shape == (300, len(family.tasks))
    env = family(obs="proprio")
    env.reset(seed=0, options={"theta": [0, 1]})
    found = np.array([put(env, *state) for state in zip(qpos, qvel, ctrl, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    # Every task is worth something somewhere and nothing elsewhere: a constant would not pass for a reward.
    assert (np.ptp(expected, 0) > 0.05).all()


@pytest.mark.parametrize("family", [TerrainWalker, TerrainHopper])
def test_the_reward_of_a_step_is_that_of_the_state_it_leads_to(family: type[TerrainEnv]) -> None:
    env = family(obs="proprio", action_repeat=1)
    env.reset(seed=3, options={"theta": [0.5, 0.5]})
    env.action_space.seed(0)
    for _ in range(40):
        *_, info = env.step(env.action_space.sample())
        # A second look at the state from scratch; stepping leaves derived quantities behind, rewards must not.
        fresh = put(env, env._data.qpos.copy(), env._data.qvel.copy(), env._data.ctrl.copy())
        np.testing.assert_allclose(info["task_rewards"], fresh, atol=1e-6)


@pytest.mark.parametrize("family", [TerrainWalker, TerrainHopper])
def test_a_step_is_the_sum_of_its_repeats(family: type[TerrainEnv]) -> None:
    single, triple = (family(obs="proprio", action_repeat=n, length=91) for n in (1, 3))
    for env in (single, triple):
        env.reset(seed=1, options={"theta": [0.8, 0.3]})
    triple.action_space.seed(0)
    for _ in range(31):
        action = triple.action_space.sample()
        repeats = min(3, 91 - single._t)
        singles = [single.advance(action) for _ in range(repeats)]
        three = triple.advance(action)
        np.testing.assert_array_equal(singles[-1].observation, three.observation)
        np.testing.assert_allclose(three.task_rewards, np.sum([s.task_rewards for s in singles], 0), atol=1e-12)
        assert singles[-1].truncated == three.truncated
    assert three.truncated  # 91 = 30 · 3 + 1: the last step has one repeat


@given(
    x=st.floats(-20, 20),
    lower=st.floats(-5, 5),
    width=st.one_of(st.floats(0, 5), st.just(float("inf"))),
    margin=st.one_of(st.just(0.0), st.floats(0.01, 10)),
    shape=st.sampled_from(
        [("gaussian", 0.1), ("gaussian", 0.7), ("linear", 0.5), ("linear", 0.0), ("quadratic", 0.0), ("quadratic", 0.3)]
    ),
)
def test_tolerance_is_the_suite_s(x: float, lower: float, width: float, margin: float, shape: Any) -> None:
    sigmoid, at_margin = shape
    expected = suite.tolerance(x, (lower, lower + width), margin, sigmoid, at_margin)
    assert tolerance(x, lower, lower + width, margin, sigmoid, at_margin) == pytest.approx(float(expected), abs=1e-12)


def test_tolerance_refuses_a_sigmoid_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="unknown sigmoid 'cosine'"):
        tolerance(3.0, 0.0, 1.0, 1.0, "cosine")  # type: ignore[arg-type]
