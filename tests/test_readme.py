"""The README shows what is tested: its example is the plug-in's file, its commands and scripts exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from waker.cli.settings import parse_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CURRICULA = (ROOT / "docs/curricula.md").read_text()


def test_the_environment_example_is_the_tested_plugin() -> None:
    assert (ROOT / "tests/plugin_example/corridor_example.py").read_text().strip() in README


def test_the_sampler_example_is_the_tested_plugin() -> None:
    assert (ROOT / "tests/plugin_example/surprise_example.py").read_text().strip() in CURRICULA


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^waker train [^#`&\n]*", README, re.M))))
def test_train_commands_parse(command: str) -> None:
    assert parse_settings(command.split()[2:], "train").config.env


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ((?:tests|experiments)\.\w+)", README))))
def test_scripts_exist(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make (\w+)  +#", README))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_pictures_exist() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
