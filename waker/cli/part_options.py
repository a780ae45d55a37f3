"""Options of a sampler's, explorer's or logger's own: ``--explorer.rnd.size 32`` sets ``size`` of explorer ``rnd``.

Which options there are depends on the part, which the other options choose; so they are taken from the command line
first, and read by the part's own dataclass of settings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from waker.cli.arguments import parse
from waker.errors import UserError
from waker.settings import from_plain
from waker_envs.file_source import source_name

Kind = Callable[[str], type[Any] | None]
"""The dataclass of a part's own settings by its name; None = it has none."""


def own_options(
    argv: Sequence[str], section: str, part: str, kind: Kind, known: Mapping[str, Any], verb: str
) -> tuple[dict[str, Any], list[str]]:
    """A part's own settings, and the arguments without their options.

    Args:
        argv: the command line.
        section: ``curriculum``, ``explorer`` or ``sinks``.
        part: the chosen sampler, explorer or logger; of ``file.py:name`` its options have the name.
        kind: tells its settings.
        known: settings that a preset gave it.
        verb: for messages.

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
            inside = word.startswith(prefix)
        (own if inside else rest).append(f"--{word.removeprefix(prefix)}" if inside and word.startswith("--") else word)
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
            kind(found[1])  # or it is no part at all
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


def help_of(section: str, part: str, settings: type[Any]) -> str:
    """The options of a part in lines, with their defaults."""
    default = settings()
    names = [field.name for field in dataclasses.fields(settings)]
    options = [(f"--{section}.{source_name(part)}.{name.replace('_', '-')}", getattr(default, name)) for name in names]
    lines = [f"  {option} (default: {value})" for option, value in options]
    kind = {"curriculum": "sampler", "sinks": "logger"}.get(section, section)
    return "\n".join([f"settings of {kind} {source_name(part)}:", *lines])
