"""A family with the wrappers that ``gymnasium.make`` gives it, as one :class:`ParametricEnv`.

Made by :func:`waker_envs.registry.make` where an environment was registered with a time limit or with wrappers of its
own, or where its entry point returns a wrapped one: what it was registered with belongs to it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit

from waker_envs.api import ParametricEnv, Theta, Transition
from waker_envs.copies import detached

_IDLE = (OrderEnforcing, PassiveEnvChecker)
"""Wrappers that change nothing: a :class:`ParametricEnv` keeps order itself."""
_SEES_THE_SAME = (*_IDLE, TimeLimit, RecordEpisodeStatistics)
"""Wrappers that leave observations as they are."""


def as_family(env: gym.Env[Any, Any]) -> ParametricEnv | None:
    """``env`` as a :class:`ParametricEnv`: the bare one if its wrappers change nothing, else all of it together.

    Returns:
        None if there is no :class:`ParametricEnv` inside.
    """
    while isinstance(env, _IDLE):
        env = env.env
    if isinstance(env, ParametricEnv):
        return env
    return WrappedFamily(env) if isinstance(env.unwrapped, ParametricEnv) else None


def _of_family(name: str) -> Any:
    """An attribute that is the family's, to read and to set."""
    return property(lambda self: getattr(self.family, name), lambda self, value: setattr(self.family, name, value))


class WrappedFamily(ParametricEnv):
    """Steps and resets through wrappers; all else is the family's own.

    What the wrappers return is copied: they may reuse their arrays, as a family may.

    ``optimal_return`` and ``tabular`` are left out, as a time limit or another reward changes the optimum; ``predict``
    and ``deterministic`` are there where the wrappers leave observations alone.

    Args:
        wrapped: a wrapper around a :class:`ParametricEnv`.
    """

    task, tasks, theta = _of_family("task"), _of_family("tasks"), _of_family("theta")
    theta_space, metadata = _of_family("theta_space"), _of_family("metadata")

    def __init__(self, wrapped: gym.Env[Any, Any]) -> None:
        self.wrapped = wrapped
        inner = wrapped.unwrapped
        assert isinstance(inner, ParametricEnv), "as_family has looked"
        self.family = inner
        self.__doc__ = type(inner).__doc__
        self.observation_space, self.action_space = wrapped.observation_space, wrapped.action_space
        self.spec, self.render_mode = wrapped.spec, wrapped.render_mode
        self.task_groups, self.observation_weights = inner.task_groups, inner.observation_weights
        self.observation_board = inner.observation_board if self._sees_the_same() else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See the base."""
        observation, info = self.wrapped.reset(seed=seed, options=options)
        return detached(observation), detached(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See the base."""
        observation, reward, terminated, truncated, info = self.wrapped.step(action)
        return detached(observation), float(reward), bool(terminated), bool(truncated), detached(info)

    def begin(self, theta: Theta) -> Any:
        """For a combined family, which has set ``np_random``."""
        return self.wrapped.reset(options={"theta": theta})[0]

    def advance(self, action: Any) -> Transition:
        observation, _, terminated, truncated, info = self.wrapped.step(action)
        own = {key: value for key, value in info.items() if key not in ("theta", "task_rewards")}
        return Transition(observation, info["task_rewards"], bool(terminated), bool(truncated), own)

    def render(self) -> Any:
        return self.wrapped.render()

    def picture(self) -> Any:
        return self.family.picture()

    def close(self) -> None:
        self.wrapped.close()

    @property
    def np_random(self) -> np.random.Generator:
        """The family's."""
        return self.family.np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self.family.np_random = value

    @property
    def np_random_seed(self) -> int:
        """The family's."""
        return self.family.np_random_seed

    def __getattr__(self, name: str) -> Any:
        """What this class has not: of a wrapper, or of the family."""
        if name.startswith("__") or "wrapped" not in vars(self):
            raise AttributeError(name)
        of_wrapped = name in ("predict", "deterministic") and self._sees_the_same()
        if name in ("optimal_return", "tabular", "predict", "deterministic") and not of_wrapped:
            raise AttributeError(f"{name} of {type(self.family).__name__} does not hold with its wrappers")
        return self.wrapped.get_wrapper_attr(name)

    def _sees_the_same(self) -> bool:
        layer = self.wrapped
        while isinstance(layer, _SEES_THE_SAME):
            layer = layer.env
        return layer is self.family
