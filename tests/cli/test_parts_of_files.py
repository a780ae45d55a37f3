"""Parts in files of a third party's own, each with a setting: trained, resumed, compared, and refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.tiny import TINY, refused
from waker.cli import main
from waker.cli.settings import parse_settings
from waker.curriculum.registry import CURRICULA
from waker.errors import UserError
from waker.storage.sealed import read_yaml

PARTS = """
from dataclasses import dataclass

import torch

from waker.curriculum import ComposedCurriculum, Magnitude, Mixture, Rank, register_curriculum
from waker.exploration.api import Explorer
from waker.settings import Positive, Settings


@dataclass(frozen=True)
class Numbers:
    beta: float = 0.5


@register_curriculum("ranked", Numbers)
def ranked(space, config, rng, samples_per_update, settings):
    error = Magnitude(space.size)
    parts = {"tracker": error, "score": error, "priority": Rank(beta=settings.beta), "mixture": Mixture(dr=0.2)}
    return ComposedCurriculum("ranked", space, **parts, rng=rng)


@dataclass(frozen=True)
class Power(Settings, section="explorer.Restless"):
    power: Positive = 1.0
    \"\"\"How much a move counts,
    whatever --decay_half says.\"\"\"
    decay_half: float = 0.5


class Restless(Explorer):
    Own = Power

    def reward(self, feature, action):
        moved = (feature[1:] - feature[:-1]).square().mean(-1) ** self.settings.power
        return torch.cat([torch.zeros_like(moved[:1]), moved])


class Lines:
    needs = ()

    def __init__(self, folder, run, config):
        self.file = folder / "lines.txt"

    def write(self, row):
        with self.file.open("a") as file:
            print(row["step"], file=file)

    def sync(self):
        return {}

    def restore(self, state):
        return ""

    def close(self):
        pass
"""
CORRIDOR = Path(__file__).parents[1] / "plugin_example" / "corridor_example.py"


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files, as the working directory; what they register is forgotten afterwards."""
    monkeypatch.setattr(CURRICULA, "registered", dict(CURRICULA.registered))
    monkeypatch.setattr(CURRICULA, "_settings", dict(CURRICULA._settings))
    (tmp_path / "parts.py").write_text(PARTS, encoding="utf-8")
    (tmp_path / "halls.py").write_text(CORRIDOR.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(*more: str) -> list[str]:
    chosen = ["--env", "halls.py:Corridor", "--sampler", "parts.py:ranked", "--explorer", "parts.py:Restless"]
    return ["train", *TINY, *chosen, "--sinks", "parts.py:Lines", "--runs", "runs", *more]


@pytest.mark.usefixtures("undrawn")
def test_all_parts_may_be_files(
    parts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["--curriculum.ranked.beta", "0.25", "--explorer.Restless.power", "2"]
    assert main(words(*own)) == 0
    run = parts / "runs/corridor/ranked/Restless/seed-0"
    config = read_yaml(run / "config.yaml")["config"]
    assert config["curriculum"]["sampler"] == f"{parts.resolve()}/parts.py:ranked"
    assert (config["curriculum"]["settings"], config["explorer"]["settings"]) == ({"beta": 0.25}, {"power": 2.0})
    logged = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (run / "lines.txt").read_text().split() == [*map(str, logged), "160"]  # and the evaluation
    elsewhere = parts / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the files are found by full path
    assert main(["evaluate", str(run)]) == 0
    assert main(["compare", str(parts / "runs"), "--by", "curriculum.ranked.beta"]) == 0
    assert "ranked [beta=0.25]" in capsys.readouterr().out
    assert main(["report", str(parts / "runs")]) == 0


def test_a_default_that_is_spelled_out_is_the_same_run(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words()) == 0
    assert main(words("--curriculum.ranked.beta", "0.5")) == 0
    assert "finished before" in capsys.readouterr().err
    assert "curriculum.ranked.beta is its default there and 0.25 now; give this one a --name" in refused(
        words("--curriculum.ranked.beta", "0.25"), capsys
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--curriculum.ranked.gamma", "1"], "unknown option '--curriculum.ranked.gamma'"),
        (["--curriculum.ranked.beta", "much"], "--curriculum.ranked.beta"),
        (["--explorer.Restless.power", "0"], "explorer.Restless.power = 0 must be above 0"),
        (["--sampler", "parts.py:rankd"], "has no 'rankd'; did you mean 'ranked'"),
        (["--sampler", "parts.py"], "names a file and nothing in it: write parts.py:NAME"),
        (["--sampler", "part.py:ranked"], "no file 'part.py'; did you mean 'parts.py'"),
        (["--env", "hall.py:Corridor"], "no file 'hall.py'; did you mean 'halls.py'"),
        (["--explorer", "parts.py:Lines"], "is no subclass of waker.exploration.api.Explorer"),
        (["--sampler", "dr", "--curriculum.dr.beta", "1"], "dr has no settings of its own"),
    ],
)
def test_what_is_wrong_is_one_line(
    more: list[str], message: str, parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(words(*more), capsys)
    assert not (parts / "runs").exists()


def test_a_part_s_name_may_have_any_capitals_in_its_options(parts: Path) -> None:
    own = ["--explorer.restless.power", "2", "--curriculum.RANKED.beta=0.25"]
    config = parse_settings(words(*own)[1:], "train").config
    assert (config.explorer.settings, config.curriculum.settings) == ({"power": 2.0}, {"beta": 0.25})
    with pytest.raises(UserError, match=r"did you mean '--explorer\.Restless\.power'"):
        parse_settings(words("--explorer.restles.power", "2")[1:], "train")
    with pytest.raises(UserError, match=r"did you mean '--explorer\.Restless\.power'"):
        parse_settings(words("--explorer.power", "2")[1:], "train")


def test_the_help_has_a_part_s_own_settings(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("--help")) == 0
    shown = capsys.readouterr().out
    assert "settings of sampler parts.py:ranked" in shown or "settings of sampler ranked" in shown
    assert "--curriculum.ranked.beta (default: 0.5)" in shown
    assert (
        "--explorer.Restless.power (default: 1.0)\n      How much a move counts, whatever --decay-half says.\n" in shown
    )
