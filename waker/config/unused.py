"""Settings that somebody has set and that the chosen sampler does not use: told, as they are most likely a mistake.

One run tells of them (:func:`waker.training.build.train_run`); a study or a demonstration, whose settings several
samplers share, refuses those that none of its runs uses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from waker.config.presets import PRESETS, preset
from waker.config.schema import Config
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.unused import unused_settings
from waker.errors import UserError
from waker_envs.api import ThetaSpace
from waker_envs.file_source import source_name


def set_here(config: Config) -> dict[str, Any]:
    """The curriculum's settings that neither the preset nor the defaults have as they are, by full name."""
    curriculum = config.curriculum
    bases = [CurriculumConfig()]
    if config.preset in PRESETS:
        bases.append(preset(config.preset).curriculum)
    found = {
        f"curriculum.{f.name}": value
        for f in dataclasses.fields(curriculum)
        if f.name not in ("sampler", "settings")
        and all((value := getattr(curriculum, f.name)) != getattr(base, f.name) for base in bases)
    }
    own = source_name(curriculum.sampler)
    return found | {f"curriculum.{own}.{name}": value for name, value in curriculum.settings.items()}


def unused(config: Config, space: ThetaSpace | None = None) -> dict[str, Any]:
    """Those of :func:`set_here` that change nothing under the run's sampler.

    Raises:
        UserError: see :func:`waker.curriculum.unused.unused_settings`.
    """
    given = set_here(config)
    idle = unused_settings(config.curriculum, space) if given else frozenset()
    return {name: value for name, value in given.items() if name.removeprefix("curriculum.") in idle}


def told_unused(config: Config, space: ThetaSpace | None = None) -> list[str]:
    """One line for each of a run."""
    sampler = source_name(config.curriculum.sampler)
    return [
        f"{name} = {value} changes nothing here: sampler {sampler!r} does not use it beside the other settings"
        for name, value in unused(config, space).items()
    ]


def refuse_unused(configs: Iterable[Config]) -> None:
    """Refuse settings that no run of several uses: one that some use may be shared by all.

    Raises:
        UserError: there is one; the message names it, and whose runs have it.
    """
    idle: dict[str, set[str]] = {}
    used = set[str]()
    for config in configs:
        without = unused(config)
        used |= set_here(config).keys() - without.keys()
        for name in without:
            idle.setdefault(name, set()).add(source_name(config.curriculum.sampler))
    for name, samplers in idle.items():
        if name not in used:
            runs = f"set for {' and '.join(sorted(samplers))}" if len(samplers) == 1 else "set"
            whose = "that sampler does not use" if len(samplers) == 1 else f"none of {', '.join(sorted(samplers))} uses"
            raise UserError(f"{name} is {runs}, and {whose} it beside the other settings: leave it out")
