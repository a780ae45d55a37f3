"""From preset and overrides to one checked :class:`~waker.config.schema.Config`; for ``train`` and ``quickstart``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from waker.cli.arguments import parse
from waker.cli.constructor_arguments import constructor_arguments
from waker.cli.part_options import help_of, names_of, own_options, refuse_others
from waker.config import presets
from waker.config.presets import PRESETS
from waker.config.schema import Config
from waker.errors import Ended, UserError, unknown
from waker_envs.file_source import source_name


@dataclass(frozen=True)
class TrainArgs:
    """Explore without reward, learn a world model, let the curriculum choose environments, imagine policies.

    The same command goes on where it was stopped, and skips what is finished. --help-all lists further settings: those
    of the published code, and others that presets choose.
    """

    start: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """Start from the settings in this file instead of a preset: a run's config.yaml (or its folder), or one of your own
    (YAML: a preset's name and what differs from it)."""
    runs: Path = Path("runs")
    """Folder of all runs; this one goes to <runs>/<domain>/<sampler>/<explorer>/seed-<n>."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def option_of(argv: Sequence[str], *names: str) -> str | None:
    """The value of an option that must be known before the others are parsed; the last one counts."""
    value = None
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        name, equals, own = word.partition("=")
        if name in names:
            value = own if equals else following
    return value


def _values(argv: Sequence[str], name: str) -> list[str]:
    """The values behind an option that takes several; the last one counts."""
    values: list[str] = []
    inside = False
    for word in argv:
        if word.startswith("--"):
            option, equals, own = word.partition("=")
            inside = option == name
            values = [own] * bool(equals) if inside else values
        elif inside:
            values.append(word)
    return values


def _sink_options(
    argv: Sequence[str], sinks: Sequence[str], known: Mapping[str, Any], verb: str
) -> tuple[dict[str, Any], list[str]]:
    """Loggers' own settings, ``wandb.project`` → value, and the arguments without their options.

    Args:
        argv: the command line.
        sinks: the chosen loggers.
        known: settings that were there before; those of other loggers stay.
        verb: for messages.

    Raises:
        UserError: see :func:`waker.cli.part_options.own_options`; or an option of a logger that is not chosen.
    """
    from waker.loggers.registry import own_settings, sink_settings

    found, rest = dict(known), list(argv)
    for sink in sinks:
        before = own_settings(sink, known)
        own, rest = own_options(rest, "sinks", sink, sink_settings, before, verb)
        found = {key: value for key, value in found.items() if key.partition(".")[0] != source_name(sink)}
        found |= {f"{source_name(sink)}.{key}": value for key, value in own.items()}
    for word in rest:
        if word.startswith("--sinks."):
            name = word.removeprefix("--sinks.").partition(".")[0]
            raise UserError(f"{word.partition('=')[0]}: {name!r} is none of --sinks {' '.join(sinks)}")
    return found, rest


def _with(config: Config, env_kwargs: dict[str, Any], sampler: dict[str, Any], explorer: dict[str, Any]) -> Config:
    """The configuration with other settings of its environment, sampler and explorer."""
    return dataclasses.replace(
        config,
        env_kwargs=env_kwargs,
        curriculum=dataclasses.replace(config.curriculum, settings=sampler),
        explorer=dataclasses.replace(config.explorer, settings=explorer),
    )


def _without_others(config: Config, sampler: str | None, explorer: str | None) -> Config:
    """A file's settings without those of its sampler's and explorer's own where another one is asked for."""
    curriculum, exploring = config.curriculum, config.explorer
    if sampler is not None and source_name(sampler) != source_name(curriculum.sampler):
        curriculum = dataclasses.replace(curriculum, settings={})
    if explorer is not None and source_name(explorer) != source_name(exploring.name):
        exploring = dataclasses.replace(exploring, settings={})
    return dataclasses.replace(config, curriculum=curriculum, explorer=exploring)


def _print_sinks(sinks: Sequence[str]) -> None:
    from waker.loggers.registry import sink_settings

    for sink in sinks:
        if (own := sink_settings(sink)) is not None:
            print(help_of("sinks", sink, own))


def explorer_settings(name: str) -> type[Any] | None:
    """The dataclass of an explorer's own settings.

    Raises:
        UserError: there is no such explorer.
    """
    from waker.exploration.registry import explorer_class  # imports torch, which the help does without

    return explorer_class(name).Own


def parse_settings(argv: Sequence[str], verb: str) -> TrainArgs:
    """Preset or settings file first, then overrides, then every name checked, before anything is written.

    Raises:
        UserError: an unknown preset, settings file, option, environment or sampler, with the nearest valid one; a value
            out of range; a published preset for an environment that no paper has.
        UnknownEnvError: likewise for the environment.
    """
    import waker_envs
    from waker.config.checks import check
    from waker.curriculum.registry import curriculum_settings
    from waker.storage.files import check_folder
    from waker.storage.run_folder import canonical
    from waker.storage.settings_file import read_settings

    given, argv = constructor_arguments(argv)
    to_sampler, argv = constructor_arguments(argv, "--curriculum.settings")
    to_explorer, argv = constructor_arguments(argv, "--explorer.settings")
    preset, file = option_of(argv, "--preset"), option_of(argv, "--config")
    env = option_of(argv, "--env")
    sampler = option_of(argv, "--curriculum.sampler", "--sampler")
    if file is not None:
        if preset is not None:
            raise UserError("--preset and --config: settings start from one of them")
        base = _without_others(read_settings(Path(file)), sampler, option_of(argv, "--explorer.name", "--explorer"))
    else:
        preset = preset or presets.DEFAULT
        if preset not in PRESETS:
            raise unknown("preset", preset, PRESETS)
        base = presets.preset(preset, waker_envs.resolve_id(env) if env else None, sampler)
    sampler = sampler or base.curriculum.sampler
    explorer = option_of(argv, "--explorer.name", "--explorer") or base.explorer.name
    to_sampler = {**base.curriculum.settings, **to_sampler}
    to_sampler, argv = own_options(argv, "curriculum", sampler, curriculum_settings, to_sampler, verb)
    to_explorer = {**base.explorer.settings, **to_explorer}
    nested = [
        f.name for f in dataclasses.fields(base.explorer) if dataclasses.is_dataclass(getattr(base.explorer, f.name))
    ]
    to_explorer, argv = own_options(argv, "explorer", explorer, explorer_settings, to_explorer, verb, nested)
    refuse_others(argv, "curriculum", sampler, curriculum_settings)
    refuse_others(argv, "explorer", explorer, explorer_settings, nested)
    sinks = _values(argv, "--sinks") or base.sinks
    to_sinks, argv = _sink_options(argv, sinks, base.sink_settings, verb)
    # The preset's constructor arguments are put back below: tyro would turn a filled dict into one option a key.
    default = TrainArgs(config=dataclasses.replace(_with(base, {}, {}, {}), sink_settings=to_sinks))

    def also() -> Iterator[str]:
        yield from names_of("curriculum", sampler, curriculum_settings)
        yield from names_of("explorer", explorer, explorer_settings)
        yield from () if verb == "train" else ("--samplers",)

    try:
        args = parse(TrainArgs, argv, verb=verb, default=default, also=also())
    except Ended:
        if (own := curriculum_settings(sampler)) is not None:
            print(help_of("curriculum", sampler, own))
        if explorer != base.explorer.name and (of_explorer := explorer_settings(explorer)) is not None:
            print(help_of("explorer", explorer, of_explorer))
        _print_sinks(sinks)
        raise
    check_folder("--runs", args.runs)
    config = canonical(_with(args.config, {**base.env_kwargs, **given}, to_sampler, to_explorer))
    check(config)
    explorer_settings(config.explorer.name)
    return dataclasses.replace(args, config=config)
