"""Errors a user can cause: one clear line that names the nearest valid choice.

Raised everywhere in ``waker``; the command line prints the message alone and exits with a non-zero code, so a
message must be complete without a traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

BLEMISHED = 3
"""The exit code of a command that did what was asked but for something that failed or is lost: told, and left out."""
_MOST_LISTED = 20
_LONGEST_LIST = 400
"""Valid names are listed in full where they are so few, or take so few characters; else the nearest one is named."""

_NEAR = 0.6
"""Likeness (difflib's ratio) from which a name is worth offering."""
_NEARLY = 0.8
"""The same of a name and the beginning of a longer one."""
_SAMPLES = 3
"""Valid names shown as examples where none is near and they are too many to list."""

_ALLOCATION = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "Overflow when unpacking",
    "array is too big",
    "Maximum allowed dimension exceeded",
)
"""What torch says when a tensor cannot be made for its size."""


class UserError(ValueError):
    """Something the user asked for cannot be done; ``str(error)`` is one line that says what and how to mend it."""


class Ended(SystemExit):
    """The end of the program as this project means it; any other ``SystemExit`` is foreign code's."""

    def __init__(self, code: int = 0) -> None:
        super().__init__(code)
        self.exit_code = code


def unknown(kind: str, name: str, valid: Iterable[str], listed: str = "") -> UserError:
    """The error for a name that does not exist.

    Args:
        kind: what was asked for ("sampler", "preset").
        name: what the user wrote.
        valid: the names that exist; the nearest is offered where it is near, whatever the capitals.
        listed: the command that lists them all; named where none is near and they are too many for a line.

    Returns:
        The error, for the caller to raise.
    """
    names = sorted(set(valid))
    if not names:
        return UserError(f"unknown {kind} {name!r}; there is none to choose from")
    # Of equally near ones, the first by alphabet.
    nearest = max(names, key=lambda n: _likeness(name, n))
    near = f"; did you mean {nearest!r}?" if _likeness(name, nearest) >= _NEAR else ""
    told = ", ".join(names)
    if len(names) <= _MOST_LISTED or len(told) <= _LONGEST_LIST:
        return UserError(f"unknown {kind} {name!r}{near} (valid: {told})")
    if near or not listed:
        examples = ", ".join(names[:: len(names) // _SAMPLES][:_SAMPLES])
        return UserError(f"unknown {kind} {name!r}{near or f'; {len(names)} are known, as {examples}'}")
    return UserError(f"unknown {kind} {name!r}; `{listed}` lists all {len(names)}")


def unknown_ending(kind: str, name: str, valid: Iterable[str], listed: str = "") -> UserError:
    """As :func:`unknown`; but ``lr`` is meant for each dotted name that ends so (``model.optimizer.lr``), and
    ``curriculum.beta`` for ``curriculum.plr.beta``."""
    known = list(dict.fromkeys(valid))
    bare = name.lstrip("-")
    section, _, last = bare.rpartition(".")
    meant = [option for option in known if option.endswith(f".{bare}")]
    if not meant and section:
        meant = [o for o in known if o.lstrip("-").startswith(f"{section}.") and o.endswith(f".{last}")]
    if meant:
        return UserError(f"unknown {kind} {name!r}; did you mean {' or '.join(map(repr, meant))}?")
    return unknown(kind, name, known, listed)


def _likeness(name: str, valid: str) -> float:
    """In [0, 1], whatever the capitals, of what is not the same section, package or version in both; a name that is
    part of the other, or nearly its beginning, is near."""
    name, valid = _differing(name.lower(), valid.lower())
    short, long = sorted((name, valid), key=len)
    ratio = difflib.SequenceMatcher(None, name, valid).ratio()
    begins = difflib.SequenceMatcher(None, short, long[: len(short)]).ratio() >= _NEARLY
    return max(ratio, _NEAR) if len(short) > 2 and (begins or short in long) else ratio


def _differing(one: str, other: str) -> tuple[str, str]:
    """``--curriculum.c`` and ``--curriculum.top-k`` as ``c`` and ``top-k``, ``waker/A-v0`` and ``waker/B-v0`` as ``a``
    and ``b``: what all names have says of none that it is meant."""
    parts = [re.split(r"(?<=[./])", re.sub(r"-v\d+$", "", text.lstrip("-"))) for text in (one, other)]
    while len(parts[0]) > 1 and len(parts[1]) > 1 and parts[0][0] == parts[1][0]:
        parts = [part[1:] for part in parts]
    return "".join(parts[0]), "".join(parts[1])


def too_large(error: BaseException) -> str | None:
    """What to tell of an error that some size is beyond memory or beyond 64 bits; None for any other error.

    torch and numpy have no exception of their own for some sizes, only words.
    """
    words = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory: {words or 'an allocation failed'}; choose smaller settings"
    if isinstance(error, OverflowError):
        return f"a number is too large: {words}"
    if isinstance(error, RuntimeError | ValueError) and any(part in words for part in _ALLOCATION):
        return f"out of memory: {words[:200]}; choose smaller settings"
    return None
