"""Values that cross from one owner to another: copied, so that who made them may overwrite its own.

Called wherever an environment's observation, rewards or info are handed on.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def detached(value: Any) -> Any:
    """``value`` with every array in it copied, however deep in dicts, lists and tuples; all else as it is."""
    kind = type(value)
    if kind is np.ndarray:
        return value.copy()
    if kind is dict:
        return {key: entry.copy() if type(entry) is np.ndarray else detached(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: detached(entry) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*map(detached, value))
    if isinstance(value, list | tuple):
        return kind(map(detached, value))
    return value


def arrays_in(value: Any) -> list[np.ndarray[Any, Any]]:
    """Every array in ``value``, however deep in dicts, lists and tuples."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [array for entry in value for array in arrays_in(entry)] if isinstance(value, list | tuple) else []
