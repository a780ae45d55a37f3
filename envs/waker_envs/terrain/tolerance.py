"""dm_control's reward tolerance for one Python float: numpy would take most of a step's time for its five calls.

Used by the terrain families' rewards; equals ``dm_control.utils.rewards.tolerance`` for the sigmoids named here.
"""

from __future__ import annotations

import math
from typing import Literal


def tolerance(
    x: float,
    lower: float = 0.0,
    upper: float = 0.0,
    margin: float = 0.0,
    sigmoid: Literal["gaussian", "linear", "quadratic"] = "gaussian",
    value_at_margin: float = 0.1,
) -> float:
    """1 when ``x`` lies in [lower, upper], falling towards 0 outside.

    Args:
        x: the value to judge.
        lower, upper: the interval, ends included; may be infinite.
        margin: distance from the interval at which the value is ``value_at_margin``; 0: outside is worth nothing.
        sigmoid: how it falls.
        value_at_margin: in (0, 1); "linear" and "quadratic" take 0, too.

    Returns:
        A float in [0, 1].

    Raises:
        ValueError: an unknown sigmoid.
    """
    if lower <= x <= upper:
        return 1.0
    if margin == 0.0:
        return 0.0
    distance = (lower - x if x < lower else x - upper) / margin
    if sigmoid == "gaussian":
        return math.exp(math.log(value_at_margin) * distance * distance)
    if sigmoid == "linear":
        return max(0.0, 1.0 - (1.0 - value_at_margin) * distance)
    if sigmoid == "quadratic":
        return max(0.0, 1.0 - (1.0 - value_at_margin) * distance * distance)
    raise ValueError(f"unknown sigmoid {sigmoid!r}")
