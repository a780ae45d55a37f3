"""The test environments have the properties that tests of learners rely on."""

from __future__ import annotations

import numpy as np
import pytest

from waker_envs.testing import FailingEnv, HardTheta, NoisyTheta, PictureEnv


def linear_error(env: HardTheta, theta: float) -> float:
    """Root mean square one-step error of the best linear model of x' from (x, a), over 60 episodes."""
    rng = np.random.default_rng(0)
    inputs, targets = [], []
    for seed in range(60):
        x = env.reset(seed=seed, options={"theta": [theta]})[0][0]
        for _ in range(HardTheta.LENGTH):
            action = rng.uniform(-1, 1, 1)
            following = env.step(action)[0][0]
            inputs.append([x, action[0], 1.0])
            targets.append(following)
            x = following
    fit = np.linalg.lstsq(np.array(inputs), np.array(targets), rcond=None)[0]
    return float(np.sqrt(np.mean((np.array(inputs) @ fit - targets) ** 2)))


def test_the_last_theta_is_the_hardest_to_model() -> None:
    errors = [linear_error(HardTheta(), c) for c in range(5)]
    assert errors[0] < 1e-3
    assert errors[4] > 0.05
    assert errors == sorted(errors)


def test_noise_is_large_at_one_theta_alone() -> None:
    errors = [linear_error(NoisyTheta(), c) for c in range(3)]
    assert errors[0] < 1e-3
    assert 0.01 < errors[1] < 0.03
    assert errors[2] > 0.25


def test_the_hard_line_has_no_noise() -> None:
    env = HardTheta()
    ends = []
    for _ in range(2):
        env.reset(seed=3, options={"theta": [4]})
        ends.append([env.step(np.array([0.3]))[0][0] for _ in range(HardTheta.LENGTH)])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("failure", ["raise", "nan", "nan-reward", "shape"])
def test_the_failing_one_fails_at_its_step_and_not_before(failure: str) -> None:
    env = FailingEnv(failure=failure, at_step=25)  # type: ignore[arg-type]
    env.reset(seed=0)
    for step in range(1, 25):
        observation, *_, truncated, info = env.step(np.zeros(1))
        assert env.observation_space.contains(observation)
        assert np.isfinite(info["task_rewards"]).all()
        if truncated:
            assert step == HardTheta.LENGTH
            env.reset(seed=1)
    if failure == "raise":
        with pytest.raises(RuntimeError, match="told to fail at step 25"):
            env.step(np.zeros(1))
        return
    observation, *_, info = env.step(np.zeros(1))
    healthy = env.observation_space.contains(observation) and np.isfinite(info["task_rewards"]).all()
    assert not healthy


def test_an_unknown_failure_is_refused() -> None:
    with pytest.raises(ValueError, match="failure must be"):
        FailingEnv(failure="sulk")  # type: ignore[arg-type]


def test_the_square_moves_by_theta_pixels() -> None:
    env = PictureEnv()
    for speed in (4, 8, 16):
        before, _ = env.reset(seed=5, options={"theta": [speed]})
        after, *_ = env.step(0)
        left = [int(np.flatnonzero(picture[32, :, 0] == 255)[0]) for picture in (before, after)]
        assert left[1] == max(left[0] - speed, 0)
