"""Episodes of random actions in which every single step is checked, for :mod:`waker_envs.checker`."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.api import ParametricEnv, Theta
from waker_envs.copies import arrays_in, detached

_LONGEST = 5000
"""Steps after which an episode is taken to have no end."""
_KEPT = 64
"""Steps whose arrays are looked at again."""


class EnvCheckError(AssertionError):
    """A family breaks a promise; the message says which one and how to mend it."""


@dataclass
class Episode:
    """What one episode of random actions showed. T steps; T + 1 observations; θ where reset drew it."""

    observations: list[Any] = field(default_factory=list)
    task_rewards: list[NDArray[np.float32]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)
    theta: Theta | None = None

    def same(self, other: Episode) -> bool:
        """Whether both showed the same, bit for bit."""
        return (
            self.ends == other.ends
            and _equal(self.observations, other.observations)
            and _equal(self.task_rewards, other.task_rewards)
        )


def play(env: ParametricEnv, theta: Theta | None, seed: int, steps: int = _LONGEST) -> Episode:
    """One episode of random actions, with every single step checked; θ = None: of the θ that reset draws."""
    episode = Episode()
    observation, info = env.reset(seed=seed, options=None if theta is None else {"theta": theta})
    if theta is None:
        theta = episode.theta = np.array(info.get("theta", np.full(env.theta_space.dim, np.nan)), float)
    where = f"θ = ({env.theta_space.format(theta)}), seed {seed}"
    _check_observation(env, observation, f"reset, {where}")
    _check_info(env, info, theta, f"reset, {where}")
    episode.observations.append(copy.deepcopy(observation))
    env.action_space.seed(seed)
    for t in range(1, steps + 1):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        at = f"step {t}, {where}"
        _check_observation(env, observation, at)
        _check_info(env, info, theta, at)
        if env.task is None and reward != 0.0:
            raise EnvCheckError(
                f"{at}: the reward is {reward} though no task was chosen; without a task step() must return 0.0 "
                "and leave the rewards to info['task_rewards']"
            )
        if not isinstance(terminated, bool) or not isinstance(truncated, bool):
            raise EnvCheckError(f"{at}: terminated and truncated must be bool; wrap them in bool()")
        episode.observations.append(copy.deepcopy(observation))
        episode.task_rewards.append(np.array(info["task_rewards"]))
        episode.rewards.append(float(reward))
        episode.ends.append((terminated, truncated))
        if terminated or truncated:
            return episode
    if steps == _LONGEST:
        raise EnvCheckError(
            f"{where}: no end after {_LONGEST} steps of random actions; return truncated=True at a time limit"
        )
    return episode


def _check_observation(env: ParametricEnv, observation: Any, at: str) -> None:
    if not env.observation_space.contains(observation):
        raise EnvCheckError(
            f"{at}: the observation is not in the observation space: "
            f"{_difference(env.observation_space, observation)}; "
            "mend the observation, or widen the space in __init__ so that it holds every θ"
        )


def _difference(space: Any, value: Any) -> str:
    """What is wrong with an observation, in a few words."""
    if isinstance(value, dict) and hasattr(space, "spaces"):
        if set(value) != set(space.spaces):
            return f"its keys are {sorted(value)} where the space has {sorted(space.spaces)}"
        for key, part in space.spaces.items():
            if not part.contains(value[key]):
                return f"key {key!r}: {_difference(part, value[key])}"
    array = np.asarray(value)
    if array.shape != space.shape:
        return f"its shape is {array.shape} where the space has {space.shape}"
    if not np.can_cast(array.dtype, space.dtype):
        return f"its dtype is {array.dtype} where the space has {space.dtype}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "it holds NaN or infinity"
    return f"its values span [{array.min()}, {array.max()}], which {space} does not allow"


def _check_info(env: ParametricEnv, info: dict[str, Any], theta: Theta, at: str) -> None:
    for key in ("theta", "task_rewards"):
        if key not in info:
            raise EnvCheckError(
                f"{at}: info has no {key!r}; ParametricEnv.reset and step put it there: write begin() and advance() "
                "in place of your own reset() and step(), or add it"
            )
    if not np.array_equal(np.asarray(info["theta"], float), theta):
        raise EnvCheckError(
            f"{at}: info['theta'] is {np.asarray(info['theta']).tolist()}, not the given {theta.tolist()}: "
            'reset() ignores options["theta"]; start the episode with it (begin() receives it)'
        )
    rewards, wanted = info["task_rewards"], (len(env.tasks),)
    if np.shape(rewards) != wanted:
        raise EnvCheckError(
            f"{at}: info['task_rewards'] has shape {np.shape(rewards)}, but the {len(env.tasks)} tasks "
            f"{env.tasks} need {wanted}; give one reward a task, in their order"
        )
    dtype = getattr(rewards, "dtype", type(rewards).__name__)
    if dtype != np.float32:
        raise EnvCheckError(
            f"{at}: info['task_rewards'] must be a float32 array, got {dtype}; use np.asarray(…, np.float32)"
        )
    if not np.isfinite(rewards).all():
        raise EnvCheckError(
            f"{at}: info['task_rewards'] is {rewards.tolist()}; a reward must be finite: look for a division by zero "
            "or a logarithm of zero in the task's reward"
        )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_equal, a, b))
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def check_handed_out(env: ParametricEnv, theta: Theta, seed: int) -> None:
    """What reset and step hand out must stay as it was, and so must what they are given.

    Raises:
        EnvCheckError: an array is overwritten later, or a given one is changed.
    """
    given = theta.copy()
    observation, info = env.reset(seed=seed, options={"theta": given})
    handed: list[tuple[str, Any, Any]] = []
    env.action_space.seed(seed)
    over = False
    for t in range(_KEPT + 1):
        at = f"step {t}" if t else "reset"
        handed += [(f"observation of {at}", observation, detached(observation))]
        handed += [(f"info[{key!r}] of {at}", value, detached(value)) for key, value in info.items()]
        if over or t == _KEPT:
            break
        action = env.action_space.sample()
        before = detached(action)
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        if not _untouched(action, before):
            raise EnvCheckError(f"step {t + 1} changes the action that it is given, in place; work on a copy of it")
    env.reset(seed=seed + 1, options={"theta": theta.copy()})
    if not _untouched(given, theta):
        raise EnvCheckError("the θ given to reset() is changed in place; work on a copy of it")
    for name, value, before in handed:
        if not _untouched(value, before):
            raise EnvCheckError(
                f"the {name} is overwritten later: the environment hands out an array and goes on using it, so whoever "
                "keeps it finds other numbers; return a copy (ParametricEnv.step does)"
            )


def _untouched(value: Any, before: Any) -> bool:
    """Whether all arrays in ``value`` are what they were, bit for bit."""
    pairs = zip(arrays_in(value), arrays_in(before), strict=True)
    return all(a.dtype == object or a.tobytes() == b.tobytes() for a, b in pairs)
