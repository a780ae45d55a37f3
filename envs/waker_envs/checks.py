"""What callers hand to an environment, checked where it comes in: one clear line in place of numpy's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def numbers(what: str, given: Any, error: type[ValueError] = ValueError) -> NDArray[np.float64]:
    """What was given as an array of numbers.

    Raises:
        ValueError: it holds something else, or rows of different lengths; of the type ``error``.
    """
    try:
        if np.asarray(given).dtype.kind not in "OSU":  # numpy would read "1" as 1 and None as NaN
            return np.asarray(given, np.float64)
    except (TypeError, ValueError):
        pass
    shown = repr(given)
    raise error(f"{what} must be an array of numbers, got {shown if len(shown) <= 60 else shown[:57] + '...'}")


def finite_action(action: Any, dim: int) -> NDArray[np.float64]:
    """The action as float64, shape (dim,).

    Raises:
        ValueError: no numbers, another shape, or a value that is not finite. In physics one NaN spoils every later
            state.
    """
    values = numbers("the action", action)
    if values.shape != (dim,):
        raise ValueError(f"the action must have shape ({dim},), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"the action is not finite: {values.tolist()}")
    return values


def checked_count(name: str, value: Any) -> int:
    """An argument that must be a whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def checked_choice(name: str, value: Any, choices: Sequence[str]) -> Any:
    """An argument that must be one of a few words.

    Raises:
        ValueError: it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value
