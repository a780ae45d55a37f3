"""Constructor arguments from the command line: YAML 1.2's scalars, and text for all else."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from waker.cli.constructor_arguments import Scalar, constructor_arguments, scalar
from waker.cli.settings import parse_settings
from waker.config.same_run import difference
from waker.config.saved import config_from, plain
from waker.config.schema import Config
from waker.errors import UserError

VALUES: dict[str, Scalar] = {
    "4": 4,
    "+4": 4,
    "-12": -12,
    "0": 0,
    "0x1F": 31,
    "0o17": 15,
    "1e-4": 1e-4,
    "-1e-3": -1e-3,
    "2e5": 2e5,
    "1E5": 1e5,
    "0.5": 0.5,
    ".5": 0.5,
    "1.": 1.0,
    "-.5e1": -5.0,
    "true": True,
    "False": False,
    "TRUE": True,
    "null": None,
    "~": None,
    ".inf": math.inf,
    "-.INF": -math.inf,
    **{
        text: text
        for text in ("12:30", "0123", "-007", "00.5", "1_000", "yes", "off", "None", "inf", "nan", "1e", "e5")
    },
    **{
        text: text for text in ("@home", "*best", "&a", ":x", "%y", "`z", "[1, 2]", "{a: 1}", "a: b", "a #b", "- 1", "")
    },
    **{
        text: text
        for text in ("2024-01-01", "0b101", "0x", "--5", "1.2.3", "٣", "!!int 3", "|", ">", "'", '"', "'a'b'")
    },
    '"4"': "4",
    "'4'": "4",
    "'it''s'": "it's",
    r'"a\nb"': "a\nb",
    " 5 ": 5,
}


@pytest.mark.parametrize("text", VALUES)
def test_values(text: str) -> None:
    got = scalar(text)
    assert (got, type(got)) == (VALUES[text], type(VALUES[text]))


def test_not_a_number_is_a_number() -> None:
    got = scalar(".nan")
    assert isinstance(got, float)
    assert math.isnan(got)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_as_python_writes_it_is_that_number(number: float) -> None:
    got = scalar(repr(number))
    assert (got, type(got)) == (number, type(number))


@given(st.text())
def test_text_is_never_an_error_and_quotes_keep_it(text: str) -> None:
    if "e" not in text.lower():  # a power of ten may be too large
        assert isinstance(scalar(text), str | int | float | None)
    quoted = "'" + text.replace("'", "''") + "'"
    assert scalar(quoted) == text


@given(st.from_regex(r"[-+]?0[0-9]+", fullmatch=True))
def test_a_leading_zero_makes_text(text: str) -> None:
    assert scalar(text) == text


@pytest.mark.parametrize("text", ["1e999", "-2.5e400", "9" * 5000])
def test_a_number_too_large_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^--env-kwargs: .* is too l"):
        scalar(text)


@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), st.text(), min_size=1))
def test_any_text_reaches_the_settings_in_quotes(arguments: dict[str, str]) -> None:
    words = [f"{name}='{value.replace(chr(39), chr(39) * 2)}'" for name, value in arguments.items()]
    assert constructor_arguments(["--seed", "1", "--env-kwargs", *words, "--env", "x"]) == (
        arguments,
        ["--seed", "1", "--env", "x"],
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--env-kwargs", "a=-1e-3", "b=--seed"],
        ["--env-kwargs=a=-1e-3", "b=--seed"],
        ["--env_kwargs", "a", "-1e-3", "--env-kwargs", "b=--seed"],
    ],
)
def test_forms(words: list[str]) -> None:
    config = parse_settings([*words, "--seed", "3"], "train").config
    assert config.env_kwargs == {"a": -1e-3, "b": "--seed"}
    assert config.seed == 3


@pytest.mark.parametrize("words", [["--env-kwargs"], ["--env-kwargs", "obs"], ["--env-kwargs", "a=1", "b", "--seed"]])
def test_a_name_without_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="--env-kwargs"):
        parse_settings(words, "train")


def test_settings_alone_are_settings() -> None:
    assert parse_settings([], "train").config == parse_settings(["--preset", "laptop"], "train").config


@pytest.fixture(scope="module")
def read() -> dict[str, Config]:
    """The configuration with each of :data:`VALUES` as the argument ``a``; all were on one command line."""
    words = [f"a{number}={text}" for number, text in enumerate(VALUES)]
    config = parse_settings(["--env-kwargs", *words], "train").config
    found = [config.env_kwargs[f"a{number}"] for number in range(len(VALUES))]
    return {
        text: dataclasses.replace(config, env_kwargs={"a": value}) for text, value in zip(VALUES, found, strict=True)
    }


@pytest.mark.parametrize("text", VALUES)
def test_values_are_read_back_from_a_run_folder(text: str, read: dict[str, Config], tmp_path: Path) -> None:
    """As ``config.yaml`` keeps them, which PyYAML reads by the older rules."""
    config = read[text]
    assert (config.env_kwargs["a"], type(config.env_kwargs["a"])) == (VALUES[text], type(VALUES[text]))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config), allow_unicode=True), encoding="utf-8")
    back = config_from(yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8")))
    assert (back.env_kwargs, type(back.env_kwargs["a"])) == (config.env_kwargs, type(VALUES[text]))


def test_not_a_number_is_the_same_setting_when_a_run_goes_on() -> None:
    config = parse_settings(["--env-kwargs", "a=.nan"], "train").config
    assert difference(plain(config), plain(config)) is None
    changed = plain(dataclasses.replace(config, env_kwargs={"a": 1.0}))
    assert difference(plain(config), changed) == "env_kwargs.a is nan there and 1.0 now"
