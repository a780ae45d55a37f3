"""What the MuJoCo families ask of actions and counts, and how they tell a simulation that diverged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

START_TIME = 1.0
"""The simulation's clock at the start of an episode, s. MuJoCo starts a simulation that diverged anew, from its own
initial state and at time 0: that is how it is told."""


def checked_count(name: str, value: Any) -> int:
    """An argument that must be a whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def checked_action(action: Any, dim: int) -> NDArray[np.float64]:
    """The action as float64, clipped to [−1, 1], shape (dim,).

    Raises:
        ValueError: another shape, or a value that is not finite. In physics one NaN spoils every later state.
    """
    values = np.asarray(action, np.float64)
    if values.shape != (dim,):
        raise ValueError(f"the action must have shape ({dim},), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"the action is not finite: {values.tolist()}")
    return values.clip(-1.0, 1.0)
