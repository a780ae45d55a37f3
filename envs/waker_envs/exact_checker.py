"""The checker's part for what a family knows exactly: ``optimal_return`` and ``predict``. Called by the checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from waker_envs.api import ParametricEnv, Theta
from waker_envs.foreign import reason_of
from waker_envs.played import EnvCheckError


def check_exact(env: ParametricEnv, thetas: list[Theta], seed: int) -> None:
    """The optional methods, where they are there.

    Raises:
        EnvCheckError: one raises, or returns what it must not.
    """
    exact: Any = env
    for theta in thetas if hasattr(env, "optimal_return") else []:
        for task in env.tasks:
            value = _answer(f"optimal_return(θ, {task!r}, seed)", exact.optimal_return, theta, task, seed)
            if np.asarray(value).dtype.kind not in "fiu" or np.size(value) != 1 or not np.isfinite(value).all():
                raise EnvCheckError(
                    f"optimal_return(θ, {task!r}, seed) is {value} for θ = ({env.theta_space.format(theta)}); return a "
                    "finite number, or leave the method out"
                )
    for theta in thetas if hasattr(env, "predict") else []:
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        env.action_space.seed(seed)
        actions = np.array([env.action_space.sample() for _ in range(5)])
        for key, rows in _answer("predict(…)", exact.predict, theta, seed, observation, actions).items():
            classes = _classes(env, key)
            if classes and np.shape(rows) not in ((len(actions), *classes), (len(actions), int(np.prod(classes)))):
                raise EnvCheckError(
                    f"predict(…)[{key!r}] has shape {np.shape(rows)}; it must be {(len(actions), *classes)}: one "
                    f"distribution over the classes of that key for each of the {len(actions)} actions"
                )
            sums = rows.reshape(len(rows), -1).sum(1)
            if len(rows) != len(actions) or (rows < 0).any() or not np.allclose(sums, 1, atol=1e-6):
                raise EnvCheckError(
                    f"predict(…)[{key!r}] must be one distribution for each of the {len(actions)} actions, nowhere "
                    f"negative and summing to 1; shape {rows.shape}, sums {np.round(sums, 4).tolist()}"
                )


def _answer(call: str, method: Callable[..., Any], *args: Any) -> Any:
    """What an optional method returns."""
    try:
        return method(*args)
    except Exception as error:
        raise EnvCheckError(f"{call} raises {reason_of(error)}; mend it, or leave the method out") from error


def _classes(env: ParametricEnv, key: str) -> tuple[int, ...]:
    """The classes of each variable of a categorical observation key; none where it is of another kind."""
    space: Any = env.observation_space
    part = space.spaces.get(key) if hasattr(space, "spaces") else space
    if isinstance(part, spaces.MultiDiscrete):
        return tuple(int(n) for n in part.nvec.reshape(-1))
    return (int(part.n),) if isinstance(part, spaces.Discrete) else ()
