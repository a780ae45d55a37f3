"""An environment and a sampler from a package of their own, found through entry points, go through unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from tests.helpers import forked
from tests.helpers.tiny import TINY, waker
from waker.cli import main
from waker_envs.checker import check_parametric_env

PACKAGE = Path(__file__).parents[1] / "plugin_example"
ENV_ID = "example/Corridor-v0"


def beside(installed: Path) -> dict[str, str]:
    """An environment in which the package is installed beside what this process imports."""
    return {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The little package, installed by pip into a folder of its own (no network)."""
    source = tmp_path_factory.mktemp("source") / "corridor"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", target, source], check=True)
    return target


@pytest.fixture(scope="module")
def trained(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one tiny run on the plug-in's environment has been trained."""
    folder = tmp_path_factory.mktemp("work")
    done = waker("train", "--env", ENV_ID, *TINY, cwd=folder, environment=beside(installed))
    assert done.returncode == 0, done.stderr
    return folder


def test_without_the_package_the_environment_is_unknown(tmp_path: Path) -> None:
    done = waker("envs", ENV_ID, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"waker: unknown environment '{ENV_ID}'")


def test_the_example_keeps_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGE))
    import corridor_example

    check_parametric_env(corridor_example.Corridor)


def test_it_is_listed_and_described(installed: Path, tmp_path: Path) -> None:
    environment = beside(installed)
    assert ENV_ID in waker("envs", cwd=tmp_path, environment=environment).stdout
    described = waker("envs", ENV_ID, cwd=tmp_path, environment=environment)
    assert described.returncode == 0, described.stderr
    assert "probability of being blown left" in described.stdout


def test_training_chooses_its_theta(trained: Path) -> None:
    episodes = pd.read_parquet(trained / "runs/corridor/waker-m/plan2explore/seed-0/episodes.parquet")
    assert set(episodes["theta_length"]) <= {3.0, 6.0}
    assert len(episodes) >= 8


def test_a_sampler_from_the_package_is_told_what_it_asks_for(installed: Path, tmp_path: Path) -> None:
    words = ["train", "--env", ENV_ID, *TINY, "--curriculum.sampler", "surprise-first"]
    done = forked.waker(*words, cwd=tmp_path, environment=beside(installed))
    assert done.returncode == 0, done.stderr
    assert "the sampler is told latent_kl_1 of the current model" in done.stderr
    run = tmp_path / "runs/corridor/surprise-first/plan2explore/seed-0"
    last = pd.read_parquet(run / "curriculum.parquet").query("step == step.max()").drop_duplicates("theta_id")
    by_score = last.sort_values("score", ascending=False)["probability"].to_numpy()
    # A fifth of DR, and ranks 1 … 4 of four θ.
    assert by_score == pytest.approx(0.2 / 4 + 0.8 * np.array([12, 6, 4, 3]) / 25)


def test_it_is_evaluated(trained: Path, installed: Path) -> None:
    done = forked.waker("evaluate", "runs/corridor", cwd=trained, environment=beside(installed))
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(trained / "runs/corridor/waker-m/plan2explore/seed-0/evaluation.parquet")
    assert set(rows["task"]) == {"left", "right"}
    assert rows["return"].between(0, 12).all()


@pytest.mark.usefixtures("undrawn")
def test_it_is_reported_and_compared(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which knows nothing of the package: rows are enough."""
    assert ENV_ID not in gym.registry
    monkeypatch.chdir(trained)
    assert main(["report", "runs/corridor", "--out", "page.html"]) == 0
    page = (trained / "page.html").read_text(encoding="utf-8")
    assert "corridor" in page
    capsys.readouterr()
    assert main(["compare", "runs/corridor"]) == 0
    assert "waker-m" in capsys.readouterr().out
