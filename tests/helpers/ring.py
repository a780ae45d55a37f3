"""A ring of cells whose dynamics are known exactly. It imports no torch: environment processes begin in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Theta, Transition

CELLS, LENGTH = 6, 12
SLIPS = (0.0, 0.4)


class Ring(ParametricEnv):
    """Two actions move left or right; with probability θ nothing moves. With ``trap``, cell 0 ends the episode."""

    tasks = ("home",)

    def __init__(self, task: str | None = None, render_mode: str | None = None, trap: bool = False) -> None:
        super().__init__(task, render_mode)
        self.trap = trap
        self.theta_space = FiniteThetaSpace([Parameter("slip", "chance to stay")], [[s] for s in SLIPS])
        self.observation_space = spaces.Dict(agent=spaces.MultiDiscrete([CELLS, len(SLIPS)]))
        self.action_space = spaces.Discrete(2)

    def begin(self, theta: Theta) -> Any:
        self._cell, self._t, self._level = int(self.np_random.integers(1, CELLS)), 0, SLIPS.index(float(theta[0]))
        return self._observation()

    def advance(self, action: Any) -> Transition:
        if self.np_random.random() >= SLIPS[self._level]:
            self._cell = (self._cell + 2 * int(action) - 1) % CELLS
        self._t += 1
        ended = self.trap and self._cell == 0
        return Transition(self._observation(), [float(self._cell == 0)], ended, self._t >= LENGTH)

    def _observation(self) -> dict[str, NDArray[np.int64]]:
        return {"agent": np.array([self._cell, self._level])}

    def predict(self, theta: ArrayLike, seed: int, observation: Any, actions: ArrayLike) -> dict[str, NDArray[Any]]:
        """Exact: a walk on the ring, absorbed in the trap."""
        cell, level = observation["agent"]
        here, rows = np.eye(CELLS)[cell], []
        for action in np.asarray(actions):
            moved = np.roll(here, 2 * int(action) - 1)
            there = SLIPS[level] * here + (1 - SLIPS[level]) * moved
            if self.trap:
                walking = here * (np.arange(CELLS) > 0)
                there = SLIPS[level] * walking + (1 - SLIPS[level]) * np.roll(walking, 2 * int(action) - 1)
                there[0] += here[0]
            here = there
            rows.append(np.stack([here * (i == level) for i in range(len(SLIPS))], 1))
        return {"agent": np.array(rows)}
