"""What an evaluation says when an environment fails: one line that reproduces it.

Called by :mod:`waker.evaluation.rollouts` and :mod:`waker.evaluation.trajectories`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.evaluation.plan import Episode
from waker.spaces import EnvSpec


def split_finite(spec: EnvSpec, observation: Any) -> dict[str, NDArray[Any]]:
    """The observation by key.

    Raises:
        ValueError: another shape than the spec's, or floats that are not finite.
    """
    arrays = spec.split(observation)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"observation {name!r} is not finite")
    return arrays


def failed(spec: EnvSpec, episode: Episode, step: int, error: Exception) -> UserError:
    """The error to raise: environment, θ, episode seed and step, and what happened there."""
    what = " ".join(str(error).split()) or "no message"
    theta = ", ".join(f"{v:g}" for v in episode.theta)
    return UserError(
        f"{spec.env_id} failed in evaluation: θ = ({theta}), episode seed {episode.seed}, step {step} "
        f"({type(error).__name__}: {what})"
    )
