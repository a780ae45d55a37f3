"""A study file: which runs a comparison is made of.

.. code-block:: yaml

    preset: laptop                  # what `waker train` starts from; default laptop
    settings: {train.steps: 40000}  # options of `waker train`, for every run
    domains:                        # environment → settings of its own
      GridHazards:
      GridCleanUp: {train.steps: 100000, model.optimizer.anneal: 4600}
    samplers: [dr, waker-m]         # or sampler → settings of its own: {dr: , plr: {curriculum.plr.beta: 0.1}};
                                    # of one sampler twice, with names: {plr+low: {…}, plr+high: {…}}
    explorers: [plan2explore, random]   # default plan2explore
    seeds: 0-9                      # or a list, or several ranges: [0-4, 10]
    variants:                       # optional: name → settings; every run once for each
      small:
      wide: {model.hidden: 256}
    without: {Combined: [hardest-oracle]}   # optional: domain → samplers that it has no runs of

A run's settings are those of the study, then of its domain, its sampler, its variant; ``preset`` may stand among them.
A setting of one sampler's or explorer's own (``curriculum.plr.beta``) is left out of the runs of the others.
The runs of one seed share their weights' first values, episodes and evaluation, whatever the sampler: they are pairs.
"""

from __future__ import annotations

import itertools
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from waker.config.schema import Config
from waker.errors import UserError, unknown
from waker.settings import Settings, types_of
from waker.storage.files import reading
from waker.storage.sealed import loaded_yaml
from waker_envs.file_source import source_name

_KEYS = ("preset", "settings", "domains", "samplers", "explorers", "seeds", "variants", "without")
_NEEDED = ("domains", "samplers", "seeds")
_CHOSEN = {"env": "domains", "sampler": "samplers", "curriculum.sampler": "samplers", "seed": "seeds", "runs": "--runs"}
_CHOSEN |= {"explorer": "explorers", "explorer.name": "explorers"}
"""Settings that a study gives elsewhere."""
TAKEN = ("rows", "logs", "slurm")
"""Folders beside those of variants."""


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        variant: its name; empty where the study has none.
        domain, sampler, explorer, seed: what the run is of.
        arguments: of ``waker train``, but for ``--runs``.
    """

    variant: str
    domain: str
    sampler: str
    explorer: str
    seed: int
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """``[variant · ]GridHazards · waker-m · plan2explore · seed 0``."""
        parts = [self.variant] if self.variant else []
        return " · ".join([*parts, self.domain, self.sampler, self.explorer, f"seed {self.seed}"])


def read_cells(path: Path) -> list[Cell]:
    """The runs of a study, seed by seed: a study that is cut short has whole pairs.

    Raises:
        UserError: a file that is not one; the message says what is wrong and where.
    """
    if not path.is_file():
        raise UserError(f"{path} is a folder, and a study is a file" if path.is_dir() else f"no study file {path}")
    with reading(path):
        data = loaded_yaml(path.read_text(encoding="utf-8"))
    try:
        return _cells(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def in_a_file(message: str) -> str:
    """What the command line says of its options, of the settings of a file: ``--train.steps`` is ``train.steps``."""
    return re.sub(r"(?<![\w-])--(?!help)(?=\w)", "", message).replace("unknown option", "unknown setting")


def _cells(data: object) -> list[Cell]:
    if not isinstance(data, Mapping):
        raise UserError("a study is a mapping with domains, samplers and seeds")
    if not any(get_close_matches(str(key), _NEEDED, n=1) for key in data if key not in _CHOSEN):
        raise UserError(
            "a study needs domains, samplers and seeds; the settings of one run are for `waker train --config`"
        )
    for key in data:
        if key not in _KEYS:
            raise unknown("key", str(key), _KEYS)
    for key in _NEEDED:
        if data.get(key) in (None, [], {}):
            raise UserError(f"a study needs {key}")
    domains, variants = _named(data, "domains"), _named(data, "variants") or {"": {}}
    _refuse_alike(variants)
    samplers, explorers = _named(data, "samplers"), _names(data, "explorers") or ["plan2explore"]
    without = _without(data.get("without"), domains, samplers)
    shared = _settings(data.get("settings"), "settings")
    if "preset" in data:
        shared = {"preset": data["preset"], **shared}
    cells = []
    for seed, variant, domain, explorer, sampler in itertools.product(
        _seeds(data["seeds"]), variants, domains, explorers, samplers
    ):
        if sampler in without.get(domain, ()):
            continue
        settings = {**shared, **domains[domain], **samplers[sampler], **variants[variant]}
        name, label = _labelled(sampler)
        settings = _of(settings, "curriculum", name, [_labelled(other)[0] for other in samplers])
        settings = _of(settings, "explorer", explorer, explorers)
        if variants[variant] and not variants[variant].keys() & settings.keys():
            raise UserError(
                f"variant {variant} changes nothing of {sampler}; settings of one sampler's own stand under samplers, "
                "with a name each: `samplers: {dr: , plr+low: {curriculum.plr.beta: 0.1}, plr+high: …}`"
            )
        chosen = {"env": domain, "sampler": name, "explorer": explorer, "seed": seed}
        chosen |= {"name": label} if label else {}
        cells.append(Cell(variant, domain, sampler, explorer, seed, tuple(_words({**settings, **chosen}))))
    return cells


def _without(given: object, domains: Iterable[str], samplers: Iterable[str]) -> dict[str, list[str]]:
    """Domain → samplers that it has no runs of, such as an oracle of knowledge that nobody has of it."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UserError(f"without is a mapping from domains to lists of samplers, not {given!r}")
    found = {}
    for domain in given:
        if domain not in domains:
            raise unknown("domain", str(domain), domains)
        found[domain] = _names(given, domain)
        for sampler in found[domain]:
            if sampler not in samplers:
                raise unknown("sampler", sampler, samplers)
    return found


