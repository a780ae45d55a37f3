"""A stock learner on our environments: Stable-Baselines3's PPO, nothing adapted on either side."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import waker_envs  # noqa: F401 — registers the environments

stable_baselines3: Any = pytest.importorskip("stable_baselines3")

STEPS = 1_024
"""Two whole episodes."""


@pytest.mark.parametrize(("env_id", "task"), [("waker/TerrainWalker-v0", "stand"), ("waker/CleanUp-v0", "push")])
def test_stock_ppo_trains_on_pictures(env_id: str, task: str) -> None:
    env = gym.make(env_id, task=task)
    model = stable_baselines3.PPO("CnnPolicy", env, n_steps=STEPS, n_epochs=1, seed=0, device="cpu")
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(STEPS)
    assert model.num_timesteps >= STEPS
    assert model.ep_info_buffer
    assert all(np.isfinite(episode["r"]) and episode["l"] == 500 for episode in model.ep_info_buffer)
    assert any(not value.equal(before[name]) for name, value in model.policy.state_dict().items())
    observation, _ = env.reset(seed=0)
    action, _ = model.predict(observation, deterministic=True)
    assert env.action_space.contains(action)
    env.close()
