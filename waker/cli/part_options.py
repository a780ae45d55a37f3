"""Options of a sampler's, explorer's or logger's own: ``--explorer.rnd.size 32`` sets ``size`` of explorer ``rnd``.

Which options there are depends on the part, which the other options choose; so they are taken from the command line
first, and read by the part's own dataclass of settings.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from waker.cli.arguments import parse
from waker.cli.help_texts import as_typed, docstrings
from waker.errors import UserError, unknown
from waker.settings import from_plain
from waker_envs.file_source import source_name

_INDENT = " " * 6
Kind = Callable[[str], type[Any] | None]
"""The dataclass of a part's own settings by its name; None = it has none."""


def own_options(
    argv: Sequence[str],
    section: str,
    part: str,
    kind: Kind,
    known: Mapping[str, Any],
    verb: str,
    nested: Sequence[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """A part's own settings, and the arguments without their options.

    Args:
        argv: the command line.
        section: ``curriculum``, ``explorer`` or ``sinks``.
        part: the chosen sampler, explorer or logger; of ``file.py:name`` its options have the name, in any
            capitals where no other part and no section has that name.
        kind: tells its settings.
        known: settings that a preset gave it.
        verb: for messages.
        nested: names in the section that are no parts but settings with fields of their own.

    Returns:
        The settings that differ from the part's defaults, by name: a default that is spelled out is the same run.

    Raises:
        UserError: an option that the part does not have, or a value that does not fit.
        Ended: after the help, if ``--help`` was asked for and an option of the part was given.
    """
    prefix = f"--{section}.{source_name(part)}."
    own, rest, inside = list[str](), list[str](), False
    for word in argv:
        if word.startswith("--"):
            inside = _is_own(word, prefix, kind, nested)
        (own if inside else rest).append(f"--{word[len(prefix) :]}" if inside and word.startswith("--") else word)
    if not own and not known:
        return {}, rest
    settings = kind(part)
    if settings is None:
        given = own[0].replace("--", prefix, 1) if own else f"{section}.settings {', '.join(known)}"
        raise UserError(f"{given}: {source_name(part)} has no settings of its own")
    default = from_plain(settings, known, f"{section}.{source_name(part)}.")
    try:
        chosen = parse(settings, own, verb=verb, default=default)
    except UserError as error:
        raise UserError(re.sub(r"--(?!help)(?=\w)", prefix, str(error))) from error
    usual = dataclasses.asdict(settings())
    return {name: value for name, value in dataclasses.asdict(chosen).items() if value != usual[name]}, rest


def _is_own(word: str, prefix: str, kind: Kind, nested: Sequence[str]) -> bool:
    """Whether an option is of the part whose options begin with ``prefix``."""
    if word.startswith(prefix) or not word.lower().startswith(prefix.lower()):
        return word.startswith(prefix)
    written = word.split(".")[1]
    if written in nested:
        return False
    try:
        kind(written)
    except UserError:  # nothing else is called so
        return True
    return False


def names_of(section: str, part: str, kind: Kind) -> list[str]:
    """The options of a part's own, ``--curriculum.plr.beta``.

    Raises:
        UserError: there is no such part.
    """
    settings = kind(part)
    fields = () if settings is None else dataclasses.fields(settings)
    return [f"--{section}.{source_name(part)}.{field.name.replace('_', '-')}" for field in fields]


def refuse_others(argv: Sequence[str], section: str, part: str, kind: Kind, nested: Sequence[str] = ()) -> None:
    """Refuse settings of a part that is not the chosen one.

    Args:
        argv: the command line without the chosen part's own.
        section, part, kind: as in :func:`own_options`.
        nested: names in the section that are no parts but settings with fields of their own.

    Raises:
        UserError: there is one; the message says how to choose its part, or which part was meant.
    """
    for word in argv:
        found = re.match(rf"--{section}\.([^.=]+)\.", word)
        if found and not get_close_matches(found[1], nested, n=1):  # a misspelt one is told among all options
            try:
                kind(found[1])
            except UserError as error:  # it is no part at all
                raise _misspelt(word.partition("=")[0], found[1], section, part, kind) or error from None
            what, option = ("sampler", "--sampler") if section == "curriculum" else (section, f"--{section}")
            raise UserError(
                f"{word.partition('=')[0]} is a setting of {what} {found[1]}, and the {what} here is "
                f"{source_name(part)}; add {option} {found[1]}"
            )


def without_others(argv: Sequence[str], section: str, part: str, parts: Sequence[str]) -> list[str]:
    """The command line without settings of the other parts that are compared with the chosen one.

    Args:
        argv: the command line that all share.
        section: ``curriculum`` or ``explorer``.
        part: the chosen one.
        parts: all that are compared.
    """
    others = {source_name(name) for name in parts} - {source_name(part)}
    kept, skips = [], False
    for word in argv:
        found = re.match(rf"--{section}\.([^.=]+)\.[^=]+(=)?", word)
        if found and found[1] in others:
            skips = found[2] is None
        elif skips and not word.startswith("--"):
            skips = False  # the value
        else:
            skips = False
            kept.append(word)
    return kept


def _misspelt(option: str, written: str, section: str, part: str, kind: Kind) -> UserError | None:
    """The refusal of a setting of the chosen part whose name is misspelt; None where it is not near to that name."""
    if not get_close_matches(written.lower(), [source_name(part).lower()], n=1):
        return None
    own, meant = names_of(section, part, kind), option.replace(f".{written}.", f".{source_name(part)}.", 1)
    return unknown("option", option, [meant] if meant in own else own)


def help_of(section: str, part: str, settings: type[Any]) -> str:
    """The options of a part in lines, with their defaults, and what they are."""
    default, told = settings(), docstrings(settings)
    names = [field.name for field in dataclasses.fields(settings)]
    kind = {"curriculum": "sampler", "sinks": "logger"}.get(section, section)
    lines = [f"settings of {kind} {source_name(part)}:"]
    width = min(120, shutil.get_terminal_size().columns)
    for name in names:
        option = f"--{section}.{source_name(part)}.{name.replace('_', '-')}"
        lines.append(f"  {option} (default: {getattr(default, name)})")
        text = as_typed(told.get(name, ""), [other for other in names if "_" in other])
        lines += textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)
    return "\n".join(lines)
