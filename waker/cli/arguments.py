"""Command-line arguments from dataclasses; every verb of :mod:`waker.cli.verbs` parses its own with :func:`parse`.

tyro builds the options and the help from the dataclasses. Its multi-line error boxes become one
:class:`~waker.errors.UserError` that names the nearest option. Marks of :mod:`waker.settings` become tyro's:
:class:`~waker.settings.Short` an alias, ``Detail`` an option that ``--help-all`` shows and ``--help`` does not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from waker.cli.help_texts import as_typed
from waker.cli.refusals import in_words
from waker.errors import Ended, UserError, unknown_ending
from waker.settings import DETAIL, UNOFFERED, Settings, Short, invalid, short_names

T = TypeVar("T")
HELP, HELP_ALL = ("-h", "--help"), "--help-all"


def _registry(details: bool, argv: Sequence[str] | None = None) -> ConstructorRegistry:
    """How tyro reads dataclasses: as it does by itself, and the marks of their fields; without details where not.

    Args:
        details: whether options that ``--help-all`` alone shows are there.
        argv: the words to be parsed; sections that none of them names keep their defaults, and tyro need not look at
            their fields, which takes most of its time. None = all sections.
    """
    registry, named = ConstructorRegistry(), None if argv is None else _named(argv)
    inside = False

    def marked(kind: Any) -> Any:
        for mark in getattr(kind, "__metadata__", ()):
            if isinstance(mark, Short):
                kind = Annotated[kind, tyro.conf.arg(aliases=(mark.option,))]
            elif mark is DETAIL and not details:
                kind = Annotated[kind, tyro.conf.Suppress]
            elif mark is UNOFFERED:
                kind = Annotated[kind, tyro.conf.Suppress, tyro.conf.Fixed]
        return kind

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal inside
        if inside or not dataclasses.is_dataclass(info.type):  # asked for tyro's own answer, or no fields to mark
            return None
        inside = True
        try:
            spec = ConstructorRegistry.get_struct_spec(info)
        finally:
            inside = False
        if not isinstance(spec, StructConstructorSpec):
            return None
        kept = {f.name: f.default for f in spec.fields if named is not None and _is_unnamed(f, named)}
        fields = tuple(
            dataclasses.replace(field, type=marked(field.type), helptext=functools.partial(_help, field.helptext))
            for field in spec.fields
            if field.name not in kept
        )
        make = functools.partial(spec.instantiate, **kept) if kept else spec.instantiate
        return dataclasses.replace(spec, instantiate=make, fields=fields)

    return registry


def _help(text: str | Callable[[], str | None] | None) -> str | None:
    """A field's text, names of settings as they are typed."""
    told = text() if callable(text) else text
    return None if told is None else as_typed(told)


def _named(argv: Sequence[str]) -> list[str]:
    """The options among the words, ``--train.no-x=1`` as ``train.no_x``."""
    options = (word.partition("=")[0].replace("-", "_") for word in argv if word.startswith("-"))
    return [option.lstrip("_").removeprefix("no_") for option in options]


def _is_unnamed(field: StructFieldSpec, named: Sequence[str]) -> bool:
    """Whether a field is a section with a name of its own and with a default, and no option is of it."""
    if not isinstance(field.type, type) or not issubclass(field.type, Settings):
        return False
    if not isinstance(field.default, field.type):
        return False
    short = short_names(field.type)
    return not any(f"{field.name}." in option or option in short for option in named)


