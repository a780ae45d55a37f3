"""θ spaces for the tests of curricula."""

from __future__ import annotations

import numpy as np

from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter

PARAMETERS = [Parameter("size", "of the room"), Parameter("slip", "probability of a random move")]
POINTS = np.array([[3, 0.0], [3, 0.1], [4, 0.0], [4, 0.1], [5, 0.0], [5, 0.1]])
WEIGHTS = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])


def finite_space(experts: bool = True) -> FiniteThetaSpace:
    """Six θ with unequal weights; θ 5 the hardest, θ 3 and 5 hard."""
    hard = {"hard": POINTS[[5, 3]], "hardest": POINTS[5]} if experts else {}
    return FiniteThetaSpace(PARAMETERS, POINTS, WEIGHTS, **hard)


def box_space(experts: bool = True) -> BoxThetaSpace:
    """A continuous box with the same experts' sets."""
    hard = {"hard": POINTS[[5, 3]], "hardest": POINTS[5]} if experts else {}
    return BoxThetaSpace(PARAMETERS, [3.0, 0.0], [5.0, 0.2], **hard)
