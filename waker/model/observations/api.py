"""What a kind of observation is; see :mod:`waker.model.observations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.specs import ObservationKey

if TYPE_CHECKING:
    from torch import Tensor, nn

    from waker.config.schema import ModelConfig

KINDS: dict[str, type[ObservationKind]] = {}
"""By name."""


class ObservationKind:
    """One observation key of some kind. The methods here fit flat numbers; a kind overrides those that do not fit it.

    Raw values are an environment's, (…, *shape); entries are what networks see of a raw value, flat; outputs are a
    decoder's, from which likelihood and predictions are computed.

    Args:
        symlog: numbers are modelled as symlog of their values.

    Attributes:
        name: of the kind; ``takes``: the spaces it comes from, for messages.
        dtypes: numpy kinds of the arrays that an environment may return.
        last: it takes the spaces that no other kind takes.
    """

    name: ClassVar[str]
    takes: ClassVar[str]
    dtypes: ClassVar[str]
    last: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        KINDS[cls.name] = cls

    def __init__(self, key: ObservationKey, symlog: bool = False) -> None:
        self.key, self.symlog = key, symlog

    # Without torch ----------------------------------------------------------------------------------------------

    @classmethod
    def of_space(cls, name: str, space: gym.Space[Any], weight: float) -> ObservationKey | None:
        """The key of a space of this kind; None for other spaces."""
        raise NotImplementedError

    def checked(self, value: NDArray[Any]) -> NDArray[Any]:
        """A copy in the key's dtype of a value whose shape and dtype's kind are right.

        Raises:
            BrokenPromise: a value that the space does not have.
        """
        raise NotImplementedError

    def synthetic(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        """n arbitrary raw values."""
        raise NotImplementedError

    # With torch -------------------------------------------------------------------------------------------------

    def encoder(self, config: ModelConfig) -> nn.Module | None:
        """A network of its own, raw (n, *shape) → (n, out_features); None = the MLP of all flat entries."""
        return None

    def decoder(self, config: ModelConfig, feature_dim: int) -> nn.Module | None:
        """A network of its own, (n, F) → outputs; None = a linear layer on the MLP of all flat keys."""
        return None

    def tables(self) -> nn.Module | None:
        """What must be moved to a device with the networks; None = nothing."""
        return None

    def entries(self, value: Tensor) -> Tensor:
        """What networks see of raw values, (…, *shape) → (…, key.size)."""
        raise NotImplementedError

    def nll(self, output: Tensor, value: Tensor) -> Tensor:
        """−log likelihood of raw values (…, *shape) given outputs (…), summed over their entries, (…)."""
        raise NotImplementedError

    def predicted(self, output: Tensor) -> Tensor:
        """Outputs in the observation's own terms."""
        raise NotImplementedError

    def seen_dim(self) -> int:
        """Entries of :meth:`seen`; 0 = it has none, as a kind with a decoder of its own must have."""
        return self.key.size

    def seen(self, output: Tensor) -> Tensor:
        """What a policy is given of outputs, (…, seen_dim)."""
        return output

    def shown(self, samples: Tensor) -> Tensor:
        """One prediction for people of S, (n, S, ...) → (n, ...): their mean."""
        return samples.mean(1)

    def disagreement(self, prediction: Tensor) -> Tensor:
        """How far E predictions lie apart, (E, n, entries) → (n,): the standard deviation, summed over entries."""
        from waker.machine.kernels import mean_deviation

        return prediction.shape[-1] * mean_deviation(prediction)
