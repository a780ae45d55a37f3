"""Environments from an id and constructor arguments, with one clear line for whatever goes wrong. Imports no torch.

Called by the assembly of a run and by ``waker envs``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import gymnasium as gym

import waker_envs
from waker.errors import UserError
from waker.torch_globals import torch_unchanged
from waker_envs.api import ParametricEnv
from waker_envs.foreign import foreign, leniently, reason_of

E = TypeVar("E", bound=gym.Env[Any, Any])
MakeEnv = Callable[..., ParametricEnv]
"""Makes an environment; arguments go before those that are bound already."""


def construct(env_id: str, kwargs: Mapping[str, Any]) -> ParametricEnv:
    """The environment, made.

    Raises:
        UserError: an argument that its constructor does not take, or a constructor that fails.
        UnknownEnvError: no such environment.
    """
    check_arguments(env_id, kwargs)
    return made(lambda: waker_envs.make(env_id, **kwargs), env_id, kwargs)


def made(make: Callable[[], E], env_id: str, kwargs: Mapping[str, Any] | None = None) -> E:
    """What ``make`` makes: one of the environments ``env_id``.

    Args:
        kwargs: what it is made with beyond the run's own arguments; for the message.

    Raises:
        UserError: its constructor raised.
        UnknownEnvError: no such environment.
    """
    given = f" with {dict(kwargs)}" if kwargs else ""

    def failed(error: BaseException) -> UserError:
        return UserError(f"{env_id} cannot be made{given}: {reason_of(error)}")

    call = f"the constructor of {env_id}"
    with torch_unchanged(call), foreign(call, failed, (UserError, waker_envs.UnknownEnvError)):
        return make()


def close(env: gym.Env[Any, Any], env_id: str) -> None:
    """Close an environment; warns of one that cannot be closed."""
    with leniently(f"{env_id} cannot be closed"):
        env.close()


def check_arguments(env_id: str, names: Iterable[str]) -> None:
    """Check the names of constructor arguments, where the constructor says which it takes.

    Raises:
        UserError: it takes no such argument; the message names the nearest. Or its module cannot be imported.
        UnknownEnvError: no such environment.
    """

    def failed(error: BaseException) -> UserError:
        return UserError(f"{env_id} cannot be imported: {reason_of(error)}")

    call = f"the import of {env_id}"
    with torch_unchanged(call), foreign(call, failed, (waker_envs.UnknownEnvError,)):
        entry = gym.spec(waker_envs.gym_id(env_id)).entry_point
        loaded = gym.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        parameters = inspect.signature(cast(Callable[..., Any], loaded)).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            near = difflib.get_close_matches(name, list(parameters), n=1)
            others = f"; it takes {', '.join(parameters)}" if parameters else ""
            hint = f"; did you mean {near[0]!r}?" if near else others
            raise UserError(f"{env_id} takes no argument {name!r}{hint}")
