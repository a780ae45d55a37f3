"""What CleanUp and CarCleanUp share: episodes, rewards, observations and pictures. A subclass brings its robot."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waker_envs.api import ParametricEnv, Theta, Transition
from waker_envs.checked import check_choice, checked_count
from waker_envs.cleanup.arena import (
    INSIDE,
    MAX_BLOCKS,
    PER_METRE,
    TASKS,
    cleanup_theta_space,
    goal_x,
    half_size,
    standing,
)
from waker_envs.cleanup.layout import draw_layout
from waker_envs.cleanup.models import CAMERA, Arena, Robot
from waker_envs.physics.camera import Camera, Look
from waker_envs.physics.control import START_TIME, checked_action
from waker_envs.physics.simulator import mujoco

SUBSTEPS = 10
"""Timesteps of the physics in one control step."""
PIXELS = 64
"""Side of the picture an agent sees."""
_LARGE = 480
_PER_BLOCK = 7
_SCAN = MAX_BLOCKS * _PER_BLOCK + 3

Obs = Literal["pixels", "proprio", "proprio+scan"]


class CleanUpEnv(ParametricEnv):
    """An arena with blocks, goals and a robot; see :class:`waker_envs.cleanup.point.CleanUp`.

    Attributes:
        robot: the subclass's robot.
        proprio_names: what the entries of its ``proprio`` vector are, in order.
    """

    tasks: tuple[str, ...] = TASKS
    theta_space = cleanup_theta_space("size of the arena: the half-size is 0.7 + 0.175 · arena metres, at most 1.4")
    robot: ClassVar[Robot]
    proprio_names: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        obs: Obs = "pixels",
        look: Look = "fast",
        action_repeat: int = 2,
        length: int = 1000,
    ) -> None:
        super().__init__(task, render_mode)
        check_choice("obs", obs, get_args(Obs))
        check_choice("look", look, get_args(Look))
        self.obs_kind: Obs = obs
        self.look: Look = look
        self.action_repeat, self.length = checked_count("action_repeat", action_repeat), checked_count("length", length)
        self.metadata = {
            **type(self).metadata,
            "render_fps": 1 / (self.robot.timestep * SUBSTEPS * action_repeat),
        }
        self.arena = Arena(self.robot, look)
        self._cameras: dict[int, Camera] = {}
        self.action_space = spaces.Box(-1.0, 1.0, (self.arena.model.nu,), np.float32)
        if obs == "pixels":
            self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        else:
            size = len(self.proprio_names) + (_SCAN if obs == "proprio+scan" else 0)
            self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without cameras, which belong to this process's renderer; a copy makes its own."""
        return {**vars(self), "_cameras": {}}

    @abstractmethod
    def place(self, x: float, y: float, heading: float) -> None:
        """Put the robot, at rest, at (x, y) metres with this heading, radians from the x axis."""

    @abstractmethod
    def proprio(self) -> list[float]:
        """The robot's own state, as ``proprio_names`` says."""

    def begin(self, theta: Theta) -> Any:
        arena, green, blue = (int(v) for v in theta)
        half, n, robot = half_size(arena), green + blue, self.robot
        blocks, (x, y), heading = draw_layout(self.np_random, n, half, robot.block_half, robot.radius)
        self.arena.furnish(half, green, blue, blocks)
        self.place(x, y, heading)
        self.arena.forward()
        self._t, self._n_green, self._n = 0, green, n
        self._distances, self._inside = self._standing()
        self.arena.data.time = START_TIME
        self._last = self._observation()
        return self._last

    def advance(self, action: Any) -> Transition:
        model, data = self.arena.model, self.arena.data
        data.ctrl[:] = checked_action(action, model.nu)
        before, inside = self._distances, [0.0] * len(TASKS)
        for _ in range(min(self.action_repeat, self.length - self._t)):
            mujoco.mj_step(model, data, SUBSTEPS)
            self._t += 1
            if data.time < START_TIME:  # no part of this episode: see START_TIME
                nothing = [0.0] * len(TASKS)
                return Transition(self._last.copy(), nothing, truncated=True, info={"diverged": True})
            self._distances, self._inside = self._standing()
            inside = [total + now for total, now in zip(inside, self._inside, strict=True)]
        rewards = [
            PER_METRE * (was - now) + INSIDE * held
            for was, now, held in zip(before, self._distances, inside, strict=True)
        ]
        info = {"completion": np.array(self._inside, np.float32)}
        self._last = self._observation()
        return Transition(self._last, rewards, truncated=self._t >= self.length, info=info)

    def _standing(self) -> tuple[list[float], list[float]]:
        """For each task, Σ|x_block − x_goal| in metres and the fraction of blocks inside."""
        xs = self.arena.block_qpos[: self._n, 0].tolist()
        return standing(self.arena.half, xs[: self._n_green], xs[self._n_green :])

    def _observation(self) -> NDArray[Any]:
        if self.obs_kind == "pixels":
            return self._picture(PIXELS)
        if self.obs_kind == "proprio":
            return np.array(self.proprio(), np.float32)
        return np.array(self.proprio() + self._scan(), np.float32)

    def _scan(self) -> list[float]:
        """Seven entries for each place of a block, zeros where there is none; the goals; the arena's half-size."""
        values: list[float] = []
        positions = self.arena.block_qpos[: self._n, :2].tolist()
        velocities = self.arena.block_qvel[: self._n, :2].tolist()
        for i, (position, velocity) in enumerate(zip(positions, velocities, strict=True)):
            green = i < self._n_green
            values += [1.0, float(green), float(not green), *position, *velocity]
        values += [0.0] * (_PER_BLOCK * (MAX_BLOCKS - self._n))
        goal = goal_x(self.arena.half)
        return [*values, -goal, goal, self.arena.half]

    def _picture(self, pixels: int) -> NDArray[np.uint8]:
        # A step leaves the places of geoms one timestep behind the state.
        mujoco.mj_kinematics(self.arena.model, self.arena.data)
        if pixels not in self._cameras:
            self._cameras[pixels] = Camera(self.arena.model, pixels, pixels, CAMERA, self.look)
        return self._cameras[pixels].picture(self.arena.data)

    def picture(self) -> NDArray[np.uint8]:
        """The arena at 480 × 480 pixels.

        Raises:
            NoRendererError: no OpenGL is at hand.
        """
        return self._picture(_LARGE)

    def close(self) -> None:
        """Free the cameras."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras.clear()
