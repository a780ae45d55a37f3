"""Ranges of settings: the dataclasses of :mod:`waker.config` check their numbers with :func:`require` when made."""

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


def require(config: Any, section: str, valid: Range, *names: str) -> None:
    """Check settings of ``config``, each a number or a tuple of numbers.

    Args:
        config: a dataclass.
        section: begins a setting's name in the message, with its dot: ``"train."``.
        valid: what each must be; NaN and infinities never are.
        names: of the settings.

    Raises:
        UserError: a value outside its range; the message gives the range.
    """
    for name in names:
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not (math.isfinite(number) and valid.holds(number)):
                shown = f"{value:g}" if isinstance(value, float) else value
                raise UserError(f"{section}{name} = {shown} must be {valid.words}")
