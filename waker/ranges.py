"""Ranges of settings: the dataclasses of :mod:`waker.config.schema` check their numbers here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from waker.errors import UserError


class Range(NamedTuple):
    """What a number must be, in words and as a test."""

    words: str
    holds: Callable[[float], bool]


COUNT = Range("at least 1", lambda x: x >= 1)
SEVERAL = Range("at least 2", lambda x: x >= 2)
NOT_NEGATIVE = Range("at least 0", lambda x: x >= 0)
POSITIVE = Range("above 0", lambda x: x > 0)
SHARE = Range("from 0 to 1", lambda x: 0 <= x <= 1)
FINITE = Range("a finite number", lambda x: True)
LARGEST_WHOLE = 2**63 - 1
"""Counters and seeds are kept in 64 bits."""
LARGEST = 3.4028234663852886e38
"""The largest number in float32, in which the learner computes."""
SMALLEST = 1.1754943508222875e-38
"""The smallest above 0 that float32 holds in full."""


def require(config: Any, section: str, valid: Range, *names: str) -> None:
    """Check settings of ``config``, each a number or a tuple of numbers.

    Args:
        config: a dataclass.
        section: begins a setting's name in the message, with its dot: ``"train."``.
        valid: what each must be; NaN and infinities never are, nor what 64 bits (whole numbers) or 32 bits (others)
            do not hold.
        names: of the settings.

    Raises:
        UserError: a value outside its range; the message gives the range.
    """
    for name in names:
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not (_finite(number) and valid.holds(number)):
                raise UserError(f"{section}{name} = {_shown(value)} must be {valid.words}")
            if isinstance(number, int) and abs(number) > LARGEST_WHOLE:
                raise UserError(f"{section}{name} = {_shown(value)} must fit in 64 bits: at most {LARGEST_WHOLE}")
            if 0 < abs(number) < SMALLEST:
                raise UserError(f"{section}{name} = {_shown(value)} is 0 in 32 bits; the smallest is {SMALLEST:.3g}")
            if abs(number) > LARGEST:
                raise UserError(f"{section}{name} = {_shown(value)} must fit in 32 bits: at most {LARGEST:g}")


def _finite(number: float) -> bool:
    """``math.isfinite`` of whole numbers of any length too."""
    return isinstance(number, int) or math.isfinite(number)


def _shown(value: Any) -> str:
    """A value in few words, however many digits it has."""
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and abs(value) >= 10**24:  # str() refuses numbers of some thousand digits
        return f"{'-' if value < 0 else ''}1e{math.log10(abs(value)):.0f}"
    return str(value)
