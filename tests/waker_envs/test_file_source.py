"""Families named by a file, ``file.py:Class``: found again by full path, run once, and refused with what is wrong."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

import waker_envs
from waker_envs.file_source import SourceError, full_source, is_source, load_source, source_name

CORRIDOR = Path(__file__).parents[1] / "plugin_example" / "corridor_example.py"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "halls.py"
    text = CORRIDOR.read_text(encoding="utf-8").replace("LONGEST = 6", "LONGEST = 6\n\n\nclass Other:\n    pass\n")
    path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def test_a_family_in_a_file_is_made_like_any_other(file: Path) -> None:
    env = waker_envs.make("halls.py:Corridor", task="left")
    observation, _ = env.reset(seed=1, options={"theta": [3.0, 0.0]})
    assert observation.tolist()[1:] == [3, 0]
    assert waker_envs.resolve_id("halls.py:Corridor") == f"{file.resolve()}:Corridor"
    known = waker_envs.gym_id("halls.py:Corridor")
    assert isinstance(gym.make(known).unwrapped, type(env))


def test_a_file_is_run_once(file: Path) -> None:
    first, again = load_source("halls.py:Corridor"), load_source(f"{file}:Corridor")
    assert first is again
    assert first.__module__.startswith("waker_file_halls_")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hals.py:Corridor", "no file 'hals.py'; did you mean 'halls.py'"),
        ("halls.py:Coridor", "halls.py has no 'Coridor'; did you mean 'Corridor'"),
        ("halls.py:Other", "halls.py:Other is no ParametricEnv class"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str, file: Path) -> None:
    with pytest.raises(waker_envs.UnknownEnvError, match=message):
        waker_envs.make(name)


def test_a_file_that_fails_is_not_kept(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_source(f"{broken}:X")
    broken.write_text("X = 3\n")
    assert load_source(f"{broken}:X") == 3


def test_names_of_sources() -> None:
    assert is_source("a/b.py:ucb") and not is_source("waker-m") and not is_source("b.py:") and not is_source("b.txt:x")
    assert (source_name("a/b.py:ucb"), source_name("waker-m")) == ("ucb", "waker-m")
    for generic in ("make", "build", "create", "factory", "Sampler", "Explorer", "Env"):
        assert source_name(f"a/rank_first.py:{generic}") == "rank_first"
    assert source_name("a/v1.2 of mine.py:make") == "v1_2_of_mine"  # no dot: options are split at dots
    assert source_name("a/b.py:make_ucb") == "make_ucb"
    with pytest.raises(SourceError, match="must have the form file.py:Name"):
        full_source("waker-m")


def test_a_file_without_a_class_is_told_what_is_missing() -> None:
    with pytest.raises(waker_envs.UnknownEnvError, match="'pond.py' names a file .*: write pond.py:CLASS"):
        waker_envs.resolve_id("pond.py")
