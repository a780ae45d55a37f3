"""Pictures: uint8 (height, width, channels), by convolutions; Gaussian in [−0.5, 0.5]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.model.observations.api import ObservationKind
from waker.specs import BrokenPromise, ObservationKey

if TYPE_CHECKING:
    from torch import Tensor

    from waker.config.schema import ModelConfig
    from waker.model.pictures import ImageDecoder, ImageEncoder


class Image(ObservationKind):
    """See :class:`ObservationKind`; entries of the shared MLP it has none, and policies do not see it."""

    name, takes, dtypes = "image", "Box of uint8 H×W×C images", "u"

    @classmethod
    def of_space(cls, name: str, space: gym.Space[Any], weight: float) -> ObservationKey | None:
        if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
            return ObservationKey(name, cls.name, space.shape, "uint8", weight=weight)
        return None

    def checked(self, value: NDArray[Any]) -> NDArray[Any]:
        if value.dtype != np.uint8:
            raise BrokenPromise(f"observation {self.key.label!r} has dtype {value.dtype} instead of uint8")
        return value.copy()

    def synthetic(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        return rng.integers(256, size=(n, *self.key.shape), dtype=np.uint8)

    def encoder(self, config: ModelConfig) -> ImageEncoder:
        from waker.model.pictures import ImageEncoder

        return ImageEncoder(self.key, config)

    def decoder(self, config: ModelConfig, feature_dim: int) -> ImageDecoder:
        from waker.model.pictures import ImageDecoder

        return ImageDecoder(self.key, config, feature_dim)

    def nll(self, output: Tensor, value: Tensor) -> Tensor:
        from waker.model.distributions import gaussian_nll
        from waker.model.pictures import image_to_float

        return gaussian_nll(output, image_to_float(value)).flatten(-3).sum(-1)

    def predicted(self, output: Tensor) -> Tensor:
        """In [0, 1], (…, h, w, c)."""
        return (output + 0.5).clamp(0.0, 1.0)

    def seen_dim(self) -> int:
        return 0

    def shown(self, samples: Tensor) -> Tensor:
        """The first: the mean of pictures is none."""
        return samples[:, 0]
