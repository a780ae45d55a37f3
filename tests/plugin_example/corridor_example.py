"""A corridor with wind: a whole environment family for WAKER in one file.

The entry point in ``pyproject.toml`` is all that registers it; curricula, explorers, evaluation and plots follow.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker_envs import FiniteThetaSpace, Parameter, ParametricEnv, Transition

LONGEST = 6
"""Cells of the longest corridor."""


class Corridor(ParametricEnv):
    """Walk along a corridor whose wind blows to the left.

    θ = (length, wind): the corridor has ``length`` cells, and with probability ``wind`` a step goes left whatever
    the action. Observation: the cell, the length and whether wind blows. Actions: stay, left, right. Tasks: be in the
    leftmost or in the rightmost cell, one point a step. An episode lasts 12 steps.
    """

    tasks = ("left", "right")
    theta_space = FiniteThetaSpace(
        [Parameter("length", "length of the corridor", "cells"), Parameter("wind", "probability of being blown left")],
        [(length, wind) for length in (3, LONGEST) for wind in (0.0, 0.3)],
        hard=[(LONGEST, 0.3)],
        hardest=(LONGEST, 0.3),
    )

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.observation_space = gym.spaces.MultiDiscrete([LONGEST, LONGEST + 1, 2])
        self.action_space = gym.spaces.Discrete(3)

    def begin(self, theta: NDArray[np.float64]) -> NDArray[np.int64]:
        self.length, self.wind = int(theta[0]), float(theta[1])
        self.cell, self.steps = int(self.np_random.integers(self.length)), 0
        return self._observation()

    def advance(self, action: Any) -> Transition:
        blown = self.np_random.random() < self.wind
        self.cell = int(np.clip(self.cell + (-1 if blown else (0, -1, 1)[int(action)]), 0, self.length - 1))
        self.steps += 1
        rewards = [self.cell == 0, self.cell == self.length - 1]
        return Transition(self._observation(), rewards, truncated=self.steps == 12)

    def picture(self) -> NDArray[np.uint8]:
        """The corridor as one row of 16-pixel cells."""
        cells = np.full((1, self.length, 3), 200, np.uint8)
        cells[0, self.cell] = (220, 40, 40)
        return cells.repeat(16, 0).repeat(16, 1)

    def _observation(self) -> NDArray[np.int64]:
        return np.array([self.cell, self.length, self.wind > 0])
