"""A policy from answers about named features: weights, resuming, the record, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny import RUN, refused
from waker.agent.head_fit import HeadSettings
from waker.cli import main
from waker.replay.relabel import load_task
from waker.storage.files import sha256
from waker.storage.sealed import read_json, read_yaml
from waker.terminal.progress import Progress
from waker.training.adapt_features import FeatureAdaptation
from waker.training.adapt_preferences import lesson
from waker.training.loading import load_run

FEATURES = '''"""The class of the cell under the agent."""
import numpy as np


def under(observation):
    side = int(np.sqrt(observation["cells"].shape[-1]))
    cell = (observation["agent"] @ [side, 1])[..., None]
    here = np.take_along_axis(observation["cells"], cell, -1)[..., 0]
    return {"hazard": here == 3, "green": here == 4, "blue": here == 5, "red": here == 6}


def same(observation):
    return {"nothing": np.zeros(observation["agent"].shape[:2])}


def broken(observation):
    return {"lost": observation["nowhere"]}
'''


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A run folder beside answers and features."""
    shutil.copytree(finished / RUN, tmp_path / "run")
    (tmp_path / "features.py").write_text(FEATURES)
    run, file = str(tmp_path / "run"), str(tmp_path / "q.parquet")
    assert main(["ask", run, "--queries", "40", "--length", "4", "--no-page", "--out", file]) == 0
    assert main(["answer", file, "--teacher", "oracle", "--task", "green", "--run", run]) == 0
    return tmp_path


def note(text: str) -> None:
    raise AssertionError(text)


def adaptation(place: Path) -> FeatureAdaptation:
    loaded = load_run(place / "run", note)
    taught = lesson(loaded, "clicks", place / "q.parquet", HeadSettings(), note)
    features = load_task(f"{place / 'features.py'}:under")
    return FeatureAdaptation(loaded, taught, features, Progress("test", 4, quiet=True))


def weights(made: FeatureAdaptation) -> list[torch.Tensor]:
    adapter = made.adapter
    return [p.detach().clone() for p in [*adapter.heads.parameters(), *adapter.policy_learner.policies.parameters()]]


def test_going_on_equals_not_stopping_and_the_weights_are_told(place: Path) -> None:
    whole = adaptation(place)
    whole.run(4)
    folder = place / "run" / "adapted" / "clicks"
    told = read_json(folder / "head.json")
    assert max(told["weights"], key=told["weights"].__getitem__) == "green" and told["asked"] == 40
    record = read_yaml(folder / "tasks.yaml")["preferences"]
    assert record["sha256"] == sha256(place / "q.parquet")
    assert record["features_sha256"] == sha256(place / "features.py")
    shutil.rmtree(place / "run" / "adapted")
    adaptation(place).run(2)
    second = adaptation(place)
    second.run(4)
    for a, b in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(a, b)


def test_other_features_start_anew(place: Path) -> None:
    adaptation(place).run(2)
    (place / "features.py").write_text(FEATURES.replace("here == 3", "here == 0"))
    again, told = adaptation(place), list[str]()
    again.progress.note = told.append  # type: ignore[method-assign]
    again.run(2)
    assert any("the features have changed: starting anew" in text for text in told)


def test_the_reward_is_that_of_the_features_and_resets_earn_nothing(place: Path) -> None:
    made = adaptation(place)
    arrays = made.feed.replay.arrays
    held = arrays["task_rewards"][:, : made.feed.replay.ticks, 0]
    assert not held[arrays["is_first"][:, : made.feed.replay.ticks]].any()
    truth = made.loaded.replay(note).arrays["task_rewards"][:, : made.feed.replay.ticks, 0]
    assert held[truth > 0].mean() > 0.5 > abs(held[truth == 0].mean())


def test_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapt = ["adapt", str(place / "run"), "--preferences", str(place / "q.parquet"), "--name", "clicks"]
    features = str(place / "features.py")
    assert main([*adapt, "--features", f"{features}:under", "--updates", "2"]) == 0
    assert "weights of the features: hazard" in capsys.readouterr().err
    small = ["--episodes", "3", "--suite-episodes", "1", "--model-episodes", "1"]
    assert main(["evaluate", str(place / "run"), *small, "--as", "clicks=green"]) == 0
    capsys.readouterr()
    file = ["--out", str(place / "n.csv"), "--queries", "3", "--no-page"]
    assert main(["ask", str(place / "run"), "--rule", "policy", *file]) == 0
    capsys.readouterr()
    assert "only a head that was fitted to answers disagrees" in refused(
        ["ask", str(place / "run"), "--rule", "disagreement", *file], capsys
    )
    assert "are the same in all of the replay" in refused([*adapt, "--features", f"{features}:same"], capsys)
    assert "broken failed" in refused([*adapt, "--features", f"{features}:broken"], capsys)
    assert "add --preferences FILE" in refused(["adapt", str(place / "run"), "--features", f"{features}:under"], capsys)
