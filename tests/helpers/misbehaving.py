"""Foreign code that fails in every way, for tests of the guard around it. Imports no torch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.api import Suite, Theta, Transition
from waker_envs.registry import register_family
from waker_envs.testing import HardTheta


class Unspeakable(Exception):
    """Its message cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class NotAnException(BaseException):
    """As asyncio and others derive theirs."""


WAYS: dict[str, Callable[[], BaseException]] = {
    "error": lambda: RuntimeError("boom\nsecond line"),
    "exit-0": lambda: SystemExit(0),
    "exit-none": SystemExit,
    "exit-text": lambda: SystemExit("gone"),
    "generator-exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "own": lambda: NotAnException("mine"),
    "unspeakable": Unspeakable,
    "interrupt": KeyboardInterrupt,
    "surrogate": lambda: RuntimeError("bad \udcff name"),
    "stop-iteration": StopIteration,
}
"""What is raised, by name."""
TOLD = {
    "error": "RuntimeError: boom second line",
    "exit-0": "it called for the end of the program (SystemExit: 0)",
    "exit-none": "it called for the end of the program (SystemExit: )",
    "exit-text": "it called for the end of the program (SystemExit: gone)",
    "generator-exit": "GeneratorExit",
    "cancelled": "CancelledError",
    "own": "NotAnException: mine",
    "unspeakable": "Unspeakable, whose message cannot be shown",
    "interrupt": "KeyboardInterrupt",
    "surrogate": "RuntimeError: bad",
    "stop-iteration": "StopIteration",
}
"""What a line says of it."""


class Misbehaves(HardTheta):
    """Raises in one place.

    Args:
        where: "init", "reset", "step", "close", "render", "attribute" or "optimal"; "suite": a suite's constructors;
            "chdir": it raises nothing, and its constructor changes the working directory.
        way: what, a key of :data:`WAYS`.
        after: calls of that place that go well.
    """

    def __init__(
        self,
        task: str | None = None,
        render_mode: str | None = None,
        where: str = "",
        way: str = "error",
        after: int = 0,
    ) -> None:
        super().__init__(task, render_mode)
        self.where, self.way, self.after, self.calls = where, way, after, 0
        if where == "suite":
            self.theta_space.suites = {"broken": Suite(np.array([[1.0]]), {"where": "init", "way": way})}
        if where == "chdir":
            os.chdir(os.sep)
        self._fail("init")

    def _fail(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            if self.calls > self.after:
                raise WAYS[self.way]()

    def begin(self, theta: Theta) -> NDArray[np.float32]:
        self._fail("reset")
        return super().begin(theta)

    def advance(self, action: Any) -> Transition:
        self._fail("step")
        return super().advance(action)

    def close(self) -> None:
        self._fail("close")

    def picture(self) -> NDArray[np.uint8]:
        self._fail("render")
        return super().picture()

    @property
    def observation_weights(self) -> dict[str, float]:  # type: ignore[override]
        self._fail("attribute")
        return {}


class Exactly(Misbehaves):
    """With exact methods, which fail."""

    def optimal_return(self, theta: Any, task: str, seed: int) -> Any:
        self._fail("optimal")
        return {"none": None, "text": "much", "many": np.ones(3), "inf": np.inf}.get(self.where, 20.0)


class NotExactly(HardTheta):
    """With exact methods that say that there are none, as a base class's do."""

    def optimal_return(self, theta: Any, task: str, seed: int) -> float:
        raise NotImplementedError

    def predict(self, theta: Any, seed: int, observation: Any, actions: Any) -> dict[str, Any]:
        raise NotImplementedError("no exact model")


class Endless(HardTheta):
    """Its episodes do not end."""

    def advance(self, action: Any) -> Transition:
        step = super().advance(action)
        step.truncated = False
        return step


class Forks(HardTheta):
    """Each of its episodes forks at its third step; the child leaves the call in some way, a key of :data:`WAYS`.

    Args:
        way: "return": the child goes on as if it were its parent; "error+return": there are two children; empty: none.
    """

    def __init__(self, task: str | None = None, render_mode: str | None = None, way: str = "") -> None:
        super().__init__(task, render_mode)
        self.way = way

    def advance(self, action: Any) -> Transition:
        for way in self.way.split("+") if self.way and self._t == 2 else ():
            child = os.fork()
            if child == 0 and way != "return":
                raise WAYS[way]()
            if child == 0:
                break
            os.waitpid(child, 0)
        return super().advance(action)


register_family("waker/test-Forks-v0", Forks)
register_family("waker/test-Misbehaves-v0", Misbehaves)
register_family("waker/test-Exactly-v0", Exactly)
register_family("waker/test-NotExactly-v0", NotExactly)
register_family("waker/test-Endless-v0", Endless)
