"""From preset and overrides to one checked :class:`~waker.config.schema.Config`; for ``train`` and ``quickstart``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from waker.cli.arguments import parse
from waker.cli.constructor_arguments import constructor_arguments
from waker.config import presets
from waker.config.presets import PRESETS
from waker.config.schema import Config
from waker.errors import unknown

DEFAULT_PRESET = "laptop"


@dataclass(frozen=True)
class TrainArgs:
    """Explore without reward, learn a world model, let the curriculum choose environments, imagine policies.

    The same command goes on where it was stopped, and skips what is finished. --help-all lists further settings: those
    of the published code, and others that presets choose.
    """

    preset: str = DEFAULT_PRESET
    """Settings to start from; every option below overrides one of them. `paper` and `authors` hold what was published
    for the environment's domain; `paper-terrain`, `paper-cleanup`, `paper-combined` (and `authors-…`) one domain's
    numbers for whatever environment."""
    runs: Path = Path("runs")
    """Folder of all runs; this one goes to <runs>/<domain>/<sampler>/<explorer>/seed-<n>."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def _option(argv: Sequence[str], *names: str) -> str | None:
    """The value of an option that must be known before the others are parsed; the last one counts."""
    value = None
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        name, equals, own = word.partition("=")
        if name in names:
            value = own if equals else following
    return value


def parse_settings(argv: Sequence[str], verb: str) -> TrainArgs:
    """Preset first, then overrides, then every name checked, before anything is written.

    Raises:
        UserError: an unknown preset, option, environment or sampler, with the nearest valid one; a value out of range;
            a published preset for an environment that no paper has.
        UnknownEnvError: likewise for the environment.
    """
    import waker_envs
    from waker.config.checks import check
    from waker.storage.run_folder import canonical

    given, argv = constructor_arguments(argv)
    preset = _option(argv, "--preset") or DEFAULT_PRESET
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    env = _option(argv, "--env")
    sampler = _option(argv, "--curriculum.sampler", "--sampler")
    base = presets.preset(preset, waker_envs.resolve_id(env) if env else None, sampler)
    # The preset's constructor arguments are put back below: tyro would turn a filled dict into one option a key.
    default = TrainArgs(preset=preset, config=dataclasses.replace(base, env_kwargs={}))
    args = parse(TrainArgs, argv, verb=verb, default=default, also=() if verb == "train" else ("--samplers",))
    config = canonical(dataclasses.replace(args.config, env_kwargs={**base.env_kwargs, **given}))
    check(config)
    return dataclasses.replace(args, config=config)
