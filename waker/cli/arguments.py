"""Command-line arguments from dataclasses; every verb of :mod:`waker.cli.verbs` parses its own with :func:`parse`.

tyro builds the options and the help from the dataclasses. Its multi-line error boxes become one
:class:`~waker.errors.UserError` that names the nearest option.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, get_type_hints

import tyro

from waker.errors import Ended, UserError, unknown

T = TypeVar("T")


def flags(cls: type[Any], inline: Sequence[str] = (), prefix: str = "") -> list[str]:
    """Every ``--option`` of a dataclass, nested ones with a dot.

    Args:
        cls: a dataclass whose nested dataclasses are built by default factories.
        inline: names of fields whose options carry no prefix (``tyro.conf.arg(name="")``).
    """
    found: list[str] = []
    hints = get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        if tyro.conf.Positional in getattr(hints[field.name], "__metadata__", ()):
            continue
        nested = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        name = field.name.replace("_", "-") if not field.name.endswith("_") else field.name
        if dataclasses.is_dataclass(nested):
            below = prefix if field.name in inline else f"{prefix}{name}."
            found += flags(type(nested), (), below)
        else:
            found.append(f"--{prefix}{name}")
    return found


@contextlib.contextmanager
def _wide_stderr() -> Iterator[io.StringIO]:
    """Catch standard error, with no line breaks for the terminal's sake."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        with contextlib.redirect_stderr(io.StringIO()) as caught:
            yield caught
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _first_lines(box: str) -> str:
    """The message of an error box: the rows below its title down to the next rule, drawn in ASCII or not."""
    rows: list[str] = []
    for line in box.splitlines()[1:]:
        row = line.strip("│ \t")
        if row.strip("─╰╯- "):
            rows.append(row)
        elif rows:
            break
    message = re.sub(r"^Error parsing config(\.\w+)*: ", "", " ".join(rows))
    message = re.sub(r"^Missing from waker \w+: (.*) \(required\)$", r"missing argument: \1", message)
    return message or " ".join(box.split()) or "cannot read the arguments"


def parse(
    cls: type[T],
    argv: Sequence[str],
    *,
    verb: str,
    default: T | None = None,
    inline: Sequence[str] = (),
    also: Iterable[str] = (),
) -> T:
    """Parse a verb's arguments.

    Args:
        cls: the dataclass of the arguments; its docstring is the verb's description.
        argv: what follows the verb.
        verb: for the usage line and the messages.
        default: where the defaults come from (a preset); None = the dataclass's own.
        inline: see :func:`flags`.
        also: options that the verb takes beside the dataclass's, to be named where one is misspelt.

    Raises:
        UserError: an option that does not exist or a value that does not fit.
        Ended: after ``--help``.
    """
    options: dict[str, Any] = {"args": list(argv), "prog": f"waker {verb}"}
    if default is not None:
        options["default"] = default
    if "-h" in argv or "--help" in argv:  # wherever it stands, behind an option without its value too
        with contextlib.suppress(SystemExit):
            tyro.cli(cls, **{**options, "args": ["--help"]})
        raise Ended
    with _wide_stderr() as caught:
        try:
            value, left = tyro.cli(cls, return_unknown_args=True, **options)
        except SystemExit:
            value, left = None, []
    if value is None:
        raise UserError(f"{_first_lines(caught.getvalue())} (see waker {verb} --help)")
    for word in left:
        if word.startswith("-"):
            raise unknown("option", word.split("=")[0], [*flags(cls, inline), *also, "--help"])
    if left:
        raise UserError(f"unexpected argument {left[0]!r} (see waker {verb} --help)")
    return value
