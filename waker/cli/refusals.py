"""What tyro says of arguments that do not fit, in plain words: the option as typed, the value, and what it must be."""

from __future__ import annotations

import ast
import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from waker.errors import unknown
from waker.settings import KINDS, types_of

_VALUES = re.compile(
    r"Error parsing (?P<option>--\S+): (?:invalid literal for int\(\) with base 10: (?P<whole>.*)"
    r"|could not convert string to float: (?P<real>.*)"
    r"|no type matching (?P<types>\S+) could be instantiated from (?P<none>\[.*\])\.?"
    r"|Could not find valid parse for arguments: (?P<several>\[.*\]))"
)
_CHOICE = re.compile(
    r"invalid choice (?P<value>.*) for argument '(?P<option>.*?)'\. Expected one of (?P<valid>\(.*\))\.?"
)
_MISSING = re.compile(r"Missing value for argument '(?P<option>.*?)'\. Expected .*")


def in_words(message: str, kind: type[Any], argv: Sequence[str]) -> str:
    """The message in plain words; as it is where it is none of those that tyro is known to make.

    Args:
        message: of tyro, in one line.
        kind: the dataclass of the arguments, whose types say what a value must be.
        argv: the arguments, which have the option as it was typed.
    """
    if found := _VALUES.fullmatch(message):
        return _value(found, kind, argv)
    if found := _CHOICE.fullmatch(message):
        names = [str(name) for name in ast.literal_eval(found["valid"]) if str(name) != "None"]
        value = str(ast.literal_eval(found["value"]))
        return str(unknown(f"value of {_typed(found['option'], argv)}:", value, names))
    if found := _MISSING.fullmatch(message):
        return f"{_typed(found['option'], argv)} needs a value"
    message = re.sub(r"^Missing from waker [\w ]+: (.*) \(required\)$", r"missing argument: \1", message)
    return re.sub(r"^Error parsing \w+(\.\w+)*: ", "", message)  # the name of a class of ours


def _value(found: re.Match[str], kind: type[Any], argv: Sequence[str]) -> str:
    """Which value of an option does not fit, and what it must be."""
    option = _typed(found["option"], argv)
    if found["several"]:
        values = [str(value) for value in ast.literal_eval(found["several"])]
        wanted = _wanted(kind, found["option"].split("/")[-1])
        wrong = next((value for value in values if wanted in KINDS and not _fits(value, wanted)), None)
        if wrong is None:
            return f"{option} {' '.join(values)}: these values do not fit"
        return f"{option} {' '.join(values)}: {wrong!r} must be {KINDS[wanted]}"
    if found["none"]:
        value = " ".join(map(str, ast.literal_eval(found["none"])))
        return f"{option} {value!r} must be {KINDS[float if 'FLOAT' in found['types'] else int]}"
    return f"{option} {found['whole'] or found['real']} must be {KINDS[int if found['whole'] else float]}"


def _typed(option: str, argv: Sequence[str]) -> str:
    """Of the names of an option, ``--steps/--train.steps``, the one among the arguments."""
    names, words = option.split("/"), {word.partition("=")[0].replace("_", "-") for word in argv}
    return next((name for name in names if name in words), names[0])


def _wanted(kind: type[Any], option: str) -> Any:
    """The type of one value of an option that takes several; None where it is not found."""
    first, *below = option.lstrip("-").replace("-", "_").split(".")
    hints = types_of(typing.cast(Any, kind))
    if first not in hints:  # of a configuration whose fields stand beside the others
        inside = (typing.get_args(hint)[0] for hint in hints.values() if typing.get_origin(hint) is Annotated)
        sections = (types_of(typing.cast(Any, one)) for one in inside if dataclasses.is_dataclass(one))
        hints = next((fields for fields in sections if first in fields), hints)
    hint = hints.get(first)
    for name in below:
        hint = types_of(typing.cast(Any, hint)).get(name) if dataclasses.is_dataclass(hint) else None
    while typing.get_origin(hint) in (Annotated, tuple):
        hint = typing.get_args(hint)[0]
    return hint


def _fits(value: str, kind: Any) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True
