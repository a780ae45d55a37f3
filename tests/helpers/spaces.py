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


def plane_space(size: int, hard: int = 0) -> FiniteThetaSpace:
    """``size`` θ on a plane, numbered row by row; the last ``hard`` of them are hard."""
    points = np.stack(divmod(np.arange(float(size)), 100), 1)
    return FiniteThetaSpace([Parameter("row", ""), Parameter("column", "")], points, hard=points[size - hard :])


def joint_space(sizes: tuple[int, ...] = (777, 35)) -> FiniteThetaSpace:
    """Two domains of the paper's sizes, each with half of DR; the first three θ of each are hard."""
    domain = np.repeat(np.arange(len(sizes)), sizes)
    number = np.concatenate([np.arange(size) for size in sizes])
    points = np.stack([domain, number], 1)
    return FiniteThetaSpace(
        [Parameter("domain", "0 or 1"), Parameter("number", "of the θ")],
        points,
        1.0 / np.array(sizes)[domain],
        hard=points[number < 3],
        groups=domain,
        group_names=[f"domain-{d}" for d in range(len(sizes))],
    )


def box_space(experts: bool = True) -> BoxThetaSpace:
    """A continuous box with the same experts' sets."""
    hard = {"hard": POINTS[[5, 3]], "hardest": POINTS[5]} if experts else {}
    return BoxThetaSpace(PARAMETERS, [3.0, 0.0], [5.0, 0.2], **hard)
