"""V categorical variables, each with its own number of classes: one-hot in, logits out."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.model.observations.api import ObservationKind
from waker.specs import BrokenPromise, ObservationKey

if TYPE_CHECKING:
    from torch import Tensor

    from waker.model.categorical import CategoricalLayout


class Categorical(ObservationKind):
    """See :class:`ObservationKind`; outputs are flat logits (…, Σ classes)."""

    name, takes, dtypes = "categorical", "MultiDiscrete and Discrete from 0", "iu"

    @classmethod
    def of_space(cls, name: str, space: gym.Space[Any], weight: float) -> ObservationKey | None:
        if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
            classes = tuple(int(n) for n in space.nvec)
        elif isinstance(space, gym.spaces.Discrete) and space.start == 0:
            classes = (int(space.n),)
        else:
            return None
        dtype = "uint8" if max(classes) <= 256 else "int32"
        return ObservationKey(name, cls.name, (len(classes),), dtype, classes, weight)

    def checked(self, value: NDArray[Any]) -> NDArray[Any]:
        key, flat = self.key, value.reshape(-1)
        if (flat < 0).any() or (flat >= key.classes).any():
            at = int(np.flatnonzero((flat < 0) | (flat >= key.classes))[0])
            raise BrokenPromise(f"observation {key.label!r}[{at}] is {flat[at]}, of {key.classes[at]} classes")
        return value.reshape(key.shape).astype(key.dtype)

    def synthetic(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        columns = [rng.integers(classes, size=n) for classes in self.key.classes]
        return np.stack(columns, -1).astype(self.key.dtype)

    @cached_property
    def layout(self) -> CategoricalLayout:
        """Index tables."""
        from waker.model.categorical import CategoricalLayout

        return CategoricalLayout(self.key.classes)

    def tables(self) -> CategoricalLayout:
        return self.layout

    def entries(self, value: Tensor) -> Tensor:
        return self.layout.onehot(value)

    def nll(self, output: Tensor, value: Tensor) -> Tensor:
        return self.layout.nll(output, value.expand(*output.shape[:-1], value.shape[-1]))

    def predicted(self, output: Tensor) -> Tensor:
        """Probabilities (…, V, widest)."""
        return self.layout.log_probabilities(output).exp()

    def seen_dim(self) -> int:
        variables, widest = self.layout.shape
        return variables * widest

    def seen(self, output: Tensor) -> Tensor:
        return self.predicted(output).flatten(-2)

    def disagreement(self, prediction: Tensor) -> Tensor:
        """The Jensen–Shannon divergence in nats, summed over variables."""
        from waker.model.distributions import jensen_shannon

        log_probs = self.layout.by_class(prediction).log_softmax(1)  # (V, widest, E·n)
        return jensen_shannon(log_probs.unflatten(-1, prediction.shape[:2]), members=2).sum((0, 1))
