"""Environments from an id and constructor arguments, with one clear line for whatever goes wrong. Imports no torch.

Called by the assembly of a run and by ``waker envs``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import gymnasium as gym

import waker_envs
from waker.errors import UserError
from waker_envs.api import ParametricEnv


def construct(env_id: str, kwargs: Mapping[str, Any]) -> ParametricEnv:
    """The environment, made.

    Raises:
        UserError: an argument that its constructor does not take, or a constructor that fails.
        UnknownEnvError: no such environment.
    """
    check_arguments(env_id, kwargs)
    try:
        return waker_envs.make(env_id, **kwargs)
    except (UserError, waker_envs.UnknownEnvError):
        raise
    except Exception as error:  # somebody else's code
        given = f" with {dict(kwargs)}" if kwargs else ""
        raise UserError(f"{env_id} cannot be made{given}: {type(error).__name__}: {error}") from error


def check_arguments(env_id: str, names: Iterable[str]) -> None:
    """Check the names of constructor arguments, where the constructor says which it takes.

    Raises:
        UserError: it takes no such argument; the message names the nearest. Or its module cannot be imported.
        UnknownEnvError: no such environment.
    """
    entry = gym.spec(waker_envs.resolve_id(env_id)).entry_point
    try:
        loaded = gym.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        parameters = inspect.signature(cast(Callable[..., Any], loaded)).parameters
    except Exception as error:  # a module of somebody else's
        raise UserError(f"{env_id} cannot be imported: {type(error).__name__}: {error}") from error
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            near = difflib.get_close_matches(name, list(parameters), n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"{env_id} takes no argument {name!r}{hint}")
