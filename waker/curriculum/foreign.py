"""A curriculum that somebody else wrote, with every call of it guarded: see :mod:`waker_envs.foreign`.

Made by :func:`waker.curriculum.registry.make_curriculum` around samplers that are not this package's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Columns, Curriculum, Floats, State
from waker.errors import UserError
from waker_envs.api import ThetaSpace
from waker_envs.foreign import foreign, reason_of


class ForeignCurriculum:
    """A :class:`~waker.curriculum.api.Curriculum` that calls another one.

    Args:
        name: of the sampler.
        inner: the curriculum.
        space: its θ space.

    Raises:
        UserError: from every method: the sampler raised, or returned θ of another shape.
    """

    def __init__(self, name: str, inner: Curriculum, space: ThetaSpace) -> None:
        self._name, self._inner, self._dim = name, inner, space.dim

    @classmethod
    def made(cls, name: str, space: ThetaSpace, make: Callable[[], Curriculum]) -> ForeignCurriculum:
        """Around what ``make`` makes."""
        with _guard(name, "its constructor"):
            return cls(name, make(), space)

    def sample(self, n: int) -> Floats:
        with _guard(self._name, f"sample({n})"):
            thetas = np.asarray(self._inner.sample(n), np.float64)
        if thetas.shape != (n, self._dim) or not np.isfinite(thetas).all():
            what = f"of shape {thetas.shape}" if thetas.shape != (n, self._dim) else "that are not finite"
            raise UserError(f"sampler {self._name!r} gave θ {what} where sample({n}) must give ({n}, {self._dim})")
        return thetas

    def observe(self, theta_id: NDArray[np.integer[Any]], error: NDArray[np.floating[Any]], step: int) -> None:
        with _guard(self._name, f"observe(…, step={step})"):
            self._inner.observe(theta_id, error, step)

    def episode_done(self, theta: Floats, theta_id: int, stats: Mapping[str, float]) -> None:
        with _guard(self._name, f"episode_done({theta.tolist()}, {theta_id}, …)"):
            self._inner.episode_done(theta, theta_id, stats)

    def probabilities(self) -> Floats | None:
        with _guard(self._name, "probabilities()"):
            return self._inner.probabilities()

    def estimates(self) -> Floats | None:
        with _guard(self._name, "estimates()"):
            return self._inner.estimates()

    def table(self) -> Columns:
        with _guard(self._name, "table()"):
            return self._inner.table()

    def state_dict(self) -> State:
        with _guard(self._name, "state_dict()"):
            return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with _guard(self._name, "load_state_dict(…)"):
            self._inner.load_state_dict(state)


def _guard(name: str, call: str) -> foreign:
    def failed(error: BaseException) -> UserError:
        return UserError(f"sampler {name!r} failed in {call}: {reason_of(error)}")

    return foreign(f"sampler {name!r}, {call}", failed, (UserError,))
