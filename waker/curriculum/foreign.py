"""A curriculum that somebody else wrote, with every call of it guarded: see :mod:`waker_envs.foreign`.

What they return is checked, too: a table that no report can read, or a state that no checkpoint can hold, would be told
hours later, by somebody else's code. :func:`waker.curriculum.registry.make_curriculum` asks for each once.

Made by :func:`waker.curriculum.registry.make_curriculum` around samplers that are not this package's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import (
    Columns,
    Curriculum,
    Evident,
    Floats,
    Informed,
    Staging,
    State,
    Thetas,
    Wanted,
    stages,
)
from waker.curriculum.evidence import NOTHING, EpisodeEvidence, Evidence, Needs
from waker.errors import UserError
from waker.names import theta_column
from waker.torch_globals import torch_unchanged
from waker_envs.api import ThetaSpace
from waker_envs.checked import as_numbers, shown
from waker_envs.foreign import foreign, reason_of

_SUM = 1e-4
"""What float32 may leave of a sum of probabilities beside 1."""
_SAVED = tuple(map(np.dtype, ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")))
"""The types of array that torch has, too."""


class ForeignCurriculum:
    """A :class:`~waker.curriculum.api.Curriculum` that calls another one.

    Args:
        name: of the sampler.
        inner: the curriculum.
        space: its θ space.

    Raises:
        UserError: from every method: the sampler raised, or returned what it must not.
    """

    def __init__(self, name: str, inner: Curriculum, space: ThetaSpace) -> None:
        self._name, self._inner, self._space = name, inner, space
        self._sampled = 0  # episodes of the last sample

    @classmethod
    def made(cls, name: str, space: ThetaSpace, make: Callable[[], Curriculum]) -> ForeignCurriculum:
        """Around what ``make`` makes."""
        with _guard(name, "its constructor"):
            made = cls(name, make(), space)
        made.probabilities()
        made.estimates()
        made.table()
        made.state_dict()
        _ = made.wanted, made.needs
        return made

    def sample(self, n: int) -> Thetas:
        """The θ that the sampler gives, as :class:`Thetas` or as points (n, D) alone; ids are looked up."""
        with _guard(self._name, f"sample({n})"):
            given = self._inner.sample(n)
            thetas = np.array(given.points if isinstance(given, Thetas) else given, np.float64)
        if thetas.shape != (n, self._space.dim) or not np.isfinite(thetas).all():
            what = f"of shape {thetas.shape}" if thetas.shape != (n, self._space.dim) else "that are not finite"
            raise UserError(
                f"sampler {self._name!r} gave θ {what} where sample({n}) must give ({n}, {self._space.dim})"
            )
        self._sampled = n
        if self._space.size is None and isinstance(given, Thetas):
            return Thetas(np.array(given.ids, np.int64), thetas)  # numbers of its own, if any
        ids = np.array([self._space.index(theta) for theta in thetas], np.int64)
        if isinstance(given, Thetas) and not np.array_equal(given.ids, ids):
            raise self._wrong(f"sample({n})", f"ids {shown(given.ids)}", f"those of its points, {ids.tolist()}")
        return Thetas(ids, thetas)

    def observe(self, theta_id: NDArray[np.integer[Any]], error: NDArray[np.floating[Any]], step: int) -> None:
        with _guard(self._name, f"observe(…, step={step})"):
            self._inner.observe(theta_id, error, step)

    def episode_done(self, theta: Floats, theta_id: int, stats: Mapping[str, float]) -> None:
        with _guard(self._name, f"episode_done({theta.tolist()}, {theta_id}, …)"):
            self._inner.episode_done(theta, theta_id, stats)

    @property
    def wanted(self) -> Wanted | None:
        """Nothing where the sampler is not :class:`~waker.curriculum.api.Informed`."""
        with _guard(self._name, "wanted"):
            wanted = self._inner.wanted if isinstance(self._inner, Informed) else None
        if wanted is not None and not isinstance(wanted, Wanted):
            raise self._wrong("wanted", shown(wanted), "a waker.curriculum.Wanted, or None")
        return wanted

    def measured(self, values: Floats, step: int) -> None:
        with _guard(self._name, f"measured(…, step={step})"):
            assert isinstance(self._inner, Informed), "who asks for nothing is told nothing"
            self._inner.measured(values, step)

    @property
    def needs(self) -> Needs:
        """Nothing where the sampler is not :class:`~waker.curriculum.api.Evident`."""
        with _guard(self._name, "needs"):
            needs: Any = self._inner.needs if isinstance(self._inner, Evident) else None
        if needs is None:
            return NOTHING
        if not isinstance(needs, Needs):
            raise self._wrong("needs", shown(needs), "a waker.curriculum.Needs, or None")
        return needs

    def learn(self, evidence: Evidence) -> None:
        with _guard(self._name, f"learn(…) at step {evidence.step}"):
            assert isinstance(self._inner, Evident), "who asks for nothing is told nothing"
            self._inner.learn(evidence)

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        with _guard(self._name, f"learn_episode(…) at step {evidence.step}"):
            assert isinstance(self._inner, Evident), "who asks for nothing is told nothing"
            self._inner.learn_episode(evidence)

    @property
    def stages(self) -> bool:
        """Whether the sampler is :class:`~waker.curriculum.api.Staging`."""
        return stages(self._inner)

    @property
    def staged(self) -> NDArray[np.bool_]:
        """Nothing is staged where the sampler is not :class:`~waker.curriculum.api.Staging`."""
        with _guard(self._name, "staged"):
            staged = self._inner.staged if isinstance(self._inner, Staging) else np.zeros(self._sampled, np.bool_)
        if np.shape(staged) != (self._sampled,):
            raise self._wrong("staged", f"shape {np.shape(staged)}", f"({self._sampled},), as its last sample has")
        return np.asarray(staged, np.bool_)

    def probabilities(self) -> Floats | None:
        with _guard(self._name, "probabilities()"):
            given = self._inner.probabilities()
        values = self._one_a_theta("probabilities()", given)
        if values is None:
            return None
        if not np.isfinite(values).all() or (values < 0).any() or abs(values.sum() - 1.0) > _SUM:
            raise self._wrong(
                "probabilities()",
                f"numbers from {values.min():g} to {values.max():g} that sum to {values.sum():g}",
                "probabilities, which are ≥ 0 and sum to 1",
            )
        return values

    def estimates(self) -> Floats | None:
        with _guard(self._name, "estimates()"):
            given = self._inner.estimates()
        return self._one_a_theta("estimates()", given)

    def table(self) -> Columns:
        with _guard(self._name, "table()"):
            table = self._inner.table()
            columns = {name: np.asarray(column) for name, column in table.items()}
        if columns:
            self._check_columns(columns)
        return columns

    def _check_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Refuse a table that readers would fail on."""
        numbers = (*map(theta_column, self._space.names), "probability", "estimate")
        needed = ("theta_id", *numbers)
        if missing := [name for name in needed if name not in columns]:
            raise self._wrong("table()", f"no column {missing[0]!r}", f"{', '.join(needed)}, or no column at all")
        ids, size = columns["theta_id"], self._space.size
        rows = len(ids) if ids.ndim else 0
        for name, column in columns.items():
            if column.shape != (rows,):
                raise self._wrong("table()", f"column {name!r} of shape {column.shape}", f"({rows},), as theta_id has")
        if ids.dtype.kind not in "iu" or (size is not None and not np.array_equal(ids, np.arange(size))):
            all_ids = "integers" if size is None else f"each of 0 … {size - 1} in this order"
            raise self._wrong("table()", f"theta_id {shown(ids.tolist())}", all_ids)
        for name in numbers:
            if columns[name].dtype.kind not in "iuf":
                raise self._wrong("table()", f"column {name!r} of dtype {columns[name].dtype}", "numbers")

    def state_dict(self) -> State:
        with _guard(self._name, "state_dict()"):
            state = self._inner.state_dict()
        if not isinstance(state, Mapping):
            raise self._wrong("state_dict()", f"a {type(state).__name__}", "a dict")
        with _guard(self._name, "state_dict()"):
            unsaved = _cannot_be_saved(state)
        if unsaved is not None:
            raise self._wrong("state_dict()", unsaved, "arrays, texts, numbers and dicts or lists of these")
        return dict(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with _guard(self._name, "load_state_dict(…)"):
            self._inner.load_state_dict(state)

    def _one_a_theta(self, call: str, given: Any) -> Floats | None:
        """One number a θ, (M,), or None for a continuous space."""
        if given is None and self._space.size is None:
            return None
        values = as_numbers(given)
        wanted = () if self._space.size is None else (self._space.size,)
        if values is None or (values.shape != wanted and self._space.size is not None) or values.ndim != 1:
            gave = shown(given) if values is None else f"an array of shape {values.shape}"
            raise self._wrong(
                call, gave, "None" if self._space.size is None else f"one number for each of {self._space.size} θ"
            )
        return values

    def _wrong(self, call: str, gave: str, wanted: str) -> UserError:
        return UserError(f"sampler {self._name!r} gave in {call} {gave} where it must give {wanted}")


def _cannot_be_saved(value: Any, where: str = "") -> str | None:
    """What in a state is of a type that a checkpoint would not load again; None if nothing is."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if type(key) not in (str, int):
                return f"a key {shown(key)} of type {type(key).__name__}"
            if found := _cannot_be_saved(entry, f" under {where.removeprefix(' under ')}[{key!r}]"):
                return found
        return None
    if isinstance(value, list | tuple):
        return next(filter(None, (_cannot_be_saved(entry, where) for entry in value)), None)
    if isinstance(value, np.ndarray | np.generic):
        return None if value.dtype in _SAVED and value.dtype.isnative else f"an array of {value.dtype}{where}"
    if value is None or type(value) in (str, int, float, bool) or _is_tensor(value):
        return None
    return f"a {type(value).__name__}{where}"


def _is_tensor(value: Any) -> bool:
    """Whether it is one of torch's, which this package does without."""
    return (type(value).__module__, type(value).__name__) == ("torch", "Tensor")


@contextmanager
def _guard(name: str, call: str) -> Iterator[None]:
    def failed(error: BaseException) -> UserError:
        return UserError(f"sampler {name!r} failed in {call}: {reason_of(error)}")

    method = call.partition("(")[0]  # a change is told once a method
    with torch_unchanged(f"sampler {name!r}, {method},"), foreign(f"sampler {name!r}, {call}", failed, (UserError,)):
        yield
