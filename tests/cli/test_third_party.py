"""A package of a third party with a sampler, an explorer, a logger and an environment, each with a setting of its own.

Nothing is installed: a folder on PYTHONPATH holds the package and the metadata that an installer would have written.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.forked import waker
from tests.training.test_resume import assert_same
from waker.cli import main
from waker.storage.sealed import read_yaml

ENVIRONMENT = '''
"""A ring of cells, and a wind of one's own strength."""

import gymnasium as gym
import numpy as np

from waker_envs import FiniteThetaSpace, Parameter, ParametricEnv, Transition


class Ring(ParametricEnv):
    """θ = (cells,): how many cells the ring has; the first one pays."""

    tasks = ("home",)
    theta_space = FiniteThetaSpace([Parameter("cells", "cells of the ring")], [(3,), (5,)], hard=[(5,)])
    observation_space = gym.spaces.MultiDiscrete([5, 6])
    action_space = gym.spaces.Discrete(2)

    def __init__(self, task=None, render_mode=None, wind=0.0):
        super().__init__(task, render_mode)
        self.wind = wind

    def begin(self, theta):
        self.cells, self.cell, self.steps = int(theta[0]), 0, 0
        return np.array([self.cell, self.cells])

    def advance(self, action):
        blown = self.np_random.random() < self.wind
        self.cell, self.steps = (self.cell + (1 if blown or action else -1)) % self.cells, self.steps + 1
        return Transition(np.array([self.cell, self.cells]), [self.cell == 0], truncated=self.steps == 8)
'''
PARTS = '''
"""A sampler that tilts towards errors, an explorer that likes motion, and a logger of every n-th row."""

from dataclasses import dataclass

import torch

from waker.curriculum import ComposedCurriculum, Magnitude, Mixture, Rank, register_curriculum
from waker.exploration.api import Explorer
from waker.settings import Count, Positive, Settings


@dataclass(frozen=True)
class Tilt(Settings, section="curriculum.tilted"):
    beta: Positive = 0.5


@register_curriculum("tilted", Tilt)
def tilted(space, config, rng, samples_per_update, settings):
    error = Magnitude(space.size)
    parts = {"tracker": error, "score": error, "priority": Rank(beta=settings.beta), "mixture": Mixture(dr=0.2)}
    return ComposedCurriculum("tilted", space, **parts, rng=rng)


@dataclass(frozen=True)
class Power(Settings, section="explorer.restless"):
    power: Positive = 1.0


class Restless(Explorer):
    Own = Power

    def reward(self, feature, action):
        moved = (feature[1:] - feature[:-1]).square().mean(-1) ** self.settings.power
        return torch.cat([torch.zeros_like(moved[:1]), moved])


@dataclass(frozen=True)
class Each(Settings, section="sinks.lines"):
    each: Count = 1


class Lines:
    Own = Each

    def __init__(self, folder, run, config, settings):
        self.place, self.each = folder / "lines.txt", settings.each
        self.lines = self.place.read_text().splitlines() if self.place.exists() else []

    def write(self, row):
        self.lines.append(f"{row['updates']} {'evaluation/mean_return/home' in row}")
        self.place.write_text("".join(line + "\\n" for line in self.lines[:: self.each]))

    def sync(self):
        return {"lines": list(self.lines)}

    def restore(self, state):
        self.lines = list(state.get("lines", []))
        return ""

    def close(self):
        pass
