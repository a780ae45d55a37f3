"""The compiled models and what is read from them: sizes, the suite's own observations, scans, windows of ground."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import pytest
from dm_control import suite

from waker_envs.terrain.base import PIXELS, TerrainEnv
from waker_envs.terrain.hopper import TerrainHopper
from waker_envs.terrain.walker import TerrainWalker

FAMILIES = (TerrainWalker, TerrainHopper)
DOMAINS = {TerrainWalker: ("walker", "stand"), TerrainHopper: ("hopper", "stand")}


def moved(env: TerrainEnv, x: float) -> None:
    env._data.qpos[env._rootx] = x
    mujoco.mj_forward(env._model, env._data)


@pytest.mark.parametrize(
    ("family", "timestep", "control", "peak", "lengths"),
    [(TerrainWalker, 0.0025, 0.025, 0.9, (37, 0.2, 2.0)), (TerrainHopper, 0.005, 0.02, 0.6, (28, 0.15, 1.5))],
)
def test_sizes_are_those_of_the_paper(family: Any, timestep: float, control: float, peak: float, lengths: Any) -> None:
    env = family(obs="proprio", action_repeat=1)
    model = env._model
    field = model.hfield("ground")
    assert model.opt.timestep == timestep
    assert timestep * env.SUBSTEPS == pytest.approx(control)
    assert field.data.shape == (5, 2000)
    assert (2 * field.size[0], field.size[2]) == pytest.approx((100.0, peak))
    assert model.geom("ground").pos[2] == -0.5
    assert family(obs="proprio", authors=True)._model.hfield("ground").size[0] == 100.0
    space = env.theta_space
    number, shortest, longest = lengths
    assert space.size == 21 * number
    assert (space.points.min(0).tolist(), space.points.max(0).tolist()) == ([0, shortest], [1, longest])
    assert [space.index(theta) for theta in space.points] == list(range(space.size))
    assert space.contains((0.35, 0.75))
    env.reset(seed=0)
    start = env._data.time
    env.step(np.zeros(env.action_space.shape))
    assert env._data.time - start == pytest.approx(control)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_field_spans_the_heights_that_are_drawn(family: type[TerrainEnv]) -> None:
    env = family(obs="proprio")
    env.reset(seed=2, options={"theta": (1.0, 0.3)})
    field = env._model.hfield("ground").data
    np.testing.assert_array_equal(field, np.tile(env._ground.profile.astype(np.float32), (5, 1)))
    # MuJoCo's own rays find the ground where it is said to be.
    for x in np.random.default_rng(0).uniform(-60, 60, 50):
        geom = np.zeros(1, np.int32)
        groups = np.zeros(6, np.uint8)
        groups[4] = 1  # collision geoms of the fast look
        down = mujoco.mj_ray(env._model, env._data, [x, 0.1, 5.0], [0, 0, -1.0], groups, 1, -1, geom)
        assert 5.0 - down == pytest.approx(float(env._ground.height(x)), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_proprio_is_the_suite_s_observation_of_the_same_state(family: type[TerrainEnv]) -> None:
    env = family(obs="proprio", action_repeat=1)
    theirs = suite.load(*DOMAINS[family])
    rng = np.random.default_rng(0)
    env.reset(seed=0, options={"theta": (0.0, 1.0)})
    for _ in range(50):
        qpos, qvel = rng.uniform(-1, 1, env._model.nq), rng.normal(0, 3, env._model.nv)
        env._data.qpos[:], env._data.qvel[:] = qpos, qvel
        env._data.qpos[env._rootz] += 2.0
        mujoco.mj_forward(env._model, env._data)
        with theirs.physics.reset_context():
            theirs.physics.data.qpos[:], theirs.physics.data.qvel[:] = env._data.qpos, qvel
        observed = theirs.task.get_observation(theirs.physics)
        if family is TerrainWalker:
            height = theirs.physics.named.data.xpos["torso", "z"] - theirs.physics.named.data.xpos["right_foot", "z"]
            expected = [*observed["orientations"], height, *observed["velocity"]]
        else:
            expected = [*observed["position"], *observed["velocity"], *observed["touch"]]
        np.testing.assert_allclose(env._observation(), expected, atol=1e-5)


def test_touch_is_the_logarithm_of_the_force_that_carries_the_hopper() -> None:
    env = TerrainHopper(obs="proprio")
    heard = []
    for seed in range(12):
        env.reset(seed=seed, options={"theta": (0.0, 1.0)})
        for _ in range(60):
            observation = env.step(np.zeros(4))[0]
            assert observation[13:].tolist() == pytest.approx([math.log1p(f) for f in env._data.sensordata[3:5]])
            heard.append(observation[13:].max())
    assert max(heard) > math.log1p(20.0)
    assert min(heard) == 0.0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("x", [0.0, 12.34, -49.2, 60.0])
def test_the_scan_is_the_ground_seen_from_the_torso(family: type[TerrainEnv], x: float) -> None:
    env, plain = family(obs="proprio+scan"), family(obs="proprio")
    for made in (env, plain):
        made.reset(seed=4, options={"theta": (1.0, 0.4)})
        moved(made, x)
    observation = env._observation()
    np.testing.assert_array_equal(observation[: env.PROPRIO], plain._observation())
    torso = env._data.xpos[env._torso]
    at = torso[0] + np.linspace(-1.5, 1.5, 31) * (2000 / 1999)  # two cells apart
    np.testing.assert_allclose(observation[env.PROPRIO :], env._ground.height(at) - torso[2], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_switched_off_for_speed_changes_no_bit_of_the_motion(family: type[TerrainEnv]) -> None:
    fast, full = family(obs="proprio"), family(obs="proprio")
    off = mujoco.mjtDisableBit.mjDSBL_MIDPHASE | mujoco.mjtDisableBit.mjDSBL_ISLAND
    assert fast._model.opt.disableflags & off == off
    full._model.opt.disableflags &= ~int(off)
    for env in (fast, full):
        env.reset(seed=6, options={"theta": (1.0, 0.3)})
    fast.action_space.seed(0)
    for _ in range(150):
        action = fast.action_space.sample()
        np.testing.assert_array_equal(fast.step(action)[0], full.step(action)[0])
    assert fast._data.ncon + full._data.ncon > 0


def test_the_ground_is_sent_to_the_renderer_only_when_another_stretch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    env = TerrainWalker()
    env.reset(seed=0, options={"theta": (1.0, 0.5)})
    camera, sent = env._cameras[PIXELS][0], []
    send = camera.upload_height_field
    monkeypatch.setattr(camera, "upload_height_field", lambda name: (sent.append(name), send(name)))
    for x, uploads in ((0.0, 0), (0.01, 0), (5.0, 1), (5.01, 1), (0.0, 2)):
        moved(env, x)
        env._picture(PIXELS)
        assert sent == ["view"] * uploads
    env.reset(seed=0, options={"theta": (0.2, 0.5)})
    assert len(sent) == 3
    env.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pattern_on_the_ground_stands_still_under_a_moving_window(family: type[TerrainEnv]) -> None:
    # Level ground repeats itself every tile, so the picture must, too, while the window jumps along in whole tiles.
    env = family()
    env.reset(seed=0, options={"theta": (0.0, 1.0)})

    def seen(tiles: float) -> Any:
        moved(env, 0.3 + tiles * env._ground.spacing * 20)
        return env._picture(PIXELS).astype(int)

    here = seen(0)
    for tiles in (1, 2, 7, -4):
        assert (abs(seen(tiles) - here).max(-1) > 20).mean() < 0.02
    assert (abs(seen(0.5) - here).max(-1) > 20).mean() > 0.1
    env.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_divergence_is_noticed_in_the_very_first_substep_and_in_later_ones(family: type[TerrainEnv]) -> None:
    # MuJoCo starts the simulation anew by itself, at time 0, and goes on: without its clock nothing would tell.
    env = family(obs="proprio")
    for steps in (0, 1, 30):
        first = env.reset(seed=1)[0]
        for _ in range(steps):
            first = env.step(np.zeros(env.action_space.shape))[0]
        env._data.qfrc_applied[0] = np.nan
        observation, _, _, truncated, info = env.step(np.zeros(env.action_space.shape))
        assert (truncated, info.get("diverged")) == (True, True)
        np.testing.assert_array_equal(observation, first)
    fresh = family(obs="proprio")
    np.testing.assert_array_equal(env.reset(seed=2)[0], fresh.reset(seed=2)[0])
    for _ in range(20):
        action = fresh.action_space.sample()
        np.testing.assert_array_equal(env.step(action)[0], fresh.step(action)[0])
