"""Tiny environments with known properties, for tests of learners, loops and command lines.

``import waker_envs.testing`` registers them: one whose difficulty is known, one whose noise is known, one that
fails on demand, one made of pictures. All but the failing one pass ``check_parametric_env``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Theta, Transition
from waker_envs.registry import register_family


class HardTheta(ParametricEnv):
    """A point on a line whose dynamics grow more complex with θ: the last θ is the hardest to model.

    Deterministic: x' = 0.8 x + 0.15 (a + drift), where the drift is c sine waves of the position with
    frequencies growing with c. Observation (x, c / 4), action in [−1, 1]. Tasks: `right`, (1 + x) / 2 a step, and
    `left`, (1 − x) / 2 a step. θ = complexity c ∈ {0, …, 4}, DR uniform. Episodes of 20 steps.
    """

    tasks: tuple[str, ...] = ("right", "left")
    LENGTH = 20

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.theta_space = FiniteThetaSpace(
            [Parameter("complexity", "waves in the dynamics")],
            np.arange(5.0)[:, None],
            hard=[[3.0], [4.0]],
            hardest=[4.0],
            suites={"harder": [[5.0]]},
        )
        self.observation_space = spaces.Box(-1.5, 1.5, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def begin(self, theta: Theta) -> NDArray[np.float32]:
        self._x, self._c, self._t = float(self.np_random.uniform(-0.5, 0.5)), int(theta[0]), 0
        return self._observation()

    def advance(self, action: Any) -> Transition:
        self._x = float(np.clip(self._next(float(np.asarray(action).reshape(-1)[0])), -1, 1))
        self._t += 1
        rewards = [(1 + self._x) / 2, (1 - self._x) / 2]
        return Transition(self._observation(), rewards, truncated=self._t >= self.LENGTH)

    def _next(self, push: float) -> float:
        drift = sum(np.sin(2 * np.pi * k * self._x + k) for k in range(1, self._c + 1))
        return 0.8 * self._x + 0.15 * (push + float(drift))

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self._x, self._c / 4], np.float32)

    def picture(self) -> NDArray[np.uint8]:
        """A strip with the point on it, shape (16, 64, 3)."""
        picture = np.zeros((16, 64, 3), np.uint8)
        column = int((self._x + 1) / 2 * 60)
        picture[4:12, column : column + 4] = 255
        return picture


class NoisyTheta(HardTheta):
    """The same line without waves, but with noise that nothing can predict, large at one θ.

    θ = noise level ∈ {0, 1, 2} with standard deviation 0, 0.02 and 0.4 a step. An error estimate that ranks
    level 2 highest after long training chases aleatoric noise.
    """

    SIGMA: ClassVar[tuple[float, ...]] = (0.0, 0.02, 0.4)

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.theta_space = FiniteThetaSpace(
            [Parameter("noise", "level of the noise")], np.arange(3.0)[:, None], sets={"noisy": [[2.0]]}
        )

    def _next(self, push: float) -> float:
        return 0.8 * self._x + 0.15 * push + self.SIGMA[self._c] * float(self.np_random.standard_normal())


class FailingEnv(HardTheta):
    """:class:`HardTheta` that breaks at a chosen step of its life, to see that a run stops cleanly.

    Args:
        failure: "raise" (RuntimeError), "nan" (in the observation), "nan-reward" (in the task rewards) or "shape" (one
            coordinate too many).
        at_step: the step, counted from 1 over all episodes since construction, that fails.
    """

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        *,
        failure: Literal["raise", "nan", "nan-reward", "shape"] = "raise",
        at_step: int = 30,
    ) -> None:
        super().__init__(task, render_mode)
        if failure not in ("raise", "nan", "nan-reward", "shape"):
            raise ValueError(f"failure must be 'raise', 'nan', 'nan-reward' or 'shape', got {failure!r}")
        self.failure, self.at_step, self._life = failure, at_step, 0

    def advance(self, action: Any) -> Transition:
        step = super().advance(action)
        self._life += 1
        if self._life == self.at_step:
            if self.failure == "raise":
                raise RuntimeError(f"the test environment was told to fail at step {self.at_step}")
            if self.failure == "nan":
                step.observation = np.full(2, np.nan, np.float32)
            elif self.failure == "nan-reward":
                step.task_rewards = [np.nan, 0.0]
            else:
                step.observation = np.zeros(3, np.float32)
        return step


class PictureEnv(ParametricEnv):
    """A bright square that three actions move left, not at all, or right over a dark ground.

    Observation `Box(0, 255, (64, 64, 3), uint8)`. θ = speed ∈ {4, 8, 16} pixels a step, which also tints the
    square. Tasks: `right` and `left`, the square's place in [0, 1] from either side. Episodes of 16 steps.
    """

    tasks: tuple[str, ...] = ("right", "left")
    SIDE, SQUARE, LENGTH = 64, 16, 16

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.theta_space = FiniteThetaSpace(
            [Parameter("speed", "how far the square moves", "pixels/step")], [[4.0], [8.0], [16.0]], hardest=[16.0]
        )
        self.observation_space = spaces.Box(0, 255, (self.SIDE, self.SIDE, 3), np.uint8)
        self.action_space = spaces.Discrete(3)

    def begin(self, theta: Theta) -> NDArray[np.uint8]:
        self._speed, self._t = int(theta[0]), 0
        self._column = int(self.np_random.integers(self.SIDE - self.SQUARE + 1))
        return self._picture()

    def advance(self, action: Any) -> Transition:
        free = self.SIDE - self.SQUARE
        self._column = min(max(self._column + (int(action) - 1) * self._speed, 0), free)
        self._t += 1
        place = self._column / free
        return Transition(self._picture(), [place, 1 - place], truncated=self._t >= self.LENGTH)

    def _picture(self) -> NDArray[np.uint8]:
        picture = np.full((self.SIDE, self.SIDE, 3), 30, np.uint8)
        tint = (255, 15 * self._speed, 255 - 15 * self._speed)
        picture[24 : 24 + self.SQUARE, self._column : self._column + self.SQUARE] = tint
        return picture

    def picture(self) -> NDArray[np.uint8]:
        """The observation."""
        return self._picture()


register_family("waker/test-Hard-v0", HardTheta)
register_family("waker/test-Noisy-v0", NoisyTheta)
register_family("waker/test-Failing-v0", FailingEnv)
register_family("waker/test-Picture-v0", PictureEnv)