'''
ENTRY_POINTS = """
[waker.envs]
theirs/Ring-v0 = theirs.ring:Ring

[waker.curricula]
tilted = theirs.parts:tilted

[waker.explorers]
restless = theirs.parts:Restless

[waker.loggers]
lines = theirs.parts:Lines
"""
COMMAND = [
    *("train", "--preset", "tiny", "--seed", "1", "--train.save-every", "32", "--evaluation.every", "80"),
    *("--env", "Ring", "--env-kwargs", "wind=0.25"),
    *("--sampler", "tilted", "--curriculum.tilted.beta", "0.25"),
    *("--explorer", "restless", "--explorer.restless.power", "2"),
    *("--sinks", "lines", "--sinks.lines.each", "2"),
]
RUN = Path("ring/tilted/restless/seed-1")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of a process in which the package is there."""
    site = tmp_path_factory.mktemp("site")
    for name, text in {"__init__": "", "ring": ENVIRONMENT, "parts": PARTS}.items():
        (site / "theirs").mkdir(exist_ok=True)
        (site / "theirs" / f"{name}.py").write_text(text, encoding="utf-8")
    about = site / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


@pytest.fixture(scope="module")
def runs(path: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an undisturbed run in ``whole``, and one in ``killed`` that was killed and gone on with."""
    here = tmp_path_factory.mktemp("work")
    done = waker(*COMMAND, "--runs", "whole", cwd=here, environment=path)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "waker", *COMMAND, "--runs", "killed"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **path}
    with subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 120
        # A checkpoint of the middle is there, and the last one is not.
        while not any((here / "killed" / RUN / "checkpoints").glob("step-*[1-9]/manifest.json")):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    again = waker(*COMMAND, "--runs", "killed", cwd=here, environment=path)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stderr
    return here


def test_its_environment_is_one_short_file() -> None:
    assert len(ENVIRONMENT.strip().splitlines()) < 40


def test_a_killed_run_ends_as_the_undisturbed_one(runs: Path) -> None:
    assert_same(runs / "whole" / RUN, runs / "killed" / RUN)
    lines = [(runs / folder / RUN / "lines.txt").read_text() for folder in ("whole", "killed")]
    assert lines[0] == lines[1]
    assert lines[0].count("True") >= 1 and lines[0].count("False") >= 1  # evaluations and metrics


def test_its_settings_are_recorded_and_take_effect(runs: Path, path: dict[str, str]) -> None:
    config = read_yaml(runs / "whole" / RUN / "config.yaml")["config"]
    assert config["env_kwargs"] == {"wind": 0.25}
    assert (config["curriculum"]["settings"], config["explorer"]["settings"]) == ({"beta": 0.25}, {"power": 2.0})
    assert config["sink_settings"] == {"lines.each": 2}
    rows = pd.read_parquet(runs / "whole" / RUN / "curriculum.parquet").query("step == step.max()")
    low, high = sorted(rows.drop_duplicates("theta_id")["probability"])
    assert (high - 0.1) / (low - 0.1) == pytest.approx(2**4)  # ranks 1 and 2, to the power 1/β, beside a fifth of DR


def test_another_setting_is_another_run(runs: Path, path: dict[str, str]) -> None:
    other = [*COMMAND, "--curriculum.tilted.beta", "1", "--runs", "whole"]
    told = waker(*other, cwd=runs, environment=path)
    assert told.returncode == 2
    assert "curriculum.tilted.beta is 0.25 there and 1.0 now" in told.stderr
    wrong = waker(*COMMAND, "--sinks.lines.each", "0", "--runs", "whole", cwd=runs, environment=path)
    assert wrong.returncode == 2
    assert "sinks.lines.each = 0 must be at least 1" in wrong.stderr


@pytest.mark.usefixtures("undrawn")
def test_it_is_compared_and_reported_under_its_settings(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which knows nothing of the package: rows are enough."""
    assert importlib.util.find_spec("theirs") is None
    monkeypatch.chdir(runs)
    assert main(["compare", "whole", "--by", "curriculum.tilted.beta"]) == 0
    assert "tilted [beta=0.25]" in " ".join(capsys.readouterr().out.split())
    assert main(["report", "whole", "--by", "curriculum.tilted.beta", "--out", "page.html"]) == 0
    page = (runs / "page.html").read_text(encoding="utf-8")
    assert "tilted [beta=0.25]" in page and "restless" in page
    assert "explorer.settings.power: 2.0" in page and "env_kwargs.wind: 0.25" in page
