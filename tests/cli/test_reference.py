"""A reference run's policies in held-out episodes: the same trajectories for every sampler, one mixture in a table."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers.tiny import RUN, TINY, refused
from waker.cli import main
from waker.config.schema import Config, EvalConfig
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.trajectories import Trajectory, collect
from waker.report import blocks
from waker.storage.checkpoint import Checkpoints
from waker.storage.run_folder import RunFolder, canonical, read_config
from waker.storage.tables import read_rows

AFTER = ["--train.task-policies", "after"]
DR = Path(str(RUN).replace("waker-m", "dr"))
FEW = ["--episodes", "1", "--suite-episodes", "1"]


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw takes most of a page's time, and is not the subject."""
    monkeypatch.setattr(blocks, "data_uri", lambda figure, kind: "data:image/png;base64,")


@pytest.fixture(scope="module")
def pair(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two samplers, and their reference beside them."""
    root = tmp_path_factory.mktemp("pair")
    shutil.copytree(finished / RUN, root / "runs" / RUN)
    shutil.copytree(finished / RUN, root / "reference")
    assert main(["train", *TINY, *AFTER, "--sampler", "dr", "--seed", "0", "--runs", str(root / "runs")]) == 0
    return root


@pytest.fixture(scope="module")
def met(pair: Path) -> dict[str, list[Trajectory]]:
    """The held-out trajectories of both runs, measured in separate commands with the one reference."""
    found: dict[str, list[Trajectory]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for run in (RUN, DR):

            def keep(*args: Any, of: str = run, **kwargs: Any) -> list[Trajectory]:
                found.setdefault(of, []).extend(played := collect(*args, **kwargs))
                return played

            patch.setattr(model_error, "collect", keep)
            command = ["evaluate", str(pair / "runs" / run), "--reference", str(pair / "reference")]
            assert main([*command, *FEW, "--model-episodes", "2"]) == 0
    return found


def test_runs_of_different_samplers_meet_bit_equal_trajectories(met: dict[str, list[Trajectory]]) -> None:
    ours, theirs = met[RUN], met[DR]
    assert len(ours) == len(theirs) == 3 * 2 * 18
    for a, b in zip(ours, theirs, strict=True):
        assert (a.episode.seed, a.episode.theta_id) == (b.episode.seed, b.episode.theta_id)
        np.testing.assert_array_equal(a.actions, b.actions)
        for key, seen in a.observations.items():
            np.testing.assert_array_equal(seen, b.observations[key])


def test_rows_keep_their_source(pair: Path, met: object) -> None:
    mine, other = (read_rows(pair / "runs" / run / "model_error.parquet") for run in (RUN, DR))
    last = mine[mine["step"] == mine["step"].max()]
    one = last[last["metric"] == "one_step_tv"]
    assert one.groupby("source").size().to_dict() == {"explorer": 36, "random": 36, "tasks": 36}
    assert set(one["exact_keys"]) == {"agent, cells"}
    about = set(one["held_out"])
    assert any(a.startswith("explorer of gridhazards/waker-m/plan2explore/seed-0 at step") for a in about)
    assert about == set(other.loc[other["step"] == other["step"].max(), "held_out"])


@pytest.mark.usefixtures("undrawn")
def test_compare_shows_errors_pooled_and_by_source_and_the_ceiling(
    pair: Path, met: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["compare", str(pair / "runs"), "--csv", str(tmp_path / "numbers.csv")]) == 0
    shown = capsys.readouterr().out
    assert "its ceiling" in shown
    assert "different held-out" not in shown
    numbers = pd.read_csv(tmp_path / "numbers.csv").set_index(["sampler", "quantity"])["mean"]
    for sampler in ("dr", "waker-m"):
        parts = [numbers[sampler, f"model_error_{source}"] for source in ("random", "explorer", "tasks")]
        assert numbers[sampler, "mean_model_error"] == pytest.approx(np.mean(parts), rel=0.1)
        assert 0 <= numbers[sampler, "estimate_rank_ceiling"] <= 1
    assert main(["report", str(pair / "runs"), "--out", str(tmp_path / "page.html")]) == 0
    assert "by who acted" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_compare_tells_of_different_mixtures(
    pair: Path, met: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree(pair / "runs", tmp_path / "runs")
    assert main(["evaluate", str(tmp_path / "runs" / DR), *FEW, "--model-episodes", "2"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("model errors of different held-out trajectories are compared on what all share") == 1
    assert "… reference's explorer" not in shown
    assert main(["evaluate", str(tmp_path / "runs" / DR), *FEW, "--model-episodes", "3"]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    assert "left out of the comparison" in shown
    assert "mean model error" not in shown
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page.html")]) == 0
    assert "left out of the comparison" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_run_may_name_its_reference_from_the_start(pair: Path, tmp_path: Path) -> None:
    named = ["--evaluation.reference", str(pair / "reference"), "--evaluation.sources", "random", "explorer"]
    assert main(["train", *TINY, *AFTER, "--sampler", "dr", "--runs", str(tmp_path), *named]) == 0
    rows = read_rows(tmp_path / DR / "model_error.parquet")
    assert set(rows["source"]) == {"random", "explorer"}


def test_a_reference_is_kept_as_a_full_path_and_may_be_moved(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pair)
    config = canonical(Config(evaluation=EvalConfig(reference="reference")))
    assert config.evaluation.reference == str(pair / "reference")
    how = {"reference": {"explorer": "explorer of a run at step 1, weights 00000000"}}
    run = RunFolder.open(tmp_path / "run", config, ("size",), ("a",), how=how)
    assert read_config(run.path) == config
    elsewhere = replace(config, evaluation=EvalConfig(reference=str(tmp_path / "moved")))
    RunFolder.open(run.path, elsewhere, ("size",), ("a",), how=how).going_on()
    assert read_config(run.path).evaluation.reference == str(tmp_path / "moved")
    with pytest.raises(UserError, match=r"evaluation.reference is '.*moved' there and '.*reference' now"):
        RunFolder.open(run.path, config, ("size",), ("a",), how={"reference": {"explorer": "of another run"}})
    RunFolder.open(tmp_path / "earlier", Config(evaluation=EvalConfig(reference="reference")), ("size",), ("a",))
    RunFolder.open(tmp_path / "earlier", config, ("size",), ("a",), how=how)  # it kept the path as it was given
    told = refused(["evaluate", str(pair / "runs" / DR), "--reference", str(tmp_path / "moved")], capsys)
    assert "no folder" in told and "if it was moved, name its new place" in told


def test_references_that_cannot_be_used_are_told_before_anything_is_made(
    pair: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    train = ["train", *TINY, *AFTER, "--runs", str(tmp_path / "runs"), "--evaluation.reference"]
    assert "no folder" in refused([*train, str(tmp_path / "nowhere")], capsys)
    other = [*train, str(pair / "reference"), "--env", "waker/GridCleanUp-v0"]
    assert "is a run of waker/GridHazards-v0, not of waker/GridCleanUp-v0" in refused(other, capsys)
    pictures = [*train, str(pair / "reference"), "--env-kwargs", "obs=pixels"]
    assert "its policies cannot act here" in refused(pictures, capsys)
    assert not (tmp_path / "runs").exists()


def test_an_unfinished_reference_is_refused(pair: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(pair / "reference", tmp_path / "reference")
    checkpoints = Checkpoints(tmp_path / "reference" / "checkpoints")
    state = checkpoints.load(checkpoints.paths()[0])
    checkpoints.save({**state, "finished": False}, 160, 99)
    told = refused(["evaluate", str(pair / "runs" / DR), "--reference", str(tmp_path / "reference")], capsys)
    assert "is not finished" in told


def test_a_reference_without_task_policies_is_told(
    pair: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bare = ["--train.adapt-updates", "0", "--runs", str(tmp_path)]
    assert main(["train", *TINY, *AFTER, *bare]) == 0
    capsys.readouterr()
    command = ["evaluate", str(pair / "runs" / DR), "--reference", str(tmp_path / RUN)]
    assert "has no task policies" in refused(command, capsys)
