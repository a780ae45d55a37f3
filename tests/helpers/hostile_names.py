"""A family whose names are everything that a name should not be, for tests of who reads them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.names import RECORD
from waker_envs import FiniteThetaSpace, Parameter, ParametricEnv, Suite, Transition

SHAPES = (
    *("pick/place", "../../../escaped", "..", ".", ".hidden", "a\\b", "", " ", "x" * 300, "名前", "Go", "go"),
    *("[red]", "go [/bold]", "[link=x]y[/link]", ":smile:", "cost_$_per_$", r"$\frac{$", "a^{b", "100%", "_hidden"),
    *("line\nbreak", "bell\a\ttab\r", "\x1b[31mred\x1b[0m", "nul\0nul", "\u202eright to left", "a,b;c\"d'e", "=1+1"),
    *("<script>alert(1)</script>", "&amp;", "--seed", "-", "~", "null", "a.b", "{x!r}", "%s"),
)
"""What no reader may choke on, or take for something else."""
TASKS = (
    *("all", "explorer", "../../../../../../escaped", "..", "", "Go", "go", "名前" + "x" * 300),
    *(r"<script>&amp; [/bold] [link=x]:smile: cost_$_per_$ $\frac{$", "--seed line\nbreak \x1b[31m nul\0 a,b;\"d'e\r"),
)
THETAS = ("id", "id (parameter)", "cost_$_per_$", "[/red] a/b", "line\nbreak", " ")
SUITES = ("dr", "dr (suite)", "[/red] $x$ $", "../out\n")
KEYS = (
    *(*RECORD, "action (observation)", "action (waker)", "training", "forward", "keys", "_modules", "T_destination"),
    *("reward", "kl", "model", "observation", "theta", "id", "z" * 1500, *SHAPES),
)
"""Fields of a record, attributes of torch's modules, metrics, and all shapes."""


class Hostile(ParametricEnv):
    """Key k shows 100 + k; task k earns k + 1 a step, ten times that outside the space. Episodes of 12 steps.

    θ = its first two parameters, in {1, 2, 3} × {0, 1}; the others are 0.
    """

    tasks: tuple[str, ...] = TASKS
    theta_space = FiniteThetaSpace(
        [Parameter(name, f"[/bold]{name}", "$") for name in THETAS],
        [(a, b, *(0 for _ in THETAS[2:])) for a in (1, 2, 3) for b in (0, 1)],
        hard=[(3, 1, *(0 for _ in THETAS[2:]))],
        hardest=(3, 1, *(0 for _ in THETAS[2:])),
        suites={name: Suite(np.array([(9, 0, *(0 for _ in THETAS[2:]))], np.float64)) for name in SUITES},
    )

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.observation_space = gym.spaces.Dict({key: gym.spaces.Box(0, 999, (1,), np.float32) for key in KEYS})
        self.action_space = gym.spaces.Discrete(3)

    def begin(self, theta: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        self.factor, self.t = _factor(theta), 0
        return self._observation()

    def advance(self, action: Any) -> Transition:
        self.t += 1
        rewards = self.factor * (np.arange(len(TASKS)) + 1.0)
        done = {task: k / 100 for k, task in enumerate(TASKS)}
        return Transition(self._observation(), rewards, truncated=self.t >= 12, info={"completion": done})

    def optimal_return(self, theta: NDArray[np.float64], task: str, seed: int) -> float:
        """Twice what every episode earns."""
        return 24.0 * _factor(theta) * (TASKS.index(task) + 1)

    def _observation(self) -> dict[str, NDArray[np.float32]]:
        return {key: np.array([100.0 + k], np.float32) for k, key in enumerate(KEYS)}


def _factor(theta: NDArray[np.float64]) -> float:
    return 10.0 if theta[0] > 3 else 1.0
