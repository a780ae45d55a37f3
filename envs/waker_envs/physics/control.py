"""What the MuJoCo families make of actions, and how they tell a simulation that diverged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.checked import checked_numbers

START_TIME = 1.0
"""The simulation's clock at the start of an episode, s. MuJoCo starts a simulation that diverged anew, from its own
initial state and at time 0: that is how it is told."""


def checked_action(action: Any, dim: int) -> NDArray[np.float64]:
    """The action as float64, clipped to [−1, 1], shape (dim,).

    Raises:
        ValueError: no numbers, another shape, or a value that is not finite. In physics one NaN spoils every later
            state.
    """
    return checked_numbers("the action", action, dim).clip(-1.0, 1.0)
