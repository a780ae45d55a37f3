"""The fast 64 × 64 picture shows the profile of the ground, wherever the robot is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waker_envs.terrain.base import PIXELS, TerrainEnv
from waker_envs.terrain.hopper import TerrainHopper
from waker_envs.terrain.walker import TerrainWalker


def ground_rows(picture: Any) -> Any:
    """For each column the first row from the top with the ground's colour, a blue; PIXELS where there is none."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    ground = (blue > red + 8) & (blue > 25)
    return np.where(ground.any(0), ground.argmax(0), PIXELS)


def projected_rows(env: TerrainEnv, columns: Any, y: float) -> Any:
    """Rows at which the ground's edge at depth ``y`` appears in each column, by the camera's pose alone."""
    model, data = env._model, env._data
    position = data.cam_xpos[env._camera_id]
    axes = data.cam_xmat[env._camera_id].reshape(3, 3)  # columns: right, up, backwards
    scale = PIXELS / 2 / np.tan(np.radians(model.cam_fovy[env._camera_id]) / 2)
    x = position[0] + np.linspace(-4, 4, 4001)
    points = np.stack([x, np.full_like(x, y), env._ground.height(x)], 1) - position
    right, up, ahead = points @ axes[:, 0], points @ axes[:, 1], -(points @ axes[:, 2])
    seen = ahead > 0.1
    column = PIXELS / 2 + scale * right[seen] / ahead[seen]
    row = PIXELS / 2 - scale * up[seen] / ahead[seen]
    return np.array([row[np.abs(column - (c + 0.5)) < 0.5].min() for c in columns])


@pytest.mark.parametrize("family", [TerrainWalker, TerrainHopper])
@pytest.mark.parametrize("theta", [(0.0, 1.0), (0.5, 1.0), (1.0, 0.5), (1.0, 1.5)])
@pytest.mark.parametrize("x", [0.0, 7.3, -31.9])
def test_the_silhouette_is_the_profile(family: type[TerrainEnv], theta: tuple[float, float], x: float) -> None:
    import mujoco

    env = family(obs="pixels")
    env.reset(seed=11, options={"theta": theta})
    env._data.qpos[env._rootx] = x
    env._data.qpos[env._rootz] += 3.0  # out of the way of the skyline
    mujoco.mj_forward(env._model, env._data)
    # The camera follows the robot up; put it back to see the ground.
    env._data.cam_xpos[env._camera_id, 2] -= 3.0
    found = ground_rows(env._picture(PIXELS))
    columns = np.arange(4, 60)
    # The skyline is the highest of the ground's two edges, in front and behind, and what lies between them.
    edges = [projected_rows(env, columns, y) for y in np.linspace(-0.6, 1.0, 9)]
    np.testing.assert_allclose(found[columns], np.min(edges, 0), atol=2.5)
    env.close()


@pytest.mark.parametrize("family", [TerrainWalker, TerrainHopper])
def test_two_grounds_look_different_and_one_looks_the_same_twice(family: type[TerrainEnv]) -> None:
    env = family()
    flat = env.reset(seed=0, options={"theta": (0.0, 1.0)})[0]
    hills = env.reset(seed=0, options={"theta": (1.0, 0.5)})[0]
    assert (np.abs(flat.astype(int) - hills).max(-1) > 30).mean() > 0.05
    assert np.array_equal(env.reset(seed=0, options={"theta": (1.0, 0.5)})[0], hills)
    other = family()
    assert np.array_equal(other.reset(seed=0, options={"theta": (1.0, 0.5)})[0], hills)
