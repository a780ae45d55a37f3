"""Reads an :class:`~waker.specs.EnvSpec` off an environment, once.

Called by :class:`waker.collection.family.Family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.model.observations import key_of_space
from waker.names import key_name, task_name
from waker.specs import ActionSpec, EnvSpec, ObservationKey
from waker_envs.boards import Board, board_fault
from waker_envs.checked import check_names


def _one_line(space: gym.Space[Any]) -> str:
    return " ".join(str(space).split())  # arrays print over several lines


def _key(key: str, space: gym.Space[Any], weight: float) -> ObservationKey:
    name = key_name(key)
    found = key_of_space(key, name, space, weight)
    return found if name == key else replace(found, given=key)


_WIDEST = 1e9
"""Bounds beyond it are taken for none: no actuator has them, and what is drawn between them is a huge number."""
_MOST_INTEGERS = 2**16
"""Values of an integer that entries of a vector in [−1, 1] are cut into, at most."""


def _action(space: gym.Space[Any]) -> ActionSpec:
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return ActionSpec(int(space.n), discrete=True)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.shape[0] > 0:
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        if (reason := _unusable(space.dtype, low, high)) is None:
            dtype = np.dtype(space.dtype).name
            return ActionSpec(space.shape[0], False, tuple(low.tolist()), tuple(high.tolist()), dtype)
        raise UserError(
            f"the action space is {_one_line(space)}; the learner takes Discrete from 0 and bounded one-dimensional "
            f"Box: {reason}"
        )
    raise UserError(
        f"the action space is {_one_line(space)}; the learner takes Discrete from 0 and bounded one-dimensional Box"
    )


def _unusable(dtype: Any, low: NDArray[np.float64], high: NDArray[np.float64]) -> str | None:
    """Why actions between these bounds cannot be spread over [−1, 1]; None where they can."""
    limits = np.finfo(dtype) if np.dtype(dtype).kind == "f" else None
    none = ~np.isfinite([low, high]) | (np.abs([low, high]) > _WIDEST)
    if limits is not None:
        none |= np.abs([low, high]) >= float(limits.max)
    if none.any():
        bound = np.array([low, high])[none][0]
        return f"a bound of {bound:g} stands for none; give bounds that its actions really have"
    if limits is None and (high - low >= _MOST_INTEGERS).any():
        return f"integers may have {_MOST_INTEGERS:,} values, not {(high - low).max() + 1:,.0f}"
    return None


def spec_of(env: gym.Env[Any, Any]) -> EnvSpec:
    """The spec of a ``ParametricEnv`` (wrapped or not).

    Raises:
        UserError: a space the learner has no encoder or policy for.
    """
    inner: Any = env.unwrapped
    weights: Mapping[str, float] = getattr(inner, "observation_weights", {})
    space = env.observation_space
    if isinstance(space, gym.spaces.Dict):
        check_names("observation key", space.spaces, UserError)
        keys = tuple(_key(name, sub, weights.get(name, 1.0)) for name, sub in space.spaces.items())
    else:
        single = _key("observation", space, 1.0)
        name = "image" if single.kind == "image" else "observation"
        keys = (_key(name, space, weights.get(name, 1.0)),)
    env_id = env.spec.id if env.spec is not None else type(inner).__name__
    groups = getattr(inner, "task_groups", None)
    given = tuple(inner.tasks)
    if not given:
        raise UserError(f"{env_id} has no tasks; a family needs at least one")
    check_names("task", given, UserError)
    tasks = tuple(map(task_name, given))
    groups = None if groups is None else tuple(groups)
    renamed = None if tasks == given else given
    board = _board(getattr(inner, "observation_board", None), space, env_id)
    return EnvSpec(env_id, keys, _action(env.action_space), tasks, groups, given_tasks=renamed, board=board)


def _board(board: Any, space: gym.Space[Any], env_id: str) -> Board | None:
    """A family's board by the names that its keys have here."""
    if board is None:
        return None
    if fault := board_fault(board, space):
        raise UserError(f"{env_id}: its observation_board does not fit its observation: {fault}")
    return board._replace(cells=tuple(map(key_name, board.cells)), places=tuple(map(key_name, board.places)))