def _refuse_alike(variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse two variants of the same settings, whose runs would differ in their names alone."""
    for one, other in itertools.combinations(variants, 2):
        if variants[one] == variants[other]:
            settings = ", ".join(f"{key}: {value}" for key, value in variants[one].items()) or "none"
            raise UserError(
                f"variants {one} and {other} have the same settings ({settings}), so their runs would be the same; "
                "a variant is a name with settings: `variants: {small: , wide: {model.hidden: 256}}`"
            )


def _labelled(sampler: str) -> tuple[str, str]:
    """``plr+low``: the sampler, and the name that its runs have beside it; else none."""
    found = re.fullmatch(r"(.+?)\+([\w.-]+)", sampler)
    return (found[1], found[2]) if found else (sampler, "")


def _of(settings: Mapping[str, Any], section: str, part: str, parts: Sequence[str]) -> dict[str, Any]:
    """The settings without those of other parts' own."""
    others = {source_name(name) for name in parts} - {source_name(part)}
    return {
        key: value
        for key, value in settings.items()
        if not (key.count(".") == 2 and key.startswith(f"{section}.") and key.split(".")[1] in others)
    }


def _named(data: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """Name → settings; a plain list of names has none."""
    given = data.get(key) or {}
    if isinstance(given, str):
        raise UserError(f"{key} are several: write {key}: [{given}]")
    if not isinstance(given, Mapping | Sequence):
        raise UserError(f"{key} are names, or a mapping from names to settings; not {given!r}")
    if not isinstance(given, Mapping):
        given = dict.fromkeys(_names(data, key))
    named = {str(name): _settings(settings, f"{key}: {name}") for name, settings in given.items()}
    if key == "variants":
        for name in named:
            if not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
                raise UserError(f"a variant's name is a folder's: letters, digits, '-', '_' and '.', not {name!r}")
            if name in TAKEN:
                raise UserError(f"a variant cannot be called {name!r}: that folder is the sweep's own")
    return named


def _names(data: Mapping[str, Any], key: str) -> list[str]:
    given = data.get(key) or []
    if isinstance(given, str):
        raise UserError(f"{key} are several: write {key}: [{given}]")
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise UserError(f"{key} must be a list of names, not {given!r}")
    if len(set(given)) < len(given):
        raise UserError(f"{key} names {next(n for n in given if given.count(n) > 1)!r} twice")
    return given


def _settings(given: object, where: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UserError(f"{where} must be settings with their values, not {given!r}")
    settings: dict[str, Any] = {}
    for key, value in _flat(given):
        if key.replace("-", "_") in (there.replace("-", "_") for there in settings):
            raise UserError(f"{where} gives {key} twice")
        settings[key] = value
    for key in settings:
        if (key := key.replace("_", "-")) in _CHOSEN:
            raise UserError(f"{where} gives {key}: that is chosen by {_CHOSEN[key]}")
    return settings


def _flat(given: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted names: ``train: {steps: 400}`` as ``train.steps: 400``."""
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name.replace("-", "_") not in _mappings():
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


@cache
def _mappings(kind: Any = Config, prefix: str = "") -> frozenset[str]:
    """The settings whose value is a mapping, such as ``env_kwargs``."""
    found = set[str]()
    for name, hint in types_of(kind).items():
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        if isinstance(hint, type) and issubclass(hint, Settings):
            found |= _mappings(typing.cast(Any, hint), f"{prefix}{name}.")
        elif typing.get_origin(hint) is dict:
            found.add(f"{prefix}{name}")
    return frozenset(found)


def _seeds(given: object) -> list[int]:
    """``0-9``, 3, or a list of both."""
    seeds: list[int] = []
    for item in given if isinstance(given, list) else [given]:
        if isinstance(item, bool) or not re.fullmatch(r"\d+(\s*-\s*\d+)?", str(item)):
            raise UserError(f"seeds must be whole numbers or ranges such as 0-9, not {item!r}")
        first, *last = map(int, str(item).split("-"))
        if last and last[0] < first:
            raise UserError(f"the range of seeds {item} is empty")
        seeds += range(first, (last[0] if last else first) + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seed {next(s for s in seeds if seeds.count(s) > 1)} is named twice")
    return seeds


def _words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as options of the command line: ``train.task_policies: after`` → ``--train.task-policies after``."""
    words = []
    for key, value in settings.items():
        name = "--" + key.replace("_", "-")
        if isinstance(value, Mapping):
            words += [name, *(f"{k}={_single(f'{key}: {k}', v)}" for k, v in value.items())]
        elif isinstance(value, bool):
            words.append(name if value else "--no-" + name[2:] if "." not in name else _negated(name))
        elif isinstance(value, list):
            words += [name, *map(_text, value)]
        else:
            words += [name, _text(value)]
    return words


def _negated(name: str) -> str:
    """``--model.symlog`` → ``--model.no-symlog``."""
    section, _, last = name.rpartition(".")
    return f"{section}.no-{last}"


def _single(name: str, value: object) -> str:
    if isinstance(value, list | Mapping):
        raise UserError(
            f"{name} must be one value, not {value!r}; an environment with other arguments is registered under an id "
            "of its own (waker_envs.register_family)"
        )
    return _text(value)


def _text(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
