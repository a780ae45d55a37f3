"""Episodes on terrain: fixed by (seed, θ), started clear of the ground, physically sane, refused where they must be."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import mujoco
import numpy as np
import pytest

from waker_envs.api import ThetaError
from waker_envs.terrain.base import TerrainEnv
from waker_envs.terrain.hopper import TerrainHopper
from waker_envs.terrain.walker import TerrainWalker

FAMILIES = (TerrainWalker, TerrainHopper)
CASES = [
    (family, theta, kwargs)
    for family in FAMILIES
    for theta, kwargs in [
        *(((a, length), {}) for a in (0.0, 1.0) for length in (0.2, family.theta_space.points[:, 1].max())),
        *((tuple(t), dict(s.env_kwargs)) for s in family.theta_space.suites.values() for t in s.thetas[:1]),
    ]
]
"""The corners of each θ space, and every suite."""
EVERYWHERE = pytest.mark.parametrize(
    ("family", "theta", "kwargs"), CASES, ids=[f"{f.__name__}-{t}-{''.join(k.values())}" for f, t, k in CASES]
)


def made(family: type[TerrainEnv], **kwargs: Any) -> TerrainEnv:
    return family(obs="proprio", **kwargs)


def ground_contacts(env: TerrainEnv) -> list[float]:
    """Distances of the robot's contacts with ground and plains, m; negative where it is inside."""
    floors = {env._model.geom(name).id for name in ("ground", "left_plain", "right_plain")}
    contacts = env._data.contact[: env._data.ncon]
    return [float(c.dist) for c in contacts if floors & {int(c.geom1), int(c.geom2)}]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_robot_starts_close_above_the_ground_and_nowhere_in_it(family: type[TerrainEnv]) -> None:
    env = made(family)
    for seed, theta in enumerate([*family.theta_space.points[::15], *family.theta_space.suites["steep"].thetas]):
        env.reset(seed=seed, options={"theta": theta})
        assert env.clearance() == pytest.approx(0.015, abs=1e-9)
        assert env._data.ncon == 0  # nor does it touch itself


FASTEST = 25.0
"""m/s and rad/s. A limp robot falls 1.5 m at most, which gives 5.4 m/s; its light shins swing faster than it falls."""
DEEPEST = 0.025
"""m. The suite's contacts are soft: they need this much to stop a robot that falls on one foot."""
STILL = 0.05
"""m/s and rad/s. What remains is the slow creep of soft contacts on a slope."""
SUNK = 0.001
"""m, in a contact: the weight of a robot at rest, 28.5 or 12.4 kg, presses it in by 0.0003 at most."""


@EVERYWHERE
def test_it_comes_to_rest_on_any_ground(family: type[TerrainEnv], theta: Any, kwargs: dict[str, Any]) -> None:
    env = made(family, **kwargs)
    env.reset(seed=1, options={"theta": theta})
    still = np.zeros(env.action_space.shape)
    for _ in range(250):  # 500 control steps: 12.5 s of the walker, 10 s of the hopper
        observation = env.step(still)[0]
        assert np.isfinite(observation).all()
        assert np.abs(env._data.qvel).max() < FASTEST
        assert min(ground_contacts(env), default=0.0) > -DEEPEST
    assert np.abs(env._data.qvel).max() < STILL
    assert -SUNK < min(ground_contacts(env)) < SUNK  # and it does lie on the ground
    assert env.clearance() > -2 * SUNK  # a corner of the ground may reach deeper into a capsule than its contact says


@EVERYWHERE
def test_energy_does_not_grow_without_actuation(family: type[TerrainEnv], theta: Any, kwargs: dict[str, Any]) -> None:
    env = made(family, action_repeat=1, **kwargs)
    env._model.opt.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    env.reset(seed=2, options={"theta": theta})
    still, energies = np.zeros(env.action_space.shape), []
    for _ in range(300):
        env.step(still)
        energies.append(float(env._data.energy.sum()))
    # A joint pressed against its limit and a foot in soft ground store a little and give it back.
    weight = float(env._model.body_mass.sum()) * 9.81
    assert (energies - np.minimum.accumulate(energies)).max() < 0.03 * weight


@pytest.mark.parametrize("family", FAMILIES)
def test_random_actions_keep_everything_finite(family: type[TerrainEnv]) -> None:
    env = made(family)
    env.reset(seed=3, options={"theta": family.theta_space.hardest})
    rng = np.random.default_rng(0)
    for _ in range(500):
        observation, _, terminated, truncated, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        assert np.isfinite(observation).all()
        assert ((info["task_rewards"] >= 0) & (info["task_rewards"] <= 2)).all()
        assert not terminated
        assert "diverged" not in info
    assert truncated


