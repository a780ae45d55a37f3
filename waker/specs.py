"""What the learner knows of an environment: its observation keys, its action space, its tasks.

:func:`spec_of` reads them once from a ``ParametricEnv``; the replay, the collector and the world model are built
from the resulting :class:`EnvSpec` and never look at the environment again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.names import key_name, printable, task_name
from waker_envs.boards import Board, board_fault
from waker_envs.checked import check_names, shown

Kind = Literal["image", "vector", "categorical"]
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
        kind: ``image`` (uint8, height × width × channels), ``vector`` (floats) or ``categorical`` (integers).
        shape: of one observation, as the environment gives it.
        classes: for ``categorical``, the number of classes of each of the ``shape[0]`` variables.
        weight: the share of this key in the reconstruction loss (the environment's hint).
        given: what the environment calls it; None = the same (see :func:`waker.names.key_name`).
    """

    name: str
    kind: Kind
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
        return sum(self.classes) if self.kind == "categorical" else int(np.prod(self.shape))


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


def _one_line(space: gym.Space[Any]) -> str:
    return " ".join(str(space).split())  # arrays print over several lines


def _key(key: str, space: gym.Space[Any], weight: float) -> ObservationKey:
    name = key_name(key)
    found = _kind(key, name, space, weight)
    return found if name == key else replace(found, given=key)


def _kind(key: str, name: str, space: gym.Space[Any], weight: float) -> ObservationKey:
    if isinstance(space, gym.spaces.Box):
        if space.dtype == np.uint8 and len(space.shape) == 3:
            return ObservationKey(name, "image", space.shape, "uint8", weight=weight)
        return ObservationKey(name, "vector", space.shape, "float32", weight=weight)
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        classes = tuple(int(n) for n in space.nvec)
        dtype = "uint8" if max(classes) <= 256 else "int32"
        return ObservationKey(name, "categorical", (len(classes),), dtype, classes, weight)
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        dtype = "uint8" if space.n <= 256 else "int32"
        return ObservationKey(name, "categorical", (1,), dtype, (int(space.n),), weight)
    raise UserError(
        f"observation {printable(key)!r} is a {_one_line(space)}; the learner takes Box (uint8 H×W×C images or "
        "floats), MultiDiscrete and Discrete from 0, and a flat Dict of these"
    )


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
