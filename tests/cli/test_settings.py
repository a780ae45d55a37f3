"""Preset first, then overrides; one spelling of every option."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.helpers.tiny import refused
from waker.cli import main
from waker.cli.arguments import options_of
from waker.cli.help_texts import as_typed, docstrings
from waker.cli.settings import TrainArgs, parse_settings
from waker.config.presets import PRESETS, preset
from waker.config.saved import plain
from waker.curriculum.registry import curriculum_settings
from waker.errors import UserError
from waker.settings import flat


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_alone_is_the_preset(name: str) -> None:
    assert parse_settings(["--preset", name], "train").config == preset(name)


def test_overrides_change_only_their_fields() -> None:
    got = parse_settings(
        ["--preset=tiny", "--seed", "4", "--model.deter=24", "--curriculum.sampler", "dr"], "train"
    ).config
    base = preset("tiny")
    expected = dataclasses.replace(
        base,
        seed=4,
        model=dataclasses.replace(base.model, deter=24),
        curriculum=dataclasses.replace(base.curriculum, sampler="dr"),
    )
    assert got == expected


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    words = ["--preset", "tiny", "--steps", "1e5", "--train.replay=2.5e6", "--name", "1e5"]
    got = parse_settings(words, "train").config
    assert (got.train.steps, got.train.replay, got.name) == (100_000, 2_500_000, "1e5")
    with pytest.raises(UserError, match=r"'1\.55e1'"):
        parse_settings(["--preset", "tiny", "--steps", "1.55e1"], "train")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--train.steps 7000", "train.steps", 7000),
        ("--train.steps=7000", "train.steps", 7000),
        ("--train.train_every 3", "train.train_every", 3.0),
        ("--steps 7000", "train.steps", 7000),
        ("--task_policies after", "train.task_policies", "after"),
        ("--task-policies=after", "train.task_policies", "after"),
        ("--sampler dr", "curriculum.sampler", "dr"),
        ("--explorer random", "explorer.name", "random"),
        ("--explorer.name random", "explorer.name", "random"),
        ("--model.optimizer.anneal 9", "model.optimizer.anneal", 9),
        ("--env-kwargs obs=symbolic --model.optimizer.anneal 9", "model.optimizer.anneal", 9),
        ("--evaluation.sources random explorer", "evaluation.sources", ("random", "explorer")),
        ("--model.no-symlog", "model.symlog", False),
        ("--longest-episode 9", "longest_episode", 9),
    ],
)
def test_a_setting_is_found_in_its_section_however_it_is_written(words: str, name: str, value: object) -> None:
    """Sections that no word names are not looked into."""
    got = flat(plain(parse_settings(["--preset", "tiny", *words.split()], "train").config))
    before = flat(plain(preset("tiny")))
    if "env-kwargs" in words:
        assert got.pop("env_kwargs.obs") == "symbolic" and before.pop("env_kwargs") == {}
    assert got == {**before, name: list(value) if isinstance(value, tuple) else value}


def test_the_last_preset_counts_wherever_it_stands() -> None:
    assert parse_settings(["--seed", "1", "--preset", "paper", "--preset", "tiny"], "train").config.preset == "tiny"


@pytest.mark.parametrize("form", [["obs=pixels", "n_layouts=2"], ["obs", "pixels", "n_layouts", "2"]])
def test_constructor_arguments_are_typed(form: list[str]) -> None:
    config = parse_settings(["--env-kwargs", *form, "--seed", "2"], "train").config
    assert config.env_kwargs == {"obs": "pixels", "n_layouts": 2}
    assert config.seed == 2


def test_a_short_environment_name_becomes_the_full_one() -> None:
    assert parse_settings(["--env", "GridCleanUp"], "train").config.env == "waker/GridCleanUp-v0"


def test_help_shows_what_a_user_sets_and_help_all_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = set(options_of(TrainArgs, details=False)), set(options_of(TrainArgs))
    assert 50 < len(short - {"--sampler", "--explorer", "--steps", "--task-policies"}) < 100
    published = ("model.optimizer.keras", "model.kl-balance", "explorer.across-ends", "behaviour.baseline")
    assert {f"--{name}" for name in published} <= whole - short
    for asked, names in (("--help", short), ("--help-all", whole)):
        with pytest.raises(SystemExit):
            parse_settings([asked], "train")
        assert names <= set(capsys.readouterr().out.replace(",", " ").split())


def test_the_help_names_settings_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    known = {name.rpartition(".")[2] for name in flat(dataclasses.asdict(TrainArgs())) if "_" in name}
    for verb in ("train", "adapt", "compare"):
        assert main([verb, "--help-all", *(["--sampler", "waker-m"] if verb == "train" else [])]) == 0
        shown = capsys.readouterr().out
        assert not known & set(re.findall(r"[a-z]+(?:_[a-z]+)+", shown))
    assert main(["train", "--sampler", "plr", "--help"]) == 0
    shown = capsys.readouterr().out
    for name, text in docstrings(curriculum_settings("plr")).items():
        lines = re.search(rf"--curriculum\.plr\.{name.replace('_', '-')} \(default: .*\)\n((?: {{6}}.*\n)+)", shown)
        assert lines is not None and " ".join(lines[1].split()) == as_typed(text, [name])


def test_only_names_of_settings_are_written_as_they_are_typed() -> None:
    text = "`train.adapt_repeats`, kl_dyn/kl_rep and worst_regret of file_name.py, not f(kl_dyn(x)) nor X.kl_dyn"
    assert as_typed(text) == (
        "`train.adapt-repeats`, kl-dyn/kl-rep and worst_regret of file_name.py, not f(kl_dyn(x)) nor X.kl_dyn"
    )


def test_every_setting_is_an_option() -> None:
    settings = {name.removeprefix("config.") for name in flat(dataclasses.asdict(TrainArgs()))}
    settings -= {"sink_settings", "start"}  # each logger's own are: --sinks.wandb.project; the other is --config
    assert "--config" in options_of(TrainArgs)
    assert settings <= {name.removeprefix("--").replace("-", "_") for name in options_of(TrainArgs)}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("train.envs", "0"), ("train.keep", "0"), ("train.length", "-1"), ("train.adapt-batch", "0")),
        *(("train.train-every", v) for v in ("0", "nan", "inf")),
        *(("model.bins", "2"), ("model.bins", "4"), ("model.classes", "0"), ("model.encoder-units", "8 0")),
        *(("model.optimizer.lr", "-1"), ("explorer.heads", "0"), ("explorer.heads", "1"), ("behaviour.horizon", "0")),
        *(("behaviour.discount", "1.1"), ("evaluation.samples", "0"), ("evaluation.horizon", "0"), ("seed", "-1")),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(option: str, value: str) -> None:
    name = ".".join(option.replace("-", "_").split(".")[-2:])
    with pytest.raises(UserError, match=rf"(^|\W){re.escape(name)} = .* must be ") as caught:
        parse_settings([f"--{option}", *value.split()], "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [["--sampler", "waker-r"], ["--sampler=waker-r"]])
def test_short_names_stand_for_full_ones(form: list[str]) -> None:
    full = ["--curriculum.sampler", "waker-r", "--train.task-policies", "online", "--train.steps", "777"]
    short = [*form, "--task-policies", "online", "--steps", "777"]
    assert parse_settings(short, "train").config == parse_settings(full, "train").config


@pytest.mark.parametrize(
    ("words", "env", "sampler"),
    [
        ("--preset paper", None, None),
        ("--preset paper --env CleanUp", "waker/CleanUp-v0", None),
        (
            "--preset=authors --env=waker/CarCleanUp-v0 --sampler=gradual-expansion",
            "waker/CarCleanUp-v0",
            "gradual-expansion",
        ),
        ("--env Combined --preset paper --curriculum.sampler dr", "waker/Combined-v0", "dr"),
    ],
)
def test_a_published_preset_follows_environment_and_sampler(words: str, env: str | None, sampler: str | None) -> None:
    name = "authors" if "authors" in words else "paper"
    assert parse_settings(words.split(), "train").config == preset(name, env, sampler)


def test_an_option_still_goes_before_what_was_published() -> None:
    words = "--preset paper --env CleanUp --sampler hardest-oracle --train.prefill 7000 --model.kl-scale 2"
    config = parse_settings(words.split(), "train").config
    assert (config.train.prefill, config.model.kl_scale, config.model.optimizer.lr) == (7000, 2.0, 2e-4)


def test_the_numbers_of_a_domain_go_to_any_environment() -> None:
    config = parse_settings(["--preset", "paper-cleanup", "--env", "GridCleanUp"], "train").config
    assert config == dataclasses.replace(preset("paper-cleanup"), env="waker/GridCleanUp-v0")


@pytest.mark.parametrize("words", ["--preset paper --env GridHazards", "--env=DoorKey --preset=authors"])
def test_no_paper_has_the_grids(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no paper has waker/" in refused(["train", *words.split()], capsys)
    assert "no paper has waker/" in refused(["quickstart", *words.split()], capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--curriculum.plr.beta 3", "is a setting of sampler plr, and the sampler here is waker-m; add --sampler plr"),
        ("--curriculum.plrr.beta=3", "unknown sampler 'plrr'; did you mean 'plr'"),
        ("--explorer.rnd.size 8", "is a setting of explorer rnd, and the explorer here is plan2explore"),
        ("--explorer.optimiser.lr 1", "did you mean '--explorer.optimizer.lr'"),
    ],
)
def test_a_setting_of_another_part_is_refused_by_its_part(words: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        parse_settings(words.split(), "train")


def test_nested_settings_are_no_parts() -> None:
    assert parse_settings(["--explorer.optimizer.lr", "0.5"], "train").config.explorer.optimizer.lr == 0.5
