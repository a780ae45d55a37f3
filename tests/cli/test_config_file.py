"""``--config FILE``: a run begins with the settings of another, or of a file; where a preset differs, it is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import waker
from tests.helpers.tiny import RUN, TINY, refused
from waker.cli import main
from waker.cli.settings import parse_settings
from waker.config.presets import preset
from waker.config.same_run import difference
from waker.config.saved import plain
from waker.storage.run_folder import canonical
from waker.storage.sealed import read_yaml, write_yaml


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.yaml"
    file.write_text(
        "preset: tiny\nenv: GridHazards\nenv_kwargs: {n_layouts: 2}\nsampler: dr\n"
        "train: {steps: 170}\nmodel.deter: 24\nmodel.encoder_units: [8, 8]\nsinks: [jsonl, wandb]\n"
        "sink_settings: {wandb.tags: [a, b]}\n"
    )
    return file


def test_a_runs_settings_are_that_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (runs / RUN / "config.yaml", runs / RUN):
        assert main(["train", "--config", str(file), "--runs", str(runs)]) == 0
        assert "finished before" in capsys.readouterr().err
    assert main(["train", "--config", str(runs / RUN), "--runs", str(runs), "--seed", "1", "--train.envs", "3"]) == 0
    other = read_yaml(runs / RUN.parent / "seed-1" / "config.yaml")["config"]
    base = read_yaml(runs / RUN / "config.yaml")["config"]
    base["seed"], base["train"]["envs"] = 1, 3
    assert other == base
    assert base["preset"] == "tiny"


def test_a_file_of_ones_own_names_a_preset_and_what_differs(own: Path) -> None:
    config = parse_settings(["--config", str(own), "--seed", "4"], "train").config
    base = preset("tiny")
    assert config == canonical(
        base.with_(
            env="GridHazards",
            env_kwargs={"n_layouts": 2},
            sampler="dr",
            steps=170,
            seed=4,
            sinks=("jsonl", "wandb"),
            sink_settings={"wandb.tags": ("a", "b")},
            **{"model.deter": 24, "model.encoder_units": (8, 8)},
        )
    )
    assert waker.load_config(own).with_(seed=4) == config
    more = ["--sinks.wandb.tags", "c", "--sampler", "waker-r"]
    config = parse_settings(["--config", str(own), *more], "train").config
    assert (config.sink_settings, config.curriculum.sampler) == ({"wandb.tags": ("c",)}, "waker-r")


def test_settings_of_another_samplers_own_are_left(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("preset: tiny\nsampler: waker-m\ncurriculum.settings: {memory: 64}\n")
    assert parse_settings(["--config", str(file)], "train").config.curriculum.settings == {"memory": 64}
    assert parse_settings(["--config", str(file), "--sampler", "dr"], "train").config.curriculum.settings == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset: tini", "own.yaml: unknown preset 'tini'; did you mean 'tiny'"),
        ("train: {stepz: 3}", "own.yaml: unknown setting 'train.stepz'; did you mean 'train.steps'"),
        ("train.steps: 0", "own.yaml: train.steps = 0 must be at least 1"),
        ("sampler: waker-n", "unknown sampler 'waker-n'; did you mean 'waker-m'"),
        ("env: GridHazard", "unknown environment 'GridHazard'; did you mean"),
        ("- 3", "own.yaml cannot be read: it holds no mapping"),
        ("config: {train: {stepz: 3}}", "own.yaml: unknown setting 'train.stepz'"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    assert message in refused(["train", "--config", str(tmp_path / "own.yaml")], capsys)


def test_a_file_that_is_not_there_and_two_beginnings(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'own.yaml'" in refused(["train", "--config", str(own.with_name("ownn.yaml"))], capsys)
    assert "start from one of them" in refused(["train", *TINY, "--config", str(own)], capsys)
    with pytest.raises(waker.UserError, match="no settings file"):
        waker.load_config(own.with_name("nothing"))


def test_another_preset_is_the_cause_of_what_differs(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(["train", "--runs", str(runs)], capsys)
    assert "belongs to other settings: preset tiny there, laptop now, so " in told
    count = int(told.partition("laptop now, so ")[2].split()[0])
    assert count > 30
    assert told.count(" there and ") == 3 and f" now and {count - 3} more; " in told  # the cause explains them
    # A cause where there is one; a preset alone makes no other run, and one that nobody recorded is none.
    there = plain(preset("tiny"))
    assert difference(there, {**there, "preset": "laptop"}) is None
    assert difference(there, {**there, "preset": "laptop", "seed": 3}) == (
        "preset tiny there, laptop now, so one setting differs: seed is 0 there and 3 now"
    )
    assert difference({**there, "preset": ""}, {**there, "seed": 3}) == "seed is 0 there and 3 now"


def test_a_folder_that_records_no_preset_goes_on(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_yaml(runs / RUN / "config.yaml")
    del record["config"]["preset"], record["config"]["sink_settings"]  # as earlier versions wrote it
    write_yaml(runs / RUN / "config.yaml", record)
    assert main(["train", *TINY, "--task-policies", "after", "--runs", str(runs)]) == 0
    assert "finished before" in capsys.readouterr().err
    assert waker.load(runs / RUN).config.preset == ""
    refused_line = refused(["train", "--runs", str(runs)], capsys)
    assert "preset" not in refused_line


def test_a_preset_is_no_setting_to_change() -> None:
    with pytest.raises(waker.UserError, match=r"these settings began with 'tiny'; waker\.preset\('laptop'\)"):
        waker.preset("tiny").with_(preset="laptop")
    assert waker.preset("tiny").with_(preset="tiny").preset == "tiny"
