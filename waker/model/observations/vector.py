"""Numbers of any shape: Gaussian, in symlog where the model says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.model.observations.api import ObservationKind
from waker.model.observations.image import Image
from waker.specs import BrokenPromise, ObservationKey

if TYPE_CHECKING:
    from torch import Tensor


class Vector(ObservationKind):
    """See :class:`ObservationKind`; float32 in the replay, whatever the environment has."""

    name, takes, dtypes = "vector", "Box of floats", "fiub"

    @classmethod
    def of_space(cls, name: str, space: gym.Space[Any], weight: float) -> ObservationKey | None:
        if isinstance(space, gym.spaces.Box) and Image.of_space(name, space, weight) is None:
            return ObservationKey(name, cls.name, space.shape, "float32", weight=weight)
        return None

    def checked(self, value: NDArray[Any]) -> NDArray[np.float32]:
        return finite(f"observation {self.key.label!r}", value)

    def synthetic(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        return rng.standard_normal((n, *self.key.shape)).astype(self.key.dtype)

    def entries(self, value: Tensor) -> Tensor:
        from waker.model.distributions import symlog

        shape = self.key.shape
        flat = value.float().flatten(value.dim() - len(shape)) if shape else value.float().unsqueeze(-1)
        return symlog(flat) if self.symlog else flat

    def nll(self, output: Tensor, value: Tensor) -> Tensor:
        from waker.model.distributions import gaussian_nll

        return gaussian_nll(output, self.entries(value)).sum(-1)

    def predicted(self, output: Tensor) -> Tensor:
        """In its own units, (…, size)."""
        from waker.model.distributions import symexp

        return symexp(output) if self.symlog else output


def finite(what: str, value: NDArray[Any]) -> NDArray[np.float32]:
    """A copy in float32, the precision of replay and learner.

    Raises:
        BrokenPromise: a number is not finite, or lies beyond what float32 holds.
    """
    if value.dtype == np.float32:
        array = value.copy()
    else:
        with np.errstate(over="ignore"):
            array = value.astype(np.float32)
    if not np.isfinite(array).all():
        at = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        place = f"[{', '.join(map(str, at))}]" if at else ""
        beyond = ", and float32 holds no more than 3.4e38" if np.isfinite(value[at]) else ""
        raise BrokenPromise(f"{what} is not finite: {what.split()[-1]}{place} is {value[at]}{beyond}")
    return array
