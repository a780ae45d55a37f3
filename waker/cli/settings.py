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
from waker.errors import UserError, unknown

DEFAULT_PRESET = "laptop"
SHORT = {
    "--sampler": "--curriculum.sampler",
    "--explorer": "--explorer.name",
    "--steps": "--train.steps",
    "--task-policies": "--train.task-policies",
}
"""Short names of the options that comparisons change most."""


@dataclass(frozen=True)
class TrainArgs:
    """Explore without reward, learn a world model, let the curriculum choose environments, imagine policies.

    The same command goes on where it was stopped, and skips what is finished. Short for --curriculum.sampler,
    --explorer.name, --train.steps and --train.task-policies: --sampler, --explorer, --steps and --task-policies.
    """

    preset: str = DEFAULT_PRESET
    """Settings to start from; every option below overrides one of them. `paper` and `authors` hold what was published
    for the environment's domain; `paper-terrain`, `paper-cleanup`, `paper-combined` (and `authors-…`) one domain's
    numbers for whatever environment."""
    runs: Path = Path("runs")
    """Folder of all runs; this one goes to <runs>/<domain>/<sampler>/<explorer>/seed-<n>."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def _option(argv: Sequence[str], name: str) -> str | None:
    """The value of an option that must be known before the others are parsed; the last one counts."""
    value = None
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        if word == name:
            value = following
        elif word.startswith(f"{name}="):
            value = word.split("=", 1)[1]
    return value


def _long(argv: Sequence[str]) -> list[str]:
    """Options under their full names."""
    words = (word.partition("=") for word in argv)
    return [SHORT.get(name, name) + equals + value for name, equals, value in words]


def parse_settings(argv: Sequence[str], verb: str) -> TrainArgs:
    """Preset first, then overrides, then every name checked, before anything is written.

    Raises:
        UserError: an unknown preset, option, environment or sampler, with the nearest valid one; a value out of range;
            a published preset for an environment that no paper has.
        UnknownEnvError: likewise for the environment.
    """
    import waker_envs

    given, argv = constructor_arguments(argv)
    of_explorer, argv = constructor_arguments(argv, "--explorer.settings")
    argv = _long(argv)
    preset = _option(argv, "--preset") or DEFAULT_PRESET
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    env = _option(argv, "--env")
    base = presets.preset(preset, waker_envs.resolve_id(env) if env else None, _option(argv, "--curriculum.sampler"))
    # The preset's constructor arguments are put back below: tyro would turn a filled dict into one option a key.
    default = TrainArgs(preset=preset, config=dataclasses.replace(base, env_kwargs={}))
    short = [*SHORT] if verb == "train" else [*(SHORT.keys() - {"--sampler"}), "--samplers"]
    args = parse(TrainArgs, argv, verb=verb, default=default, inline=("config",), also=short)
    explorer = dataclasses.replace(args.config.explorer, settings={**base.explorer.settings, **of_explorer})
    config = dataclasses.replace(args.config, env_kwargs={**base.env_kwargs, **given}, explorer=explorer)
    return dataclasses.replace(args, config=checked(config))


def checked(config: Config) -> Config:
    """The configuration with its environment's full id.

    Raises:
        UserError, UnknownEnvError: a name that does not exist, or numbers that do not go together.
    """
    from waker.curriculum.registry import curriculum_names
    from waker.exploration.registry import explorer_class
    from waker.storage.run_folder import canonical

    config = canonical(config)
    if config.curriculum.sampler not in curriculum_names():
        raise unknown("sampler", config.curriculum.sampler, curriculum_names())
    explorer_class(config.explorer.name)
    train = config.train
    if train.replay < train.envs * train.length:
        raise UserError(
            f"train.replay = {train.replay} holds fewer than {train.length} steps for each of {train.envs} slots; "
            f"give at least {train.envs * train.length}"
        )
    if train.prefill < train.envs * train.length:
        raise UserError(
            f"train.prefill = {train.prefill} leaves fewer than {train.length} steps in each of {train.envs} slots for "
            f"the first batch; give at least {train.envs * train.length}"
        )
    return config
