"""A combined family small enough for exact tests: a line of five θ, a plane of three, vectors of unequal length."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

import waker_envs.testing  # noqa: F401 — registers the line
from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Suite, Theta, Transition
from waker_envs.combining import CombinedEnv, Member


class Plane(ParametricEnv):
    """A point that two actions push over a plane, against its drag. θ = (drag, wind); ``gust`` is an argument.

    Observation (x, y, drag), three tasks, completion of each. Episodes of 12 steps.
    """

    tasks = ("far", "near", "still")
    theta_space = FiniteThetaSpace(
        [Parameter("drag", "share of the push that is lost"), Parameter("wind", "adds to x", "m")],
        [(0.1, 0.2), (0.5, 0.0), (0.5, 0.2)],
        [0.6, 0.2, 0.2],
        hard=[(0.5, 0.2)],
        hardest=(0.5, 0.2),
        sets={"windy": [(0.1, 0.2), (0.5, 0.2)]},
        suites={"stormy": Suite(np.array([[0.5, 3.0], [0.1, 3.0]]), {"gust": 0.25})},
    )
    made: int = 0

    def __init__(self, task: str | None = None, render_mode: str | None = None, *, gust: float = 0.0) -> None:
        super().__init__(task, render_mode)
        type(self).made += 1
        self.gust = gust
        self.observation_space = spaces.Box(-50.0, 50.0, (3,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def begin(self, theta: Theta) -> NDArray[np.float32]:
        self._drag, self._wind = theta
        self._place, self._t = self.np_random.uniform(-1, 1, 2), 0
        return self._observation()

    def advance(self, action: Any) -> Transition:
        chance = self.gust * self.np_random.standard_normal()
        self._place = self._place + (1 - self._drag) * np.asarray(action, np.float64) + [self._wind + chance, 0.0]
        self._t += 1
        distance = float(np.hypot(*self._place))
        info = {"completion": np.array([distance > 2, distance < 1, 0.5], np.float32)}
        return Transition(self._observation(), [distance, -distance, 0.25], truncated=self._t >= 12, info=info)

    def _observation(self) -> NDArray[np.float32]:
        return np.array([*self._place, self._drag], np.float32)

    def render(self) -> Any:
        """One blue square."""
        return None if self.render_mode is None else np.full((300, 300, 3), (0, 0, 255), np.uint8)


class Pair(CombinedEnv):
    """The line with task ``right``, the plane with ``still`` and ``far`` (in another order than its own)."""

    members = (
        Member("line", "waker/test-Hard-v0", ("right",)),
        Member("plane", "tests/Plane-v0", ("still", "far")),
    )


for _name, _family in (("tests/Plane-v0", Plane), ("tests/Pair-v0", Pair)):
    if _name not in gym.registry:
        # Not among the registered families: other tests go through all of those.
        gym.register(_name, entry_point=_family)