@contextlib.contextmanager
def _captured(redirect: Any, columns: str) -> Iterator[io.StringIO]:
    """What tyro writes for a terminal of so many columns; it ends by ``SystemExit`` where it refuses or helps."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = columns
    try:
        with redirect(io.StringIO()) as caught, contextlib.suppress(SystemExit):
            yield caught
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)


def _message(box: str) -> str:
    """The message of an error box: the rows below its title down to the next rule, drawn in ASCII or not."""
    rows: list[str] = []
    for line in box.splitlines()[1:]:
        row = line.strip("│ \t")
        if row.strip("─╰╯- "):
            rows.append(row)
        elif rows:
            break
    return " ".join(rows) or " ".join(box.split()) or "cannot read the arguments"


def _written_out(argv: Sequence[str], refused: str) -> list[str] | None:
    """The arguments with ``1e5`` as ``100000`` where it was refused as no whole number; None if it was not."""
    what = r"parsing (--\S+): invalid literal for int\(\) with base 10: '(\d+(?:\.\d+)?[eE]\+?\d\d?)'"
    found = re.search(what, refused)
    if found is None or not float(found[2]).is_integer():
        return None
    options, digits = found[1].split("/"), str(int(float(found[2])))
    meant, before = list[str](), ""
    for word in argv:
        option, equals, value = word.partition("=")
        if equals and option in options and value == found[2]:
            word = f"{option}={digits}"
        meant.append(digits if before in options and word == found[2] else word)
        before = word
    return meant if meant != [*argv] else None


def options_of(cls: type[Any], details: bool = True) -> list[str]:
    """Every ``--option`` of a dataclass as the help lists them; ``details`` as ``--help-all`` does."""
    with _captured(contextlib.redirect_stdout, "100") as shown:
        tyro.cli(cls, args=["--help"], registry=_registry(details))
    heads = re.findall(r"^[│ ]*(--\w.*?)(?:  |│|$)", shown.getvalue(), re.MULTILINE)
    return [name for head in heads for name in re.findall(r"--[\w.-]+", head)]


def parse(
    cls: type[T],
    argv: Sequence[str],
    *,
    verb: str,
    default: T | None = None,
    also: Iterable[str] = (),
    program: str = "waker",
) -> T:
    """Parse a verb's arguments.

    Args:
        cls: the dataclass of the arguments; its docstring is the verb's description.
        argv: what follows the verb.
        verb: for the usage line and the messages.
        default: where the defaults come from (a preset); None = the dataclass's own.
        also: options that the verb takes beside the dataclass's, to be named where one is misspelt.
        program: what is called, before the verb.

    Raises:
        UserError: an option that does not exist, or a value that does not fit or is out of range.
        Ended: after ``--help``.
    """
    options: dict[str, Any] = {"prog": f"{program} {verb}"} | ({} if default is None else {"default": default})
    if asked := {*HELP, HELP_ALL} & {*argv}:  # wherever it stands, behind an option without its value too
        with contextlib.suppress(SystemExit):
            tyro.cli(cls, args=["--help"], registry=_registry(details=HELP_ALL in asked), **options)
        raise Ended
    parsed: tuple[T, list[str]] | None = None
    with _captured(contextlib.redirect_stderr, "10000") as caught:
        # Texts of help that stand below the fields take a fifth of the time, and are for the help above alone.
        options["config"] = (tyro.conf.HelptextFromCommentsOff,)
        parsed = tyro.cli(cls, args=argv, registry=_registry(True, argv), return_unknown_args=True, **options)
    if (whole := _written_out(argv, caught.getvalue())) is not None:
        return parse(cls, whole, verb=verb, default=default, also=also, program=program)
    if parsed is None:
        raise UserError(f"{in_words(_message(caught.getvalue()), cls, argv)} (see {program} {verb} --help)")
    value, left = parsed
    for word in left:
        if word.startswith("-"):
            known = [*also, *options_of(cls), "--help"]
            raise unknown_ending("option", word.split("=")[0], known, f"{program} {verb} {HELP_ALL}")
    if left:
        several = "; a run has one sampler and one seed, several are a study: waker sweep" if verb == "train" else ""
        raise UserError(f"unexpected argument {left[0]!r}{several} (see {program} {verb} --help)")
    for name, text, problem in invalid(value):
        raise UserError(f"--{name.replace('_', '-')} {text} {problem}")
    return value
