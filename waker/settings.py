"""Settings: frozen dataclasses whose types say which values are valid. Checked when made; read back from plain data.

A range is part of a field's type (``Positive``, ``Annotated[int, Ge(3)]`` of annotated-types), so that one function
checks every field of every class: its type, its range, and that 64 bits (whole numbers) or 32 bits (others) hold it.
Fields marked :data:`DETAIL`, :data:`UNOFFERED` or :class:`Short` are shown by :mod:`waker.cli.arguments` accordingly.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from annotated_types import Ge, Gt, Interval, Le, Lt

from waker.errors import UserError, unknown

Count = Annotated[int, Ge(1)]
Several = Annotated[int, Ge(2)]
NotNegativeInt = Annotated[int, Ge(0)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Interval(ge=0, le=1)]

T = TypeVar("T")
DETAIL: Any = object()
Detail = Annotated[T, DETAIL]
"""A setting that presets choose and users hardly ever do: ``--help-all`` shows it, ``--help`` does not."""
UNOFFERED: Any = object()
Unoffered = Annotated[T, UNOFFERED]
"""A setting without an option of its own: others set it."""
Published = Annotated[T, DETAIL]
"""A setting that only agreement with the published code needs; hidden likewise."""


@dataclasses.dataclass(frozen=True)
class Short:
    """Marks a setting with a short option beside its full name: ``--steps`` for ``--train.steps``."""

    option: str


LARGEST_WHOLE = 2**63 - 1
"""Counters and seeds are kept in 64 bits."""
LARGEST = 3.4028234663852886e38
"""The largest number in float32, in which the learner computes."""
SMALLEST = 1.1754943508222875e-38
"""The smallest above 0 that float32 holds in full."""
_LIMITS: tuple[tuple[type, str, str, Callable[[Any, Any], bool]], ...] = (
    (Ge, "ge", "at least", operator.ge),
    (Gt, "gt", "above", operator.gt),
    (Le, "le", "at most", operator.le),
    (Lt, "lt", "below", operator.lt),
)
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
"""What a value of a type is called."""


class Settings:
    """Base of settings: checks every field when an instance is made.

    Args:
        section: what stands before a setting's name in messages, ``train`` for ``train.steps``.
    """

    _section: ClassVar[str] = ""

    def __init_subclass__(cls, section: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._section = f"{section}." if section else ""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            UserError: a value of another type or outside its range; the message says what it must be.
        """
        for name, value, problem in invalid(self):
            raise UserError(f"{self._section}{name} = {value} {problem}")


def invalid(settings: Any) -> Iterator[tuple[str, str, str]]:
    """Fields of a dataclass whose values their types do not allow: name, value and what it must be, in words."""
    for name, hint in types_of(cast(Any, type(settings))).items():
        if problem := _problem(value := getattr(settings, name), hint):
            yield name, _shown(value), problem


@cache
def types_of(kind: Any) -> Mapping[str, Any]:
    """The types of a dataclass's fields, with their ranges and marks."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def short_names(kind: type[Any], prefix: str = "") -> dict[str, str]:
    """What the short names of settings stand for: ``task_policies`` → ``train.task_policies``."""
    found: dict[str, str] = {}
    for name, hint in types_of(cast(Any, kind)).items():
        if isinstance(hint, type) and issubclass(hint, Settings):
            found |= short_names(hint, f"{prefix}{name}.")
        marks = (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Short))
        found |= {mark.option.removeprefix("--").replace("-", "_"): f"{prefix}{name}" for mark in marks}
    return found


def from_plain(kind: type[T], data: Mapping[str, Any], prefix: str = "") -> T:
    """Settings from nested mappings, lists and scalars, as YAML gives them; what is left out has its default.

    Raises:
        UserError: a setting that does not exist, with the nearest one; a section that is no mapping; or a value that is
            not valid.
    """
    hints, values = types_of(cast(Any, kind)), {}
    for key, value in data.items():
        if key not in hints:
            raise unknown("setting", f"{prefix}{key}", [prefix + name for name in hints])
        if isinstance(hints[key], type) and issubclass(hints[key], Settings):
            if not isinstance(value, Mapping):
                raise UserError(f"setting {prefix + key!r} must be a section, not {value!r}")
            value = from_plain(hints[key], value, f"{prefix}{key}.")
        values[key] = tuples(value)
    return kind(**values)


def tuples(value: Any) -> Any:
    """Lists as tuples, in a mapping too."""
    if isinstance(value, Mapping):
        return {name: tuples(one) for name, one in value.items()}
    return tuple(value) if isinstance(value, list) else value


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted name."""
    if isinstance(data, Mapping) and data:
        return {k: v for key, value in data.items() for k, v in flat(value, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: data}


def _problem(value: Any, hint: Any, computed: bool = True) -> str | None:
    """What is wrong with a value of a field of type ``hint``, as the end of a sentence; None if nothing is.

    Numbers with names of their own (in a mapping) are not ``computed`` with here, and may be any.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _problem(value, options[0]) or _outside(value, options[1:])
    if origin in (typing.Union, types.UnionType):
        problems = [_problem(value, option, computed) for option in options]
        return None if None in problems else problems[0]
    if origin is Literal:
        return None if value in options else f"must be {' or '.join(map(repr, options))}"
    if origin is tuple:
        if not isinstance(value, tuple):
            return "must be a list"
        return next((problem for item in value if (problem := _problem(item, options[0]))), None)
    if origin is dict:
        fits = isinstance(value, Mapping) and not any(
            _problem(key, options[0]) or _problem(one, options[1], computed=False) for key, one in value.items()
        )
        return None if fits else "must be names with a value each"
    if hint not in KINDS:
        return None if isinstance(value, hint) else f"must be a {hint.__name__}"
    if not isinstance(value, (int, float) if hint is float else hint) or (isinstance(value, bool) and hint is not bool):
        return f"must be {KINDS[hint]}"
    return _unfit(value) if computed and hint in (int, float) else None


def _outside(value: Any, marks: Iterable[Any]) -> str | None:
    """Why a value is outside its range."""
    bounds = [bound for mark in marks for bound in (mark if isinstance(mark, Interval) else (mark,))]
    limits = [
        (word, getattr(bound, key), holds)
        for bound in bounds
        for kind, key, word, holds in _LIMITS
        if kind is type(bound)
    ]
    if all(holds(value, limit) for _, limit, holds in limits):
        return None
    return f"must be {' and '.join(f'{word} {limit}' for word, limit, _ in limits)}"


def _unfit(number: float) -> str | None:
    """Why the learner cannot compute with a number: it is not finite, or 64 or 32 bits do not hold it."""
    if isinstance(number, int):
        large = abs(number) > LARGEST_WHOLE
        return f"must fit in 64 bits: at most {LARGEST_WHOLE}" if large else None
    if not math.isfinite(number):
        return "must be a finite number"
    if 0 < abs(number) < SMALLEST:
        return f"is 0 in 32 bits; the smallest is {SMALLEST:.3g}"
    return f"must fit in 32 bits: at most {LARGEST:g}" if abs(number) > LARGEST else None


def _shown(value: Any) -> str:
    """A value in few words, however many digits it has."""
    if isinstance(value, tuple | list):
        return " ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and abs(value) >= 10**24:  # str() refuses numbers of some thousand digits
        return f"{'-' if value < 0 else ''}1e{math.log10(abs(value)):.0f}"
    return str(value) if isinstance(value, int) else repr(value)[:200]
