"""The checker's part for what a family knows exactly: ``optimal_return``, ``predict``, ``tabular``, ``beginnings``,
``deterministic`` and ``neutral_edits``. Called by the checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from waker_envs.api import ParametricEnv, Theta
from waker_envs.edits_checker import edits_fault
from waker_envs.foreign import reason_of
from waker_envs.played import EnvCheckError
from waker_envs.predictions import prediction_fault
from waker_envs.tabular_checker import beginnings_fault, deterministic_fault, tabular_fault


def check_exact(env: ParametricEnv, thetas: list[Theta], seed: int) -> None:
    """The optional methods, where they are there.

    Raises:
        EnvCheckError: one raises, or returns what it must not.
    """
    exact: Any = env
    for theta in thetas if hasattr(env, "optimal_return") else []:
        for task in env.tasks:
            value = _answer(f"optimal_return(θ, {task!r}, seed)", exact.optimal_return, theta, task, seed)
            if value is _NONE:
                continue
            if np.asarray(value).dtype.kind not in "fiu" or np.size(value) != 1 or not np.isfinite(value).all():
                raise EnvCheckError(
                    f"optimal_return(θ, {task!r}, seed) is {value} for θ = ({env.theta_space.format(theta)}); return a "
                    "finite number, or leave the method out"
                )
    faults = {
        "predict": prediction_fault,
        "tabular": tabular_fault,
        "beginnings": beginnings_fault,
        "deterministic": deterministic_fault,
        "neutral_edits": edits_fault,
    }
    for method, fault_of in faults.items():
        for theta in thetas if hasattr(env, method) else []:
            fault = _answer(f"{method}(…)", fault_of, env, theta, seed)
            if fault is not None and fault is not _NONE:
                raise EnvCheckError(f"θ = ({env.theta_space.format(theta)}): {fault}")


_NONE = object()
"""The answer of a method that says that it is not there."""


def _answer(call: str, method: Callable[..., Any], *args: Any) -> Any:
    """What an optional method returns; :data:`_NONE` where it raises ``NotImplementedError``."""
    try:
        return method(*args)
    except NotImplementedError:
        return _NONE
    except Exception as error:
        raise EnvCheckError(f"{call} raises {reason_of(error)}; mend it, or leave the method out") from error
