"""What an environment returns, checked once before it reaches the replay or a measurement. Imports no torch.

Called by :class:`waker.collection.slot.Slot`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.model.observations import kind_of
from waker.specs import BrokenPromise, EnvSpec, ObservationKey


def checked_observation(spec: EnvSpec, observation: Any) -> dict[str, NDArray[Any]]:
    """The observation by key, in the spec's dtypes: arrays of its own, as an environment may reuse its.

    Raises:
        BrokenPromise: another shape, dtype or class than the spec's, or numbers that are not finite in float32.
    """
    if isinstance(observation, Mapping):
        missing = [k.label for k in spec.observation if k.label not in observation]
        if missing:
            raise BrokenPromise(f"the observation has no {missing[0]!r}, only {', '.join(map(str, observation))}")
        return {k.name: _entry(k, observation[k.label]) for k in spec.observation}
    if len(spec.observation) != 1:
        raise BrokenPromise(
            f"the observation is a {type(observation).__name__}, not a dict of {len(spec.observation)} keys"
        )
    return {spec.observation[0].name: _entry(spec.observation[0], observation)}


def _entry(key: ObservationKey, value: Any) -> NDArray[Any]:
    kind, array = kind_of(key), np.asarray(value)
    # A Discrete observation is a scalar, which the spec holds as one variable.
    shape = (1,) if array.ndim == 0 and key.classes else array.shape
    if shape != key.shape:
        raise BrokenPromise(f"observation {key.label!r} has shape {shape} instead of {key.shape}")
    if array.dtype.kind not in kind.dtypes:
        raise BrokenPromise(f"observation {key.label!r} has dtype {array.dtype}, and {key.kind} observations cannot")
    return kind.checked(array)


def checked_rewards(spec: EnvSpec, info: Mapping[str, Any]) -> NDArray[np.float32]:
    """The tasks' rewards (K,), an array of its own.

    Raises:
        BrokenPromise: there are none, another number of them, or some are not finite in float32.
    """
    if "task_rewards" not in info:
        raise BrokenPromise("info has no 'task_rewards'")
    given = np.asarray(info["task_rewards"])
    if given.shape != (len(spec.tasks),):
        raise BrokenPromise(f"info['task_rewards'] has shape {given.shape} instead of ({len(spec.tasks)},)")
    if given.dtype == np.float32:
        rewards = given.copy()
    else:
        with np.errstate(over="ignore"):
            rewards = given.astype(np.float32)
    if not np.isfinite(rewards).all():
        k = int(np.argmin(np.isfinite(rewards)))
        beyond = ", and float32 holds no more than 3.4e38" if not np.isnan(float(given[k])) else ""
        raise BrokenPromise(f"info['task_rewards'] is not finite: of {spec.tasks[k]!r} it is {given[k]}{beyond}")
    return rewards
