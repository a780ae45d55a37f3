"""A run that is asked for more steps than it was: beyond its end it is the run that had been asked for all of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import dummies
from tests.helpers.tiny import RUN, TINY, refused
from tests.training.test_resume import outcome
from waker.cli import main
from waker.config.presets import preset
from waker.config.same_run import difference
from waker.config.saved import plain
from waker.config.schema import Config
from waker.errors import UserError
from waker.evaluation.records import Measurement
from waker.storage.checkpoint import Checkpoints
from waker.storage.run_folder import read_config, read_record
from waker.storage.tables import read_rows
from waker.training.extending import past_schedules
from waker.training.loop import Outcome


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def longer(config: Config, steps: int = 700) -> Config:
    return replace(config, train=replace(config.train, steps=steps))


def of_training(path: Path) -> dict[str, Any]:
    """What a run leaves, but for rows of evaluations that only a shorter one makes, and when evaluations were due."""
    found = outcome(path)
    for name in ("evaluation", "model_error"):
        del found["rows"][name]
    logged = {(row["step"], row["updates"]) for row in found["metrics"]}
    snapshots = found["rows"]["curriculum"]
    of_log = [at in logged for at in zip(snapshots["step"], snapshots["updates"], strict=True)]
    found["rows"]["curriculum"] = snapshots[of_log]
    found["rows"] = {name: repr(rows.to_dict("list")) for name, rows in found["rows"].items()}
    found["state"].pop("/evaluations", None)
    return {**found, "state": {key: repr(value) for key, value in found["state"].items()}}


@pytest.mark.parametrize("policies", ["online", "after"])
def test_a_longer_run_is_as_if_it_had_been_asked_for_at_the_start(policies: str, tmp_path: Path) -> None:
    config = dummies.config(task_policies=policies, adapt_updates=8 if policies == "after" else 0)
    path, _ = dummies.run(tmp_path / "longer", config)
    short = len(read_rows(path / "evaluation.parquet"))
    progress = dummies.Quiet()
    again, ended = dummies.run(tmp_path / "longer", longer(config), progress)
    assert (again, ended) == (path, Outcome.FINISHED)
    whole, _ = dummies.run(tmp_path / "whole", longer(config))
    found, wanted = of_training(path), of_training(whole)
    for part in wanted:
        assert found[part] == wanted[part], part
    # What had been measured where it once ended stays.
    assert read_rows(path / "evaluation.parquet")["step"].nunique() > short - 1
    assert len(read_rows(path / "evaluation.parquet")) == len(read_rows(whole / "evaluation.parquet")) + 1
    told = [note for note in progress.notes if "train.steps is 700 now and was 400" in note]
    assert len(told) == 1
    assert ("given up and trained anew" in told[0]) == (policies == "after")
    assert read_config(path).train.steps == 700
    assert read_record(path)["extended"] == [{"step": 402, "exact": True, "train.steps": [400, 700]}]
    assert dummies.run(tmp_path / "longer", longer(config))[1] is Outcome.SKIPPED


@pytest.mark.parametrize("made", [6, 7])
def test_more_updates_of_task_policies_are_those_of_the_longer_run(made: int, tmp_path: Path) -> None:
    """They follow those that were made; but for a row of metrics that only the short adaptation has, here of 7."""
    config = dummies.config(task_policies="after", adapt_updates=made)
    more = replace(config, train=replace(config.train, adapt_updates=12))
    path, _ = dummies.run(tmp_path / "longer", config)
    assert dummies.run(tmp_path / "longer", more)[1] is Outcome.FINISHED
    whole, _ = dummies.run(tmp_path / "whole", more)
    found, wanted = of_training(path), of_training(whole)
    assert found["state"] == wanted["state"]
    assert found["metrics"] == wanted["metrics"]


def test_a_run_of_before_its_streams_were_kept_goes_on_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dummies.config(task_policies="after", adapt_updates=8)
    with monkeypatch.context() as earlier:
        earlier.setattr("waker.training.session.before_adapting", lambda state, sinks: None)
        path, _ = dummies.run(tmp_path, config)
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, longer(config), progress)[1] is Outcome.FINISHED
    assert any("it is another sample" in note for note in progress.notes)
    assert read_record(path)["extended"][0]["exact"] is False


def test_what_is_longer_is_no_other_run_but_all_that_differs_is_named(tmp_path: Path) -> None:
    config = dummies.config()
    there = plain(config)
    assert difference(there, plain(longer(config))) is None
    other = replace(longer(config, 300), seed=8, longest_episode=9)
    other = replace(other, train=replace(other.train, batch=5, length=6, replay=200))
    told = difference(there, plain(other))
    assert told is not None
    for name in ("seed", "longest_episode", "train.steps", "train.batch", "train.length", "train.replay"):
        assert name in told
    assert told.endswith("train.steps may only grow")
    dummies.run(tmp_path, config)
    with pytest.raises(UserError, match="train.steps is 400 there and 300 now; train.steps may only grow"):
        dummies.run(tmp_path, longer(config, 300))


def test_a_schedule_that_must_stay_is_named() -> None:
    config = dummies.config()
    grown = longer(config)
    other = replace(grown, model=replace(grown.model, optimizer=replace(grown.model.optimizer, anneal=90)))
    told = difference(plain(config), plain(other))
    assert told == (
        "model.optimizer.anneal is 0 there and 90 now; train.steps may grow alone, but the run has gone by "
        "model.optimizer.anneal = 0 from its start, which must stay"
    )
    oracle = replace(grown, curriculum=replace(grown.curriculum, oracle_interval=7))
    assert "curriculum.oracle_interval = 10000 from its start" in str(difference(plain(config), plain(oracle)))
    batch = replace(grown, train=replace(grown.train, batch=5))
    assert "from its start" not in str(difference(plain(config), plain(batch)))


def test_a_learning_rate_that_has_ended_is_told() -> None:
    config = preset("laptop")
    assert past_schedules(config, 1800) == []
    (line,) = past_schedules(config, 2700)
    assert line.startswith("model.optimizer.anneal ends at update 1,800 of 2,700: from there the rate stays 0.1 × lr")


@pytest.mark.parametrize(
    ("sampler", "policies"), [("waker-r", "online"), ("error-oracle", "after")], ids=["reductions", "oracle"]
)
def test_the_real_agent_and_its_schedules_go_on_bit_for_bit(
    sampler: str, policies: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With annealed rates, measured reductions and an oracle's measurements, each due at multiples of steps."""
    asked = ["train", *TINY, "--sampler", sampler, "--task-policies", policies, "--model.optimizer.anneal", "10"]
    asked += ["--evaluation.episodes", "2", "--evaluation.suite-episodes", "1", "--evaluation.planned-episodes", "2"]
    folder = RUN.parents[2] / sampler / "plan2explore" / "seed-0"
    assert main([*asked, "--runs", str(tmp_path / "longer")]) == 0
    assert main([*asked, "--runs", str(tmp_path / "longer"), "--steps", "256"]) == 0
    told = capsys.readouterr().err
    assert "model.optimizer.anneal ends at update 10 of 13" in told
    assert ("given up and trained anew" in told) == (policies == "after")
    assert main([*asked, "--runs", str(tmp_path / "whole"), "--steps", "256"]) == 0
    found, wanted = of_training(tmp_path / "longer" / folder), of_training(tmp_path / "whole" / folder)
    for part in wanted:
        assert found[part] == wanted[part], part
    rows = [read_rows(tmp_path / name / folder / "evaluation.parquet") for name in ("longer", "whole")]
    last = [part[part["step"] == part["step"].max()].reset_index(drop=True) for part in rows]
    assert last[0].equals(last[1])


def test_the_command_goes_on_beyond_the_end(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the real agent, whose task policies are made anew."""
    shutil.copytree(finished, tmp_path / "runs")
    monkeypatch.setattr("waker.training.build.evaluator", lambda *args: lambda agent: Measurement())
    argv = ["train", *TINY, "--runs", str(tmp_path / "runs"), "--task-policies", "after", "--steps"]
    assert main([*argv, "170"]) == 0
    told = capsys.readouterr().err
    assert "train.steps is 170 now and was 160: going on beyond step 161; its task policies are given up and" in told
    checkpoints = Checkpoints(tmp_path / "runs" / RUN / "checkpoints")
    state = checkpoints.load(checkpoints.paths()[0])
    assert (state["collector"]["step"] >= 170, state["adapted"], state["finished"]) == (True, 3, True)
    assert state["agent"]["adapter"]["updates"] == 3
    assert "train.batch" in refused([*argv, "160", "--train.batch", "5"], capsys)
