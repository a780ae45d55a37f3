"""Changed copies of a configuration, by dotted names, whole sections or the command line's short names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from waker.errors import UserError, unknown_ending
from waker.settings import short_names, tuples
from waker_envs.file_source import source_name

T = TypeVar("T")


def changed(config: T, changes: Mapping[str, Any], short: Mapping[str, str] | None = None, within: str = "") -> T:
    """A copy of a configuration with other values; ranges are checked as when it was made.

    Args:
        config: a settings dataclass; its sections are dataclasses.
        changes: by field (``seed``), by dotted name (``train.steps``) or by short name (``sampler``). A section takes
            a mapping of its own fields, or a section of its type. Lists become tuples where the field is one.
        short: short names, None = those of :class:`waker.settings.Short`; a name that is a section too is short where
            its value is a string (``explorer``).
        within: the dotted name of the section that ``config`` is, with its dot; for messages.

    Raises:
        UserError: a name that does not exist, with the nearest that does, or a value out of its range.
    """
    if not within:
        changes = _to_parts(config, changes)
    short = short_names(type(config)) if short is None else short
    sections: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    fields = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    for name, value in changes.items():
        section = name in fields and not isinstance(value, str)
        full = name if section else short.get(name, name)
        first, _, rest = full.partition(".")
        if first not in fields:
            raise unknown_ending("setting", within + name, [*names(config, within), *short])
        now = getattr(config, first)
        if rest and not _is_section(now):
            raise unknown_ending("setting", within + name, [*names(config, within), *short])
        if rest or (_is_section(now) and isinstance(value, Mapping)):
            sections.setdefault(first, {}).update({rest: value} if rest else value)
        elif _is_section(now) and type(value) is not type(now):
            raise UserError(f"{within}{name} takes a mapping of its settings or a {type(now).__name__}, not {value!r}")
        else:
            own[first] = tuples(value) if isinstance(now, tuple | Mapping) else value
    below = {
        name: changed(own.pop(name, getattr(config, name)), new, {}, f"{within}{name}.")
        for name, new in sections.items()
    }
    return dataclasses.replace(config, **own, **below)  # type: ignore[type-var]


def _to_parts(config: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with settings of the chosen sampler's, explorer's and loggers' own where the configuration has them.

    ``curriculum.ucb.c`` is ``c`` of ``curriculum.settings``, as on the command line, where ``ucb`` is the sampler.

    Raises:
        UserError: they are another's.
    """
    found = dict(changes)
    for section, short, field in (("curriculum", "sampler", "sampler"), ("explorer", "explorer", "name")):
        now = getattr(config, section, None)
        own = [name for name in changes if name.startswith(f"{section}.") and name.count(".") == 2]
        own = [name for name in own if not hasattr(now, name.split(".")[1])]
        if now is None or not own:
            continue
        part = str(next((changes[n] for n in (short, f"{section}.{field}") if n in changes), getattr(now, field)))
        kept = now.settings if part == getattr(now, field) else {}
        for name in own:
            if name.split(".")[1] != source_name(part):
                raise UserError(
                    f"{name} is a setting of {name.split('.')[1]}, and the {short} here is {source_name(part)}"
                )
            kept = {**kept, name.split(".")[2].replace("-", "_"): found.pop(name)}
        found[f"{section}.settings"] = kept
    loggers = [name for name in found if name.startswith("sinks.") and name.count(".") == 2]
    if loggers and hasattr(config, "sink_settings"):
        given = {name.removeprefix("sinks."): tuples(found.pop(name)) for name in loggers}
        found["sink_settings"] = {**config.sink_settings, **given}
    return found


def names(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if _is_section(value):
            yield from names(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _is_section(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
