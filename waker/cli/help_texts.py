"""What the help says of settings: their docstrings, with names as they are typed (``--train.adapt-repeats``)."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from waker.settings import types_of

_NAME = re.compile(r"(?<![\w.])[a-z]+(?:[._][a-z0-9]+)*(?![\w(])")


def as_typed(text: str, own: Iterable[str] = ()) -> str:
    """A text in which names of settings have hyphens, as options do; other names (of columns, say) stay.

    Args:
        own: names that are settings here, besides those of runs.
    """
    known = {*_settings(), *own}

    def typed(found: re.Match[str]) -> str:
        name = found[0]
        return name.replace("_", "-") if name.rpartition(".")[2] in known else name

    return _NAME.sub(typed, text) if "_" in text else text


@functools.cache
def _settings() -> frozenset[str]:
    """The names of all settings of a run that have an underscore."""
    from waker.config.schema import Config

    return frozenset(name for name in _fields(Config) if "_" in name)


def _fields(kind: Any) -> Iterator[str]:
    for name, hint in types_of(kind).items():
        yield name
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint)


def docstrings(kind: type[Any]) -> dict[str, str]:
    """What stands below the fields of a dataclass, in one line each; those that it inherits too."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _own_docstrings(base)
    return {field.name: found[field.name] for field in dataclasses.fields(kind) if field.name in found}


def _own_docstrings(kind: Any) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # made without a file
        return {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in zip(body, body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
