"""Runs told apart by the values of their settings: ``--by`` of ``waker compare`` and ``waker report``.

``config.yaml`` has every setting of the package, but of those that a plug-in brings (a sampler's, an explorer's, an
environment's own) only what differs from their defaults, so that a default that is spelled out is the same run. What
was in force stands beside them, under ``own``; of a run that an earlier version made it is looked up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from waker.analysis.data import RunData, settings_of
from waker.config.saved import plain
from waker.config.schema import Config
from waker.curriculum.labels import variant_label
from waker.curriculum.registry import curriculum_settings
from waker.errors import UserError, unknown
from waker.settings import flat, short_names
from waker_envs.file_source import is_source, source_name

PLUG_INS = {"curriculum": "curriculum.sampler", "explorer": "explorer.name"}
"""Sections with a part that may have settings of its own, and the setting that names the part."""


def by_settings(runs: Sequence[RunData], keys: Sequence[str]) -> list[RunData]:
    """The runs with the values of some settings in their samplers' names: ``plr [beta=0.1]``.

    Args:
        keys: dotted or short names (``steps``), with dashes or underscores; a sampler's or explorer's own as on the
            command line, ``curriculum.plr.beta``, which other samplers do not have.

    Raises:
        UserError: a setting that no run has; the message names the nearest; or the seed.
    """
    settings = [in_force(run) for run in runs]
    known = list(dict.fromkeys(key for of_run in settings for key in of_run))
    keys = list(dict.fromkeys(keys))
    full = [_full_name(key, known) for key in keys]
    if "seed" in full:
        raise UserError(
            "runs are told apart by their seeds anyway, which are what means and tests are over: not --by seed"
        )
    told = dict(zip(full, _shortest(keys), strict=True))
    names = [", ".join(f"{told[name]}={of_run[name]}" for name in full if name in of_run) for of_run in settings]
    return [replace(run, sampler=variant_label(run.sampler, name)) for run, name in zip(runs, names, strict=True)]


def _shortest(keys: Sequence[str]) -> list[str]:
    """Each name's last part; of names that end alike, so many parts that they differ."""
    parts = [key.split(".") for key in keys]
    found = []
    for name in parts:
        others = [other for other in parts if other != name]
        some = next(n for n in range(1, len(name) + 1) if n == len(name) or all(o[-n:] != name[-n:] for o in others))
        found.append(".".join(name[-some:]))
    return found


def in_force(run: RunData) -> dict[str, Any]:
    """A run's settings by dotted name, those that have their defaults as well; empty if it has no settings.

    What an older run lacks has the value that a resume would give it. A plug-in's own are called as on the command
    line: ``curriculum.plr.beta``, ``explorer.rnd.size``.
    """
    saved = settings_of(run)
    if not saved:
        return {}
    found, recorded = {**_defaults(), **saved}, run.config.get("own") or {}
    for section, naming in PLUG_INS.items():
        part, prefix = str(found[naming]), f"{section}.settings."
        given = {key.removeprefix(prefix): found.pop(key) for key in list(found) if key.startswith(prefix)}
        found.pop(prefix.removesuffix("."), None)
        usual = recorded.get(section) or _looked_up(section, part)
        found |= {f"{section}.{source_name(part)}.{name}": value for name, value in {**usual, **given}.items()}
    usual = {f"env_kwargs.{name}": value for name, value in (recorded.get("env_kwargs") or {}).items()}
    return {**usual, **{key: value for key, value in found.items() if key != "env_kwargs"}}


def _full_name(key: str, known: Sequence[str]) -> str:
    """The dotted name that is meant.

    Raises:
        UserError: there is none.
    """
    section, *parts = key.split(".")
    if len(parts) == 2 and parts[0] == "settings" and section in PLUG_INS:  # as it stands in config.yaml
        found = [name for name in known if name.startswith(f"{section}.") and name.count(".") == 2]
        key = next((name for name in found if name.endswith(f".{parts[1]}")), key)
    head, dot, last = key.rpartition(".")
    spellings = (key, key.replace("-", "_"), f"{head}{dot}{last.replace('-', '_')}")
    meant = [_short().get(spelling, spelling) for spelling in spellings]
    if (name := next((name for name in meant if name in known), None)) is None:
        raise unknown("setting of these runs:", key, known)
    return name


@cache
def _defaults() -> Mapping[str, Any]:
    return flat(plain(Config()))


@cache
def _short() -> Mapping[str, str]:
    return short_names(Config)


def _looked_up(section: str, part: str) -> dict[str, Any]:
    """The defaults of a built-in or installed part's own settings; none where it is a file, or not here."""
    from waker.exploration.registry import explorer_class  # explorers are networks, and tables need no torch

    if is_source(part):
        return {}
    try:
        kind = curriculum_settings(part) if section == "curriculum" else explorer_class(part).Own
        return plain(kind()) if kind is not None and dataclasses.is_dataclass(kind) else {}
    except UserError:  # of a package that is not installed: a comparison needs rows alone
        return {}
