"""Actions as the MuJoCo families take them; called once a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
