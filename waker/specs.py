"""What the learner knows of an environment: its observation keys, its action space, its tasks.

:mod:`waker.collection.spec_of` reads them once from a ``ParametricEnv``; the replay, the collector and the world model
are built from the resulting :class:`EnvSpec` and never look at the environment again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.boards import Board
from waker_envs.checked import shown

LONGEST = 5_000
"""Steps after which an episode is taken to have no end; our environment checker takes the same."""
_ROUNDING = 1e-6
"""What float32 may put a share beyond 1."""


class BrokenPromise(Exception):
    """What an environment returned is not what it promised."""


@dataclass(frozen=True)
class ObservationKey:
    """One entry of the observation.

    Attributes:
        name: what it is called in the replay and the networks.
        kind: ``image``, ``vector``, ``categorical`` (see :mod:`waker.model.observations`).
        shape: of one observation, as the environment gives it.
        classes: for ``categorical``, the number of classes of each of the ``shape[0]`` variables.
        weight: the share of this key in the reconstruction loss (the environment's hint).
        given: what the environment calls it; None = the same (see :func:`waker.names.key_name`).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[int, ...] = ()
    weight: float = 1.0
    given: str | None = None

    @property
    def label(self) -> str:
        """What the environment calls it."""
        return self.name if self.given is None else self.given

    @property
    def size(self) -> int:
        """The length of the flat encoding: one-hot for categorical variables."""
        return sum(self.classes) if self.classes else int(np.prod(self.shape))


@dataclass(frozen=True)
class ActionSpec:
    """Actions are vectors (A,): a one-hot for discrete spaces, values in [−1, 1] for continuous ones.

    Attributes:
        low, high: the bounds of a continuous space.
        dtype: of its actions. Of integers, each takes an equal share of [−1, 1].
    """

    dim: int
    discrete: bool
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dtype: str = "float32"

    def to_env(self, vector: NDArray[np.float32]) -> Any:
        """The environment's action for an agent's vector (A,)."""
        if self.discrete:
            return int(vector.argmax())
        if self.dtype != "float32":
            return self._in_doubles(vector)
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        scaled = low + (np.clip(vector, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
        return np.clip(scaled, low, high).astype(np.float32)  # rounding may have stepped over a bound

    def _in_doubles(self, vector: NDArray[np.float32]) -> NDArray[Any]:
        """:meth:`to_env` for other dtypes: bounds that float32 cannot hold, and integers."""
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        share = (np.clip(vector.astype(np.float64), -1.0, 1.0) + 1.0) * 0.5
        dtype = np.dtype(self.dtype)
        if dtype.kind != "f":
            return np.clip(np.floor(low + share * (high - low + 1.0)), low, high).astype(dtype)
        return np.clip((low + share * (high - low)).astype(dtype), low.astype(dtype), high.astype(dtype))

    def random(self, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
        """n uniform actions as vectors, (n, A)."""
        if self.discrete:
            return np.eye(self.dim, dtype=np.float32)[rng.integers(self.dim, size=n)]
        return rng.uniform(-1.0, 1.0, (n, self.dim)).astype(np.float32)


@dataclass(frozen=True)
class EnvSpec:
    """Everything of an environment that shapes the learner's arrays.

    Attributes:
        tasks: what they are called here: in rows, among the members of a stack, on the command line.
        task_groups: the domain of each task, in a family of several; None = every task exists for every θ.
        longest: steps after which an episode that has not ended is cut, in training and in evaluations; 0 = never.
        board: the keys that show a board, by their names in :attr:`observation`; None = there is none.
        given_tasks: what the environment calls them; None = the same (see :func:`waker.names.task_name`).
    """

    env_id: str
    observation: tuple[ObservationKey, ...]
    action: ActionSpec
    tasks: tuple[str, ...]
    task_groups: tuple[int, ...] | None = None
    longest: int = LONGEST
    given_tasks: tuple[str, ...] | None = None
    board: Board | None = None

    @property
    def task_labels(self) -> tuple[str, ...]:
        """What the environment calls its tasks, in their order."""
        return self.tasks if self.given_tasks is None else self.given_tasks

    def label_of(self, task: str) -> str:
        """What the environment calls one of :attr:`tasks`."""
        return self.task_labels[self.tasks.index(task)]

    def domain_of(self, task: str) -> int | None:
        """The one domain a task exists in; None = all of them (so also for a task defined outside the environment)."""
        if self.task_groups is None or task not in self.tasks:
            return None
        return self.task_groups[self.tasks.index(task)]

    def split(self, observation: Any) -> dict[str, NDArray[Any]]:
        """An environment's observation as a dict by key; a space that is not a Dict has the one key of its kind."""
        if len(self.observation) == 1 and not isinstance(observation, Mapping):
            key = self.observation[0]
            return {key.name: np.asarray(observation, key.dtype).reshape(key.shape)}
        return {k.name: np.asarray(observation[k.label], k.dtype).reshape(k.shape) for k in self.observation}

    def labelled(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Arrays by key as the environment's author knows them: its own keys, and copies that may be written to."""
        return {k.label: np.array(observation[k.name]) for k in self.observation}


def completion_of(info: Mapping[str, Any], tasks: tuple[str, ...]) -> NDArray[np.float64]:
    """How far each task is done at this step, (K,) in [0, 1]; NaN where the environment reports none.

    ``info["completion"]`` may be one number, the same for every task, or one a task, as an array or by name: a
    reward-free episode is scored for all of them.

    Raises:
        BrokenPromise: no number or one a task, or a number outside [0, 1] by more than a rounding.
    """
    given = info.get("completion", np.nan)
    try:
        if isinstance(given, Mapping):
            values = np.array([given.get(task, np.nan) for task in tasks], np.float64)
        else:
            values = np.broadcast_to(np.asarray(given, np.float64), (len(tasks),)).copy()
    except (ValueError, TypeError, RuntimeError) as error:  # another shape, or no numbers
        raise BrokenPromise(
            f"info['completion'] is {shown(given)} where one number in [0, 1], or one for each of the {len(tasks)} "
            "tasks, may be"
        ) from error
    if "completion" in info and (outside := (values < -_ROUNDING) | (values > 1.0 + _ROUNDING)).any():
        k = int(outside.argmax())  # a comparison with NaN, which stands for none, is false
        raise BrokenPromise(f"info['completion'] of {tasks[k]!r} is {values[k]:g}, outside [0, 1]")
    return values
