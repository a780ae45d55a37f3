"""``--env-kwargs obs=pixels noise=1e-4``: constructor arguments of an environment from the command line.

Values are read as scalars of YAML 1.2's core schema, and as nothing else: a number is a number in every usual spelling,
and whatever is none of these is the text it looks like (``12:30``, ``@home``, ``*best``, ``yes``). Numbers with a
leading zero (``0123``) are text too: whether such a thing is a number, and to which base, nobody can tell. ``0x1F`` and
``0o17`` say it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from waker.errors import UserError
from waker.names import printable

Scalar = str | int | float | bool | None
OPTION = "--env-kwargs"
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~")),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_DIGITS = "(?:0|[1-9][0-9]*)"
_INTEGER = re.compile(f"[-+]?{_DIGITS}")
_OTHER_BASE = re.compile("0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(rf"[-+]?(?:\.[0-9]+|{_DIGITS}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SINGLE = re.compile("'((?:[^']|'')*)'")


def scalar(text: str, option: str = OPTION) -> Scalar:
    """One value.

    Raises:
        UserError: a number beyond a float's range.
    """
    bare = text.strip()
    if bare in _WORDS:
        return _WORDS[bare]
    if _OTHER_BASE.fullmatch(bare):
        return int(bare, 0)
    if _INTEGER.fullmatch(bare):
        try:
            return int(bare)
        except ValueError:  # thousands of digits
            raise UserError(f"{option}: {printable(bare, 40)} is too long for a number") from None
    if _FLOAT.fullmatch(bare):
        if math.isinf(value := float(bare)):
            raise UserError(f"{option}: {printable(bare, 40)} is too large for a number; infinity is written .inf")
        return value
    return _quoted(bare, text)


def _quoted(bare: str, text: str) -> str:
    """What is in quotes, which make text of anything; else the text itself."""
    if single := _SINGLE.fullmatch(bare):
        return single[1].replace("''", "'")
    if bare.startswith('"') and bare.endswith('"'):
        try:
            value = json.loads(bare)
        except ValueError:
            return text
        return value if isinstance(value, str) else text
    return text


def constructor_arguments(argv: Sequence[str], option: str = OPTION) -> tuple[dict[str, Scalar], list[str]]:
    """What is given to ``option`` among a command's words, and the other words.

    Behind the option are ``name=value``, or names and values by turns, up to the next option.

    Raises:
        UserError: a name without a value; or see :func:`scalar`.
    """
    given: dict[str, Scalar] = {}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, first = word.partition("=")
        if name.replace("_", "-") != option:
            rest.append(word)
            continue
        here = [first] if equals else []
        while words and not (words[0].startswith("--") or words[0] == "-h"):
            here.append(words.pop(0))
        given |= _pairs(here, option)
    return given, rest


def _pairs(words: Sequence[str], option: str) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not equals and not left:
            shown = f"{option} {printable(name, 80)}"
            raise UserError(f"{shown} has no value: write {shown}=VALUE")
        found[name] = scalar(value if equals else left.pop(0), option)
    if not found:
        raise UserError(f"{option} needs at least one NAME=VALUE")
    return found
