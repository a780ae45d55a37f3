"""What a family knows exactly, asked for in an evaluation: optional, so that its failure costs only these numbers.

Called by :mod:`waker.evaluation.game` (``optimal_return``, ``deterministic``), :mod:`waker.evaluation.model_error`
(``predict``), :mod:`waker.evaluation.planned` (``tabular``, ``beginnings``) and, before a training begins, by
:mod:`waker.evaluation.rehearsal`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from waker.collection.episode import Episode, fault_of
from waker.collection.family import Family
from waker.collection.make_env import close, made
from waker.errors import UserError
from waker.specs import BrokenPromise, EnvSpec
from waker_envs.foreign import Failed, foreign
from waker_envs.predictions import is_joint, prediction_shape
from waker_envs.tabular import Beginning, TabularMDP, table_fault

T = TypeVar("T")


class Exact:
    """Calls of a family's exact methods, in environments of its own: those of episodes may lie in other processes.

    A call that raises, or returns what it must not, has no answer and is counted. ``NotImplementedError`` is no
    failure: the method is not there, or not for this θ. A context manager: it closes its environments, and warns of
    what failed unless an exception passes through.

    Raises:
        UserError: from all methods: an environment cannot be made although it is that of training.
    """

    def __init__(self, family: Family) -> None:
        self._family, self._spec = family, family.spec
        self._envs: dict[str, Any] = {}  # by kind of episode; None = cannot be made
        self._calls: dict[str, int] = {}
        self._failures: dict[str, tuple[int, str]] = {}  # how many there were, and the first

    def optimal_return(self, task: str, episode: Episode) -> float:
        """The best expected return; NaN where the family cannot say."""
        if task not in self._spec.tasks:
            return np.nan
        value = self._ask("optimal_return", episode, [self._spec.label_of(task), episode.seed], _number)
        return np.nan if value is None else float(value)

    def optimum_of(self, task: str, compute: Callable[..., Any] | None, episode: Episode) -> float:
        """The best expected return in a task that the family does not have; NaN where nobody can say.

        Args:
            task: its name, for messages.
            compute: :data:`waker.replay.task.Optimum`; None = its author gave none.
        """
        if compute is None:
            return np.nan

        def method(env: Any) -> Callable[..., Any]:
            return functools.partial(compute, env)

        value = self._ask(f"optimal_return of task {task}", episode, [episode.seed], _number, method)
        return np.nan if value is None else float(value)

    def predict(
        self, episode: Episode, observation: Any, actions: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float64]]:
        """Exact distributions after the last of ``actions`` (k, A), for the keys that the family can predict.

        Joint and flat, (Π classes,), or the marginals of a large key, (V, widest).
        """
        taken = np.array([self._spec.action.to_env(action) for action in actions])
        read = functools.partial(_distributions, self._spec, steps=len(taken))
        return self._ask("predict", episode, [episode.seed, observation, taken], read) or {}

    def tabular(self, episode: Episode) -> TabularMDP | None:
        """The episode as a table; None where the family has none."""

        def read(table: Any) -> TabularMDP:
            space = self._envs[episode.kind].observation_space
            if fault := table_fault(table, space, self._spec.action.dim, len(self._spec.tasks)):
                raise BrokenPromise(fault)
            return cast(TabularMDP, table)

        return cast("TabularMDP | None", self._ask("tabular", episode, [episode.seed], read))

    def beginnings(self, episode: Episode) -> list[Beginning] | None:
        """All tables that episodes of this θ may have, with the chances of their starts; None where it cannot tell."""

        def read(given: Any) -> list[Beginning]:
            space, found = self._envs[episode.kind].observation_space, list(given)
            for begun in found:
                if fault := table_fault(begun.table, space, self._spec.action.dim, len(self._spec.tasks)):
                    raise BrokenPromise(fault)
                if np.shape(begun.chance) != (begun.table.size,) or (np.asarray(begun.chance) < 0).any():
                    raise BrokenPromise("the chances of a table must be a probability for each of its states")
            if abs(sum(float(np.sum(begun.chance)) for begun in found) - 1.0) > 1e-6:
                raise BrokenPromise("the chances of all its starts must sum to 1")
            return found

        return cast("list[Beginning] | None", self._ask("beginnings", episode, [], read))

    def deterministic(self, episode: Episode) -> bool:
        """Whether the family says that nothing in an episode of this θ is random once it has begun."""

        def read(given: Any) -> bool:
            if not isinstance(given, bool | np.bool_):
                raise BrokenPromise(f"it returned {' '.join(repr(given).split())[:100]} instead of True or False")
            return bool(given)

        return bool(self._ask("deterministic", episode, [], read))

    @property
    def failures(self) -> list[str]:
        """What failed, one line a method."""
        return [
            f"{self._spec.env_id}: {method} failed at {count:,} of {self._calls[method]:,} calls, whose numbers are "
            f"left out; the first was {first}"
            for method, (count, first) in self._failures.items()
        ]

    def close(self) -> None:
        """Close its environments."""
        for env in filter(None, self._envs.values()):
            close(env, self._spec.env_id)
        self._envs = {}

    def __enter__(self) -> Exact:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        for line in self.failures if kind is None else ():
            warnings.warn(line, Failed, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """What has been counted."""
        return {"calls": dict(self._calls), "failures": {k: list(v) for k, v in self._failures.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue counting."""
        self._calls = dict(state["calls"])
        self._failures = {k: (int(v[0]), str(v[1])) for k, v in state["failures"].items()}

    def _env(self, episode: Episode) -> Any:
        """The environment for episodes of this kind; None, with a warning, for a suite whose cannot be made."""
        if episode.kind not in self._envs:
            make, kwargs = functools.partial(self._family.make, **episode.env_kwargs), episode.env_kwargs
            self._envs[episode.kind] = unless_left_out(episode, lambda: made(make, self._spec.env_id, kwargs))
        return self._envs[episode.kind]

    def _ask(
        self,
        method: str,
        episode: Episode,
        more: Sequence[Any],
        read: Callable[[Any], Any],
        of: Callable[[Any], Callable[..., Any]] | None = None,
    ) -> Any:
        """The answer of ``method(θ, *more)`` as ``read`` checks it; None where there is none.

        Args:
            of: what is called, of the bare environment; None = its own method of that name.
        """
        if (env := self._env(episode)) is None:
            return None
        before = self._calls.get(method)
        shown = [repr(value) for value in (episode.theta.tolist(), *more) if isinstance(value, list | str | int)]
        call = f"{method}({', '.join(shown)}{', …' if len(shown) <= len(more) else ''})"
        try:
            with foreign(f"{self._spec.env_id}, {call}", _NoAnswer):
                if of is None and not hasattr(env.unwrapped, method):
                    return None
                self._calls[method] = self._calls.get(method, 0) + 1
                ask = getattr(env.unwrapped, method) if of is None else of(env.unwrapped)
                return read(ask(episode.theta.copy(), *more))
        except _NoAnswer as failure:
            if isinstance(failure.error, NotImplementedError):  # how an author says that there is none
                self._calls = {k: n for k, n in self._calls.items() if k != method}
                self._calls |= {} if before is None else {method: before}
                return None
            self._calls.setdefault(method, 1)  # to look whether there is such a method may fail, too
            count, first = self._failures.get(method, (0, f"{call}: {fault_of(failure.error)}"))
            self._failures[method] = (count + 1, first)
            return None


