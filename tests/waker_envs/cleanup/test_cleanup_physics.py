"""Sane physics: rest is rest, energy does not grow by itself, walls hold, and the robots drive as they should."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from waker_envs.cleanup.base import CleanUpEnv
from waker_envs.cleanup.car import CarCleanUp
from waker_envs.cleanup.point import CleanUp

FAMILIES = [CleanUp, CarCleanUp]
EXTREMES = [[0, 0, 0], [1, 1, 0], [4, 0, 0], [4, 4, 0], [4, 2, 2], *([5, g, 5 - g] for g in range(6))]
TOUCH = 0.01
"""How deep, in metres, a soft contact may give way."""


def start(family: type[CleanUpEnv], theta: Any, seed: int = 0, **kwargs: Any) -> CleanUpEnv:
    env = family(obs="proprio", **kwargs)
    env.reset(seed=seed, options={"theta": theta})
    return env


def corners(env: CleanUpEnv, n: int) -> NDArray[np.float64]:
    """x and y of the corners of the first n blocks, (8 n, 2)."""
    model, data = env.arena.model, env.arena.data
    mujoco.mj_kinematics(model, data)
    unit = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(8, 3) * env.robot.block_half
    bodies = [model.body(f"block-{i}").id for i in range(n)]
    return np.concatenate([data.xpos[b] + unit @ data.xmat[b].reshape(3, 3).T for b in bodies])[:, :2]


def energy(env: CleanUpEnv) -> float:
    """Kinetic and potential energy, joules."""
    mujoco.mj_energyPos(env.arena.model, env.arena.data)
    mujoco.mj_energyVel(env.arena.model, env.arena.data)
    return float(env.arena.data.energy.sum())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("theta", EXTREMES)
def test_without_actions_nothing_moves_for_500_control_steps(family: type[CleanUpEnv], theta: list[int]) -> None:
    env = start(family, theta)
    before = env.arena.data.qpos.copy()
    for _ in range(250):
        env.step([0, 0])
        assert np.isfinite(env.arena.data.qpos).all()
        # Things settle into the floor by a fraction of a millimetre.
        np.testing.assert_allclose(env.arena.data.qpos, before, atol=2e-3)
    assert abs(env.arena.data.qvel).max() < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_absent_blocks_rest_to_the_last_bit_whatever_drives_over_them(family: type[CleanUpEnv]) -> None:
    env = start(family, [4, 1, 0])
    env.place(-0.5, 0.0, 0.0)  # the absent blocks are in the middle
    before = env.arena.block_qpos[1:].copy()
    for _ in range(100):
        env.step([1, 0.02 if family is CleanUp else 1])
    np.testing.assert_array_equal(env.arena.block_qpos[1:], before)
    assert (env.arena.block_qvel[1:] == 0).all()
    assert env.arena.data.qpos[0] > 0.3  # it drove through the middle


@pytest.mark.parametrize("family", FAMILIES)
def test_present_blocks_again_after_absent_ones(family: type[CleanUpEnv]) -> None:
    env, fresh = start(family, [4, 0, 0]), start(family, [4, 2, 2], 3)
    env.reset(seed=3, options={"theta": [4, 2, 2]})
    for _ in range(30):
        np.testing.assert_array_equal(env.step([1, 0.5])[0], fresh.step([1, 0.5])[0])
        np.testing.assert_array_equal(env.arena.data.qpos, fresh.arena.data.qpos)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("theta", [[4, 2, 2], [5, 2, 3], [3, 0, 3]])
def test_energy_does_not_grow_without_actuation(family: type[CleanUpEnv], theta: list[int]) -> None:
    env = start(family, theta, action_repeat=1)
    rng, n = np.random.default_rng(0), int(theta[1] + theta[2])
    env.arena.block_qvel[:n, :2] = rng.uniform(-1.5, 1.5, (n, 2))
    env.arena.block_qvel[:n, 5] = rng.uniform(-5, 5, n)
    env.arena.data.qvel[:2] = rng.uniform(-1, 1, 2)
    initial = energy(env)
    scale = initial - min(0.0, initial)
    lowest = initial
    for _ in range(500):
        env.step([0, 0])
        now = energy(env)
        # A soft contact holds energy for an instant and gives it back.
        assert now <= lowest + 0.02 * scale
        lowest = min(lowest, now)
    assert abs(env.arena.block_qvel[:n]).max() < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("arena", range(5))
def test_walls_hold_a_robot_at_full_force_and_the_blocks_before_it(family: type[CleanUpEnv], arena: int) -> None:
    theta = [arena, arena // 2, arena - arena // 2]
    env = start(family, theta)
    half, b, forward = env.arena.half, env.robot.block_half, [1.0, 0.0 if family is CleanUp else 1.0]
    for wall in range(4):
        env.reset(seed=wall, options={"theta": theta})
        out = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][wall])
        along = out[::-1]
        # One block between the robot and the wall; the others in the row along the opposite wall.
        env.place(*(0.0 * out).tolist(), heading=wall * math.pi / 2)
        for i in range(arena):
            aside = (2.05 * b * (i - (arena - 1) / 2)) * along
            env.arena.block_qpos[i, :2] = out * (half - b - 0.05) if i == 0 else aside - out * (half - b)
        mujoco.mj_forward(env.arena.model, env.arena.data)
        for _ in range(500 if wall == arena % 4 else 125):  # a whole episode against one of the four
            env.step(forward)
            robot = env.arena.data.qpos[:2]
            assert (abs(robot) <= half - (0.15 if family is CleanUp else 0.11) + TOUCH).all()
            assert arena == 0 or (abs(corners(env, arena)) <= half + TOUCH).all()
        pressed = float(robot @ out)
        assert pressed > half - (0.3 + 2 * b if arena else 0.3)  # it did get there


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_wild_driving_among_five_blocks_stays_inside_and_upright(family: type[CleanUpEnv], seed: int) -> None:
    env = start(family, [5, 3, 2], seed)
    rng = np.random.default_rng(seed)
    for k in range(500):
        if k % 10 == 0:
            action = rng.choice([-1.0, -0.3, 1.0, 1.0], 2)
        env.step(action)
        q = env.arena.data.qpos
        assert np.isfinite(q).all()
        assert (abs(q[:2]) <= env.arena.half - 0.1).all()
        assert (abs(corners(env, 5)) <= env.arena.half + 2 * TOUCH).all()
        assert (env.arena.block_qpos[:, 2] < 2 * env.robot.block_half).all()
        # The car's lean, and that of the blocks: 1 − cos.
        lean = 2 * (q[4] ** 2 + q[5] ** 2) if family is CarCleanUp else 0.0
        assert lean < 0.01
        assert (2 * (env.arena.block_qpos[:, 4:6] ** 2).sum(1) < 0.3).all()


@pytest.mark.parametrize("rest", [0, 50])
@pytest.mark.parametrize("family", FAMILIES)
def test_driving_into_a_block_moves_it_and_it_stops_when_left(family: type[CleanUpEnv], rest: int) -> None:
    env = start(family, [4, 1, 0])
    env.place(0.0, 0.0, 0.0)
    b = env.robot.block_half
    env.arena.block_qpos[0, :2] = (0.3 + b, 0.0)
    forward = [1.0, 0.0 if family is CleanUp else 1.0]
    for _ in range(rest):  # long enough for the simulator to put to sleep what rests
        env.step([0.0, 0.0])
    for _ in range(25):
        env.step(forward)
    moved = env.arena.block_qpos[0, 0].copy()
    assert moved > 0.3 + b + 0.1
    for _ in range(100):
        env.step([-v for v in forward])
    x, y, z = env.arena.block_qpos[0, :3]
    assert x < moved + 0.3
    assert abs(env.arena.block_qvel[0]).max() < 1e-3
    assert z == pytest.approx(b, abs=1e-3)
    assert abs(y) < 0.1


def test_the_point_robot_reaches_its_published_limits() -> None:
    env = start(CleanUp, [4, 0, 0], action_repeat=1)
    env.place(-1.2, 0.0, 0.0)
    observation, *_ = env.step([1, 0])
    # Ten Euler steps of 0.015 N (0.3 × 0.05) against 0.01 N·s/m on a sphere of density 1.
    mass = 4 / 3 * math.pi * 0.15**3
    speed = 0.0
    for _ in range(10):
        speed = (speed + 0.002 * 0.015 / mass) / (1 + 0.002 * 0.01 / mass)
    assert observation[4] == pytest.approx(speed, rel=1e-4)
    assert observation[5:].tolist() == pytest.approx([0, 0], abs=1e-6)
    for _ in range(50):
        observation, *_ = env.step([0, 1])
    # The servo's 0.3 · (1 − 0.3 ω) balances the damping's 0.0005 ω.
    assert observation[6] == pytest.approx(0.3 / (0.09 + 0.0005), rel=1e-3)


@pytest.mark.parametrize("heading", [0.0, 0.7, -2.5])
def test_equal_wheels_drive_the_car_straight(heading: float) -> None:
    env = start(CarCleanUp, [4, 0, 0])
    ahead = np.array([math.cos(heading), math.sin(heading)])
    for action in ([1, 1], [-1, -1]):
        env.reset(seed=0, options={"theta": [4, 0, 0]})
        env.place(0.0, 0.0, heading)
        for _ in range(18):
            observation, *_ = env.step(action)
        way = action[0] * ahead
        assert observation[:2] @ way > 0.5
        assert abs(observation[0] * way[1] - observation[1] * way[0]) < 0.005
        assert observation[2:4] @ ahead > 0.9999
        assert observation[7] == pytest.approx(observation[8], rel=1e-3)
        assert observation[4:6] @ ahead == pytest.approx(0.05 * observation[7], rel=0.02)  # it rolls


def test_opposite_wheels_turn_the_car_on_the_spot() -> None:
    env = start(CarCleanUp, [4, 0, 0])
    for sign in (1, -1):
        env.reset(seed=0, options={"theta": [4, 0, 0]})
        env.place(0.0, 0.0, 0.0)
        turned = 0.0
        for _ in range(12):
            observation, *_ = env.step([-sign * 0.5, sign * 0.5])
            turned += float(observation[6]) * 0.08
            axle = observation[:2] + 0.04 * observation[2:4]
            assert math.hypot(*(axle - [0.04, 0.0])) < 0.02
        assert sign * turned > 1.0


@pytest.mark.parametrize("value", [1e30, np.nan])
def test_a_simulation_that_diverges_ends_the_episode_and_pays_nothing(value: float) -> None:
    env = CleanUp(obs="proprio+scan")
    first = env.reset(seed=4, options={"theta": (4, 2, 2)})[0]
    env.arena.data.qvel[0] = value
    observation, _, terminated, truncated, info = env.step(np.zeros(2))
    assert (info.get("diverged"), truncated, terminated) == (True, True, False)
    assert (info["task_rewards"] == 0).all()
    assert np.array_equal(observation, first)
    assert np.array_equal(env.reset(seed=4, options={"theta": (4, 2, 2)})[0], first)
