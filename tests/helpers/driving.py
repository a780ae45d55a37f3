"""A scripted driver that pushes one block along x, by the numbers of ``obs="proprio+scan"``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.cleanup.base import CleanUpEnv

TURN_GAIN, SPEED_GAIN, TOP_SPEED = 1.5, 4.0, 0.5


def drive_to(observation: NDArray[np.float32], x: float, y: float) -> NDArray[np.float32]:
    """The point robot's action towards (x, y): turn first, then go, slower near by."""
    at_x, at_y, cos, sin, vx, vy = (float(v) for v in observation[:6])
    off = math.atan2(y - at_y, x - at_x) - math.atan2(sin, cos)
    off = (off + math.pi) % (2 * math.pi) - math.pi
    wanted = min(TOP_SPEED, math.hypot(x - at_x, y - at_y)) * max(0.0, math.cos(off)) ** 4
    action = (SPEED_GAIN * (wanted - (vx * cos + vy * sin)), TURN_GAIN * off)
    return np.clip(np.array(action, np.float32), -1, 1)


def waypoint(env: CleanUpEnv, observation: NDArray[np.float32], goal: float) -> tuple[float, float]:
    """Where to drive now: around the first block to the side away from ``goal`` (an x), then through it."""
    n, half = len(env.proprio_names), env.robot.block_half
    x, y = (float(v) for v in observation[:2])
    block_x, block_y = (float(v) for v in observation[n + 3 : n + 5])
    way = 1 if goal > block_x else -1
    behind, aside = block_x - way * (half + 0.35), half + 0.4
    if way * (block_x - x) > half + 0.1:
        return (block_x, block_y) if abs(block_y - y) < 0.12 else (behind, block_y)
    side = 1 if y > block_y else -1
    return (x if abs(block_y - y) < half + 0.2 else behind), block_y + side * aside


def push_first_block(env: CleanUpEnv, observation: Any, goal: float) -> dict[str, Any]:
    """Push the first block to x = ``goal``, until within 0.1 m or the episode's end; the last step's info."""
    n, info, truncated = len(env.proprio_names), {}, False
    while not truncated and abs(float(observation[n + 3]) - goal) > 0.1:
        observation, _, _, truncated, info = env.step(drive_to(observation, *waypoint(env, observation, goal)))
    return info
