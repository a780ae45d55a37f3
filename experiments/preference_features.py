"""Named features of GridHazards' observation, for ``waker adapt --features``: what the agent stands on.

Used by the arm ``features`` of :mod:`experiments.preferences`; docs/preferences.md shows the same to users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = ("floor", "slippery floor", "wall", "hazard", "green", "blue", "red")
"""The classes of a cell, in the observation's order."""


def under_the_agent(observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.bool_]]:
    """Of arrays by key, leading (batch, time): for each class, whether the agent's cell is of it."""
    side = int(np.sqrt(observation["cells"].shape[-1]))
    cell = (observation["agent"] @ [side, 1])[..., None]
    here = np.take_along_axis(observation["cells"], cell, -1)[..., 0]
    return {name: here == number for number, name in enumerate(NAMES)}
