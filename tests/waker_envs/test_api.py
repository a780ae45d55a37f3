"""ParametricEnv: θ in, every task's reward out, and clear refusals."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from waker_envs import ParametricEnv, ThetaError, UnknownTaskError
from waker_envs.api import Transition
from waker_envs.testing import HardTheta


def test_theta_comes_from_options_and_back_in_info() -> None:
    env = HardTheta()
    _, info = env.reset(seed=0, options={"theta": [3]})
    assert info["theta"].tolist() == [3.0]
    assert info["theta"].dtype == np.float64
    assert info["task_rewards"].tolist() == [0, 0]
    *_, info = env.step(np.zeros(1))
    assert info["theta"].tolist() == [3.0]


def test_without_theta_one_is_drawn_that_the_seed_fixes() -> None:
    drawn = [HardTheta().reset(seed=seed)[1]["theta"].item() for seed in range(40)]
    assert set(drawn) == {0, 1, 2, 3, 4}
    assert drawn == [HardTheta().reset(seed=seed)[1]["theta"].item() for seed in range(40)]


def test_reward_is_zero_without_a_task_and_the_task_s_with_one() -> None:
    free, left = HardTheta(), HardTheta(task="left")
    for env in (free, left):
        env.reset(seed=0, options={"theta": [2]})
    _, reward, *_, info = free.step(np.ones(1))
    assert reward == 0.0
    _, chosen, *_, same = left.step(np.ones(1))
    np.testing.assert_array_equal(info["task_rewards"], same["task_rewards"])
    assert info["task_rewards"].dtype == np.float32
    assert chosen == pytest.approx(float(info["task_rewards"][1]))
    assert chosen != 0


def test_what_is_handed_out_can_be_changed_without_harm() -> None:
    env = HardTheta()
    _, info = env.reset(seed=0, options={"theta": [2]})
    info["theta"][:] = 99
    *_, info = env.step(np.zeros(1))
    assert info["theta"].tolist() == [2]


def test_an_author_s_info_does_not_take_the_place_of_ours() -> None:
    class Taken(HardTheta):
        def advance(self, action: object) -> Transition:
            step = super().advance(action)
            step.info = {"theta": "mine", "task_rewards": [9.0], "more": 1}
            return step

    env = Taken()
    env.reset(seed=0, options={"theta": [2]})
    *_, info = env.step(np.zeros(1))
    assert info["theta"].tolist() == [2.0]
    assert info["task_rewards"].shape == (2,)
    assert info["task_rewards"].dtype == np.float32
    assert info["more"] == 1


def test_theta_outside_is_refused_with_the_nearest_in_one_line() -> None:
    with pytest.raises(ThetaError) as caught:
        HardTheta().reset(options={"theta": [4.4]})
    assert str(caught.value) == "θ = (complexity=4.4) is outside the space; the nearest is (complexity=4)"


@pytest.mark.parametrize("theta", [[1, 2], 1.0, [], [np.nan]])
def test_malformed_theta_is_refused(theta: object) -> None:
    with pytest.raises(ThetaError):
        HardTheta().reset(options={"theta": theta})


def test_theta_of_a_suite_is_allowed_but_never_drawn() -> None:
    env = HardTheta()
    assert env.reset(seed=0, options={"theta": [5]})[1]["theta"].tolist() == [5]
    assert env.theta_space.sample(np.random.default_rng(0), 500).max() == 4


def test_unknown_task_and_render_mode_are_refused() -> None:
    with pytest.raises(UnknownTaskError, match="'up'; this family has right, left"):
        HardTheta(task="up")
    with pytest.raises(ValueError, match="render_mode"):
        HardTheta(render_mode="human")


def test_stepping_needs_an_episode_under_way() -> None:
    env = HardTheta()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1))
    env.reset(seed=0)
    for _ in range(HardTheta.LENGTH):
        env.step(np.zeros(1))
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1))


class Blind(HardTheta):
    """A family that never wrote ``picture``."""

    picture = ParametricEnv.picture


class OwnRender(HardTheta):
    """A family that renders in its own way."""

    picture = ParametricEnv.picture

    def render(self) -> str:  # type: ignore[override]
        return "mine"


def test_render_is_the_picture_of_an_episode() -> None:
    env = HardTheta(render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\) before render\(\)"):
        env.render()
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), env.picture())
    for _ in range(HardTheta.LENGTH):
        env.step(np.ones(1))
    assert env.render() is not None  # the last state can be looked at


def test_render_is_none_without_a_render_mode_even_before_reset() -> None:
    assert HardTheta().render() is None


def test_a_family_without_pictures_says_so() -> None:
    env = Blind(render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(NotImplementedError, match="Blind has no pictures"):
        env.render()


def test_a_family_that_overrides_render_keeps_its_own() -> None:
    assert OwnRender().render() == "mine"
