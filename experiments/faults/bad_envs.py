"""Environments that misbehave: a corridor, and in it what other people's code has been seen to do.

``mode`` says how, ``when`` where: in the constructor (``init``), in every ``reset``, in the step ``n`` of the process,
or only in an ``evaluation``, which is where a process makes more environments than a training does. It is found through
its entry point, as any plug-in is; ``FAULTS_IMPORT`` in the environment makes the import itself misbehave.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Transition

ENV_ID = "faults/Corridor-v0"
_STEP = 20
"""The step of the process at which ``when=step`` begins."""
_TRAINING = 6
"""Environments that a process makes before an evaluation, at most."""


class Unspeakable(Exception):
    """An exception that cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Unpicklable(Exception):
    """An exception that cannot be sent to another process."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("two arguments")
        self.held = threading.Lock()


def _raise(error: BaseException) -> NoReturn:
    raise error


def _recurse() -> int:
    return 1 + _recurse()


def _print() -> None:
    for _ in range(200):
        print("simulator: " + "x" * 5000)
        print("simulator: " + "y" * 5000, file=sys.stderr)


ACTS: dict[str, Callable[[], Any]] = {
    "raise": lambda: _raise(RuntimeError("boom\nsecond line")),
    "raise nothing": lambda: _raise(ValueError()),
    "exit": lambda: sys.exit(0),
    "exit with words": lambda: sys.exit("gone"),
    "generator exit": lambda: _raise(GeneratorExit()),
    "stop iteration": lambda: _raise(StopIteration()),
    "unspeakable": lambda: _raise(Unspeakable()),
    "unpicklable": lambda: _raise(Unpicklable(1, 2)),
    "surrogate": lambda: _raise(RuntimeError("bad \udcff name [red] $x$")),
    "group": lambda: _raise(BaseExceptionGroup("several", [ValueError("one"), SystemExit(0)])),
    "recursion": _recurse,
    "memory": lambda: np.zeros(10**15),
    "hang": lambda: time.sleep(1e6),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "os exit": lambda: os._exit(0),
    "print": _print,
    "chdir": lambda: os.chdir("/"),
    "seed": lambda: (random.seed(0), np.random.seed(0)),  # noqa: NPY002 — as old simulators do
    "warn": lambda: warnings.warn("simulator is old", DeprecationWarning, stacklevel=1),
    "handler": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
}
"""Mode → what it does where ``when`` says."""

OBSERVATIONS: dict[str, Callable[[np.ndarray], Any]] = {
    "nan": lambda o: o * np.nan,
    "inf": lambda o: o + np.inf,
    "beyond float32": lambda o: o.astype(np.float64) + 1e39,
    "shape": lambda o: np.zeros(5, np.float32),
    "dtype": lambda o: np.array(["a", "b"]),
    "object": lambda o: np.array([None, "x"], object),
    "keys": lambda o: {"other": o},
    "nothing": lambda o: None,
    "complex": lambda o: o.astype(np.complex64),
}
REWARDS: dict[str, Any] = {
    "nan reward": [float("nan"), 0.0],
    "inf reward": [float("inf"), 0.0],
    "reward beyond float32": [1e39, 0.0],
    "few rewards": [1.0],
    "no rewards": None,
    "word rewards": ["a", "b"],
}


class Corridor(ParametricEnv):
    """A corridor of some cells; the agent stays, or goes a cell left or right.

    Args:
        mode: how it misbehaves; ``none`` = not at all.
        when: ``init``, ``reset``, ``step`` or ``evaluation``.
    """

    tasks = ("left", "right")
    theta_space = FiniteThetaSpace(
        [Parameter("length", "length of the corridor", "cells")], [(3,), (6,)], hard=[(6,)], hardest=(6,)
    )
    made = 0
    steps_of_all = 0

    def __init__(
        self, task: str | None = None, render_mode: str | None = None, mode: str = "none", when: str = "step"
    ) -> None:
        super().__init__(task, render_mode)
        Corridor.made += 1
        self.mode, self.when, self.number = mode, when, Corridor.made
        self.observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.buffer = np.zeros(2, np.float32)
        self._act("init")

    def begin(self, theta: np.ndarray) -> Any:
        """Somewhere in the corridor."""
        self._act("reset")
        self.length = int(theta[0])
        self.cell, self.taken = int(self.np_random.integers(self.length)), 0
        if self.mode == "theta in place":
            theta[:] = 99.0
        return self._observation()

    def advance(self, action: Any) -> Transition:
        """One cell on."""
        Corridor.steps_of_all += 1
        self._act("step")
        self.cell = int(np.clip(self.cell + (0, -1, 1)[int(action)], 0, self.length - 1))
        self.taken += 1
        rewards: Any = [float(self.cell == 0), float(self.cell == self.length - 1)]
        if self._late and self.mode in REWARDS:
            rewards = REWARDS[self.mode]
        ends = self.taken >= 12 and not (self.mode == "never ends" and self._late)
        return Transition(self._observation(), rewards, truncated=ends)

    def step(self, action: Any) -> Any:
        """As its parent's, but for modes that spoil what it returns."""
        observation, reward, terminated, truncated, info = super().step(action)
        if self._late and self.mode == "no info":
            return observation, reward, terminated, truncated, None
        if self._late and self.mode == "four things":
            return observation, reward, terminated, info
        if self._late and self.mode == "end is an array":
            return observation, reward, np.array([terminated, truncated]), truncated, info
        return observation, reward, terminated, truncated, info

    def optimal_return(self, theta: np.ndarray, task: str, seed: int) -> Any:
        """Not exact at all, but what the modes need."""
        if self.mode == "no optimum":
            return None
        if self.mode == "optimum raises":
            raise ZeroDivisionError("no optimum")
        if self.mode == "optimum is nan":
            return float("nan")
        return 12.0

    def render(self) -> Any:
        """A grey picture."""
        if self.mode == "render raises":
            raise RuntimeError("no display")
        return np.full((8, 8, 3), 128, np.uint8)

    def close(self) -> None:
        """Nothing to do."""
        if self.mode == "close raises":
            raise RuntimeError("close fails")
        if self.mode == "close exits":
            sys.exit(0)

    @property
    def _late(self) -> bool:
        """Whether the time for misbehaviour has come, outside of constructor and reset."""
        if self.when == "evaluation":
            return self.number > _TRAINING
        return self.when == "step" and Corridor.steps_of_all >= _STEP

    def _act(self, where: str) -> None:
        act = ACTS.get(self.mode)
        if act is not None and (self.when == where or (self.when == "evaluation" and where == "step")):
            if where == "step" and not self._late:
                return
            act()

    def _observation(self) -> Any:
        if self.mode == "one buffer":
            self.buffer[:] = self.cell, self.length
            return self.buffer
        observation = np.array([self.cell, self.length], np.float32)
        if self._late and self.mode in OBSERVATIONS:
            return OBSERVATIONS[self.mode](observation)
        return observation


_IMPORT = os.environ.get("FAULTS_IMPORT")
if _IMPORT:
    ACTS[_IMPORT]()


def install(folder: Path) -> Path:
    """Write the metadata that makes this module a plug-in; put the folder on the path to have it found.

    Returns:
        The folder.
    """
    data = folder / "waker_faults-0.dist-info"
    data.mkdir(parents=True, exist_ok=True)
    (data / "METADATA").write_text("Metadata-Version: 2.1\nName: waker-faults\nVersion: 0\n")
    (data / "entry_points.txt").write_text(f"[waker.envs]\n{ENV_ID} = {__name__}:Corridor\n")
    return folder


def register() -> None:
    """Register the corridor in this process, whose packages have been loaded already."""
    from waker_envs import register_family

    register_family(ENV_ID, Corridor)