def unless_left_out(episode: Episode, make: Callable[[], T]) -> T | None:
    """What ``make`` makes of an episode's environments; None, with a warning, for a suite whose cannot be made.

    Raises:
        UserError: they cannot be made although they are those of training.
    """
    try:
        return make()
    except UserError as error:
        if not episode.env_kwargs:
            raise
        warnings.warn(f"suite {episode.suite!r} is left out: {error}", Failed, stacklevel=2)
        return None


class _NoAnswer(Exception):
    """An exact method failed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _number(value: Any) -> float:
    """A return; NaN where the family itself says that it does not know.

    Raises:
        BrokenPromise: no number, or an infinite one.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.size != 1 or np.isinf(array).any():
        raise BrokenPromise(f"it returned {' '.join(repr(value).split())[:100]} instead of a number")
    return float(array.reshape(-1)[0])


def _distributions(spec: EnvSpec, given: Any, steps: int) -> dict[str, NDArray[np.float64]]:
    """The last of ``steps`` distributions of each key, flat where it is a joint.

    Raises:
        BrokenPromise: another shape, or no distribution. Keys that are not categorical are left alone.
    """
    if not isinstance(given, Mapping):
        raise BrokenPromise(f"it returned a {type(given).__name__} instead of a mapping from observation key to arrays")
    keys = {key.label: key for key in spec.observation}
    found = {}
    for name, rows in given.items():
        key = keys.get(name)
        if key is None or not key.classes:
            continue
        array, shape = np.asarray(rows, np.float64), prediction_shape(key.classes)
        if array.shape[:1] != (steps,) or array[-1].size != np.prod(shape):
            raise BrokenPromise(f"its {name!r} has shape {array.shape} instead of {(steps, *shape)}")
        last = array[-1].reshape(-1 if is_joint(key.classes) else shape)
        sums = np.ravel(last.sum(-1))  # of the joint, or of each variable
        worst = sums[abs(sums - 1).argmax()]
        if not np.isfinite(last).all() or (last < 0).any() or abs(worst - 1) > 1e-4:
            raise BrokenPromise(f"its {name!r} is no distribution: from {last.min():g}, summing to {worst:g}")
        found[key.name] = last
    return found
