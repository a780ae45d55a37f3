"""What a family knows exactly, asked for in an evaluation: optional, so that its failure costs these numbers alone.

Called by :mod:`waker.evaluation.rollouts` (``optimal_return``, ``deterministic``), :mod:`waker.evaluation.model_error`
(``predict``), :mod:`waker.evaluation.planned` (``tabular``) and, before a training begins, by
:mod:`waker.evaluation.rehearsal`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from waker.collection.slot import fault_of
from waker.evaluation.plan import Episode
from waker.specs import BrokenPromise, EnvSpec
from waker_envs.foreign import Failed, foreign
from waker_envs.predictions import is_joint, prediction_shape
from waker_envs.tabular import TabularMDP, table_fault


class Exact:
    """Calls of a family's exact methods. One that raises, or returns what it must not, is counted and told in the end.

    ``NotImplementedError`` is no failure: the method is not there, or not for this θ.

    Args:
        spec: of the family.
    """

    def __init__(self, spec: EnvSpec) -> None:
        self._spec = spec
        self._calls: dict[str, int] = {}
        self._failures: dict[str, tuple[int, str]] = {}  # how many there were, and the first

    def optimal_return(self, env: Any, task: str, episode: Episode) -> float:
        """The best expected return; NaN where the family cannot say."""
        own = self._spec.label_of(task) if task in self._spec.tasks else None  # what the environment calls it
        call = f"optimal_return({episode.theta.tolist()}, {own!r}, {episode.seed})"

        def ask() -> float:
            if own is None or not hasattr(env.unwrapped, "optimal_return"):
                return np.nan
            self._count("optimal_return")
            return _number(env.unwrapped.optimal_return(episode.theta.copy(), own, episode.seed))

        value = self._asked("optimal_return", call, ask)
        return np.nan if value is None else float(value)

    def predict(
        self, env: Any, episode: Episode, observation: Any, actions: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float64]]:
        """Exact distributions after the last of ``actions`` (k, A), for the keys that the family can predict.

        Joint and flat, (Π classes,), or the marginals of a large key, (V, widest).
        """
        call = f"predict({episode.theta.tolist()}, {episode.seed}, …)"

        def ask() -> dict[str, NDArray[np.float64]]:
            if not hasattr(env.unwrapped, "predict"):
                return {}
            self._count("predict")
            taken = np.array([self._spec.action.to_env(action) for action in actions])
            given = env.unwrapped.predict(episode.theta.copy(), episode.seed, observation, taken)
            return _distributions(self._spec, given, len(taken))

        return self._asked("predict", call, ask) or {}

    def has_tables(self, env: Any) -> bool:
        """Whether the family offers tables at all."""
        return bool(self._asked("tabular", "tabular", lambda: hasattr(env.unwrapped, "tabular")))

    def tabular(self, env: Any, episode: Episode) -> TabularMDP | None:
        """The episode as a table; None where the family has none."""

        def ask() -> TabularMDP | None:
            if not hasattr(env.unwrapped, "tabular"):
                return None
            self._count("tabular")
            table = env.unwrapped.tabular(episode.theta.copy(), episode.seed)
            fault = table_fault(table, env.observation_space, self._spec.action.dim, len(self._spec.tasks))
            if fault is not None:
                raise BrokenPromise(fault)
            return cast(TabularMDP, table)

        found = self._asked("tabular", f"tabular({episode.theta.tolist()}, {episode.seed})", ask)
        return cast("TabularMDP | None", found)

    def deterministic(self, env: Any, episode: Episode) -> bool:
        """Whether the family says that nothing in an episode of this θ is random once it has begun."""

        def ask() -> bool:
            if not hasattr(env.unwrapped, "deterministic"):
                return False
            self._count("deterministic")
            given = env.unwrapped.deterministic(episode.theta.copy())
            if not isinstance(given, bool | np.bool_):
                raise BrokenPromise(f"it returned {' '.join(repr(given).split())[:100]} instead of True or False")
            return bool(given)

        return bool(self._asked("deterministic", f"deterministic({episode.theta.tolist()})", ask))

    def tell(self) -> None:
        """Warn of what failed, one line a method."""
        for line in self.failures:
            warnings.warn(line, Failed, stacklevel=2)

    @property
    def failures(self) -> list[str]:
        """What failed, one line a method."""
        return [
            f"{self._spec.env_id}: {method} failed at {count:,} of {self._calls[method]:,} calls, whose numbers are "
            f"left out; the first was {first}"
            for method, (count, first) in self._failures.items()
        ]

    def state_dict(self) -> dict[str, Any]:
        """What has been counted."""
        return {"calls": dict(self._calls), "failures": {k: list(v) for k, v in self._failures.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._calls = dict(state["calls"])
        self._failures = {k: (int(v[0]), str(v[1])) for k, v in state["failures"].items()}

    def _count(self, method: str) -> None:
        self._calls[method] = self._calls.get(method, 0) + 1

    def _asked(self, method: str, call: str, ask: Callable[[], Any]) -> Any:
        before = self._calls.get(method)
        try:
            with foreign(f"{self._spec.env_id}, {call}", _NoAnswer):
                return ask()
        except _NoAnswer as failure:
            if isinstance(failure.error, NotImplementedError):  # how an author says that there is none
                self._calls = {k: n for k, n in self._calls.items() if k != method}
                self._calls |= {} if before is None else {method: before}
                return None
            self._calls.setdefault(method, 1)  # to look whether there is such a method may fail, too
            count, first = self._failures.get(method, (0, f"{call}: {fault_of(failure.error)}"))
            self._failures[method] = (count + 1, first)
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
