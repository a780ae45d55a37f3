"""One environment slot: an environment, its episode under way, and what is needed to rebuild it.

Used by :mod:`waker.collection.slot_group`, in this process or in workers. An episode is fixed by (seed, θ) and its
actions, so a slot is saved as these three and rebuilt by playing them again: environments cannot be pickled in
general, and loading runs nobody's pickles. Everything an environment returns is checked here, once, before it can
reach the replay.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.model.observations import kind_of
from waker.specs import BrokenPromise, EnvSpec, ObservationKey, completion_of
from waker.torch_globals import torch_unchanged
from waker_envs.foreign import Told, foreign, reason_of

MakeEnv = Callable[[], gym.Env[Any, Any]]


class EnvironmentFailed(UserError):
    """An environment raised, or returned what it must not.

    Attributes:
        report: ``env``, ``theta`` (list), ``seed``, ``actions`` (lists, as the environment got them; the last one
            failed, none if the reset did), ``reason`` and ``traceback``: enough to reproduce it.
    """

    def __init__(self, report: dict[str, Any], saved: Path | None = None) -> None:
        self.report, self.saved = report, saved
        steps = len(report["actions"])
        where = f"at step {steps}" if steps else "at reset"
        again = f"its {steps} actions" if steps else "no action"
        file = f", kept in {saved}" if saved else ""
        super().__init__(
            f"environment {report['env']} failed {where} of an episode: {report['reason']}; "
            f"reproduce it with reset(seed={report['seed']}, options={{'theta': {report['theta']}}}) and {again}{file}"
        )

    def __reduce__(self) -> tuple[type[EnvironmentFailed], tuple[dict[str, Any], Path | None]]:
        """Exceptions are pickled as their message, which this one is not made from."""
        return EnvironmentFailed, (self.report, self.saved)


class Step(NamedTuple):
    """A checked step: observation by key, task rewards (K,), both ends, and ``completion`` (K,), None at a reset.

    ``cut``: truncated here, as the environment had not ended it within :attr:`~waker.specs.EnvSpec.longest` steps.
    """

    observation: dict[str, NDArray[Any]]
    rewards: NDArray[np.float32]
    terminated: bool = False
    truncated: bool = False
    completion: NDArray[np.float64] | None = None
    cut: bool = False


@dataclass
class Episode:
    """A slot's episode under way: all that is needed to play it again, and what it has earned.

    Attributes:
        theta, theta_id, seed: of its reset; empty and −1 before the first.
        actions: the agent's vectors (A,) since the reset.
        returns: sums of the tasks' rewards, (K,).
    """

    spec: EnvSpec
    theta: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    theta_id: int = -1
    seed: int = -1
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    returns: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def begin(self, theta: NDArray[np.float64], theta_id: int, seed: int) -> None:
        """A new episode, of (seed, θ)."""
        self.theta, self.theta_id, self.seed = np.array(theta), theta_id, seed
        self.actions = []
        self.returns = np.zeros(len(self.spec.tasks))

    def state_dict(self) -> dict[str, Any]:
        """θ, its id, the episode's seed and the actions (length, A)."""
        actions = np.array(self.actions, np.float32).reshape(len(self.actions), self.spec.action.dim)
        return {"theta": self.theta, "theta_id": self.theta_id, "seed": self.seed, "actions": actions}

    def what(self) -> str:
        """The call under way, for whoever waits for it."""
        steps = len(self.actions)
        where = f"step {steps}" if steps else "the reset"
        return f"{where} of {self.spec.env_id}, an episode of seed {self.seed}, θ = {self.theta.tolist()}"

    def failed(self, reason: str, trace: str) -> EnvironmentFailed:
        """The error that its environment failed at the newest action, or at the reset if there is none."""
        return EnvironmentFailed(
            {
                "env": self.spec.env_id,
                "theta": self.theta.tolist(),
                "seed": self.seed,
                "actions": [np.asarray(self.spec.action.to_env(a)).tolist() for a in self.actions],
                "reason": reason,
                "traceback": trace,
            }
        )


class Slot:
    """An environment and its episode.

    Raises:
        EnvironmentFailed: from all methods but the constructor: the environment raised or broke its promises.
    """

    def __init__(self, env: gym.Env[Any, Any], spec: EnvSpec) -> None:
        self.env, self.spec = env, spec
        self.episode = Episode(spec)
        self._foreign = foreign(self.episode.what, self._failed)

    def _failed(self, error: BaseException) -> EnvironmentFailed:
        """Whatever somebody else's code raises is reported with what reproduces it."""
        return self.episode.failed(fault_of(error), trace_of(error))

    def reset(self, theta: NDArray[np.float64], theta_id: int, seed: int) -> Step:
        """Begin the episode of (seed, θ)."""
        self.episode.begin(theta, theta_id, seed)
        with torch_unchanged(f"a reset of {self.spec.env_id}"), self._foreign:
            observation, _ = self.env.reset(seed=seed, options={"theta": theta.copy()})
            return Step(checked_observation(self.spec, observation), np.zeros(len(self.spec.tasks), np.float32))

    def step(self, action: NDArray[np.float32]) -> Step:
        """Make one step with the agent's vector (A,)."""
        self.episode.actions.append(action.copy())
        first = len(self.episode.actions) == 1
        with torch_unchanged(f"a step of {self.spec.env_id}", whole=first), self._foreign:
            observation, _, terminated, truncated, info = self.env.step(self.spec.action.to_env(action))
            rewards = checked_rewards(self.spec, info)
            self.episode.returns += rewards
            completion = completion_of(info, self.spec.task_labels)
            cut = not (terminated or truncated) and len(self.episode.actions) >= self.spec.longest > 0
            return Step(
                checked_observation(self.spec, observation),
                rewards,
                bool(terminated),
                bool(truncated) or cut,
                completion,
                cut,
            )

    def rebuild(self, state: Mapping[str, Any]) -> Step:
        """Play a saved episode (:meth:`Episode.state_dict`) again up to where it was; its last step."""
        step = self.reset(np.asarray(state["theta"], np.float64), int(state["theta_id"]), int(state["seed"]))
        for action in state["actions"]:
            step = self.step(action)
        return step


def tell_cut(spec: EnvSpec, seed: int, theta: NDArray[np.float64]) -> None:
    """Warn that an episode without an end was cut."""
    warnings.warn(
        f"{spec.env_id} has episodes that do not end: that of seed {seed}, θ = {theta.tolist()} was cut after "
        f"{spec.longest:,} steps, as all such are (longest_episode)",
        Told,
        stacklevel=2,
    )


def fault_of(error: BaseException) -> str:
    """What went wrong in an environment, in one line."""
    return " ".join(str(error).split()) if isinstance(error, BrokenPromise) else reason_of(error)


def trace_of(error: BaseException) -> str:
    """Where it went wrong, on many lines, for a report."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 — an exception that cannot be shown is foreign code, too
        return ""


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