@pytest.mark.parametrize("family", FAMILIES)
def test_who_runs_past_the_end_of_the_hills_stands_on_the_plain(family: type[TerrainEnv]) -> None:
    for side in (-1, 1):
        env = made(family)
        env.reset(seed=0, options={"theta": (1.0, 0.5)})
        env._data.qpos[env._rootx] = side * 80.0
        mujoco.mj_forward(env._model, env._data)
        for _ in range(150):
            env.step(np.zeros(env.action_space.shape))
        assert env._data.xpos[env._torso, 2] > 0.5 * env.PEAK - 0.5
        assert ground_contacts(env)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_seed_draws_ground_and_start_and_the_published_ground_has_no_seed(family: type[TerrainEnv]) -> None:
    def profile(seed: int, **kwargs: Any) -> Any:
        env = made(family, **kwargs)
        env.reset(seed=seed, options={"theta": (0.5, 1.0)})
        return env._ground.profile

    assert np.array_equal(profile(0), profile(0))
    assert not np.array_equal(profile(0), profile(1))
    assert np.array_equal(profile(0, authors=True), profile(1, authors=True))


PROGRAM = """
import hashlib, sys, numpy as np, waker_envs
kinds = sys.argv[1:]
HILLS, BLOCKS = (0.7, 0.4), (4, 2, 2)
cases = [
    (name, theta, {"obs": obs, **kwargs})
    for obs in kinds
    for name, theta, kwargs in [
        *((name, HILLS, kwargs) for name in ("TerrainWalker", "TerrainHopper") for kwargs in ({}, {"authors": True})),
        *((name, (1.0, 1.0), {"ground": "stairs"}) for name in ("TerrainWalker", "TerrainHopper")),
        ("Combined", (0, *HILLS, 0, 0, 0), {}),
        ("Combined", (1, 0, 0, *BLOCKS), {}),
    ]
]
for name, theta, kwargs in cases:
    env = waker_envs.make(name, **kwargs)
    digest = hashlib.sha256(env.reset(seed=5, options={"theta": theta})[0].tobytes())
    actions = np.random.default_rng(1).uniform(-1, 1, (20, *env.action_space.shape))
    for action in actions:
        observation, _, _, _, info = env.step(action)
        digest.update(observation.tobytes() + info["task_rewards"].tobytes())
    env.close()
    print(name, *kwargs.values(), digest.hexdigest())
"""
VECTORS = ("proprio", "proprio+scan")


def run(program: str, *arguments: str, **environment: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return done.stdout.splitlines()


def test_an_episode_is_the_same_in_every_process_whatever_was_played_before() -> None:
    once = run(PROGRAM, "pixels", *VECTORS, PYTHONHASHSEED="1")
    again = run(PROGRAM, *VECTORS, "pixels", PYTHONHASHSEED="7")
    assert sorted(once) == sorted(again)
    assert len({line.split()[-1] for line in once}) == 3 * 8


def test_without_pictures_no_renderer_is_touched() -> None:
    forbid = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "OpenGL":
            raise AssertionError("OpenGL was imported")
sys.meta_path.insert(0, Forbidden())
"""
    assert run(forbid + PROGRAM, *VECTORS)


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_input_is_refused_in_one_line(family: type[TerrainEnv]) -> None:
    env = made(family)
    with pytest.raises(ThetaError, match="outside the space; the nearest is"):
        env.reset(options={"theta": (1.2, 0.5)})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"must have shape \(\d,\), got \(2,\)"):
        env.step(np.zeros(2))
    with pytest.raises(ValueError, match="not finite"):
        env.step(np.full(env.action_space.shape, np.nan))
    for wrong in ({"obs": "text"}, {"look": "ugly"}, {"ground": "sand"}, {"length": 0}, {"action_repeat": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            family(**wrong)  # type: ignore[arg-type]


def test_a_simulation_that_diverges_ends_the_episode_and_spoils_none_after_it() -> None:
    env = made(TerrainWalker)
    first = env.reset(seed=4)[0]
    env._data.qvel[:] = 1e30
    observation, _, terminated, truncated, info = env.step(np.zeros(6))
    assert np.isfinite(observation).all()
    assert (info["diverged"], truncated, terminated) == (True, True, False)
    assert (info["task_rewards"] == 0).all()
    assert np.array_equal(env.reset(seed=4)[0], first)


def test_environments_do_not_share_their_ground() -> None:
    """Models are copies of one that is compiled once."""
    one, other = made(TerrainWalker), made(TerrainWalker)
    one.reset(seed=0, options={"theta": (1.0, 0.5)})
    before = one._model.hfield_data.copy()
    other.reset(seed=1, options={"theta": (0.0, 0.5)})
    assert np.array_equal(one._model.hfield_data, before)
    assert not np.array_equal(other._model.hfield_data, before)
