"""How the MuJoCo families take actions, and how they tell a simulation that diverged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker_envs.checks import finite_action

START_TIME = 1.0
"""The simulation's clock at the start of an episode, s. MuJoCo starts a simulation that diverged anew, from its own
initial state and at time 0: that is how it is told."""


def checked_action(action: Any, dim: int) -> NDArray[np.float64]:
    """:func:`finite_action`, clipped to [−1, 1]."""
    return finite_action(action, dim).clip(-1.0, 1.0)
