"""Run folders through the command: finished, of other settings, failing, damaged, on a full disk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import waker_envs.testing  # noqa: F401 — registers the environments that fail on purpose
from tests.helpers.tiny import RUN, TINY, refused
from waker.cli import main
from waker.collection import family
from waker.config.presets import preset
from waker.errors import BLEMISHED, UserError
from waker.evaluation import records
from waker.loggers import registry as loggers
from waker.machine.device import use_threads
from waker.storage.run_folder import read_config
from waker.storage.sealed import read_yaml, write_yaml
from waker.storage.tables import read_rows
from waker.training.build import train_run
from waker.training.loading import load_run
from waker.training.loop import Outcome

AFTER = ["--train.task-policies", "after"]


# Runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", ["GridHazards", "GridHazards-v0"])
def test_a_run_of_a_script_goes_on_from_the_command_line(short: str, tmp_path: Path) -> None:
    """A short environment name in Python is the full one everywhere, and so it is in folders that once kept it."""
    config = replace(preset("tiny"), env=short)
    outcome, folder = train_run(config, tmp_path)
    assert (outcome, folder) == (Outcome.FINISHED, tmp_path / RUN)
    record = read_yaml(folder / "config.yaml")
    assert record["config"]["env"] == "waker/GridHazards-v0"
    write_yaml(folder / "config.yaml", {**record, "config": {**record["config"], "env": short}})
    assert main(["train", *TINY, "--env", "GridHazards", "--runs", str(tmp_path)]) == 0
    assert train_run(config, tmp_path)[0] is Outcome.SKIPPED
    loaded = load_run(folder, print)
    assert loaded.config.env == loaded.family.spec.env_id == "waker/GridHazards-v0"


def test_a_finished_run_is_skipped_and_untouched(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def content() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in sorted((finished / RUN).rglob("*")) if p.is_file()}

    before = content()
    assert main(["train", *TINY, *AFTER, "--runs", str(finished)]) == 0
    assert "finished before, at step" in capsys.readouterr().err
    assert content() == before


def test_a_batch_that_nobody_draws_takes_no_room(tmp_path: Path) -> None:
    assert main(["train", *TINY, "--runs", str(tmp_path), "--train.adapt-batch", str(2**62)]) == 0


def test_a_run_of_other_settings_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["train", *TINY, *AFTER, "--runs", str(finished), "--train.batch", "5"], capsys)
    assert "belongs to other settings: train.batch is 4 there and 5 now" in told


def test_the_resolved_settings_are_beside_the_run(finished: Path) -> None:
    config = read_config(finished / RUN)
    assert (config.env, config.train.task_policies, config.model.deter) == ("waker/GridHazards-v0", "after", 16)


def test_constructor_arguments_reach_the_environment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chosen = ["--env", "waker/test-Failing-v0", "--env-kwargs", "failure=raise", "at_step=35"]
    main(["train", *TINY, *chosen, "--runs", str(tmp_path)])
    report = json.loads((tmp_path / "test-failing/waker-m/plan2explore/seed-0/failure.json").read_text())
    assert len(report["actions"]) == 35 - 20  # episodes of 20 steps


@pytest.mark.parametrize(
    ("failure", "told"),
    [("raise", "RuntimeError"), ("nan", "not finite"), ("nan-reward", "not finite"), ("shape", "shape")],
)
def test_a_failing_environment_stops_the_run_and_keeps_its_data(
    failure: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = ["--env", "waker/test-Failing-v0", "--env-kwargs", f"failure={failure}", "at_step=50"]
    assert main(["train", *TINY, *chosen, "--runs", str(tmp_path)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("waker: environment waker/test-Failing-v0 failed at step 10 of an episode")
    assert told in line
    assert "reset(seed=" in line
    assert "theta" in line
    folder = tmp_path / "test-failing/waker-m/plan2explore/seed-0"
    assert len(read_rows(folder / "episodes.parquet")) == 4
    assert list(folder.glob("checkpoints/step-*/state.pt"))
    assert list(folder.glob("replay/*.npz"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / RUN
    shutil.copytree(finished / RUN, folder)
    checkpoints = sorted(folder.glob("checkpoints/step-*"))
    assert len(checkpoints) == 2
    newest = checkpoints[-1] / "state.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert main(["train", *TINY, *AFTER, "--runs", str(tmp_path / "runs")]) == BLEMISHED
    told = capsys.readouterr().err
    assert f"{checkpoints[-1].name} is not usable" in told
    assert "going on from step" in told


def test_without_any_whole_checkpoint_nothing_is_overwritten(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / RUN
    shutil.copytree(finished / RUN, folder)
    for state in folder.glob("checkpoints/step-*/state.pt"):
        state.write_bytes(b"not a checkpoint")
    for argv in (["evaluate", str(folder)], ["train", *TINY, *AFTER, "--runs", str(tmp_path / "runs")]):
        assert main(argv) == 2
        assert re.search(r"^waker: no checkpoint in .* is whole", capsys.readouterr().err, re.MULTILINE)
    assert list(folder.glob("checkpoints/step-*/state.pt"))


def test_a_run_without_checkpoints_cannot_be_evaluated(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(finished / RUN / "config.yaml", tmp_path / "run")
    assert "has no checkpoint yet" in refused(["evaluate", str(tmp_path / "run")], capsys)


@pytest.mark.parametrize(
    ("replay", "told"),
    [
        # The ring has its room and a checkpoint has none; or the ring itself does not fit.
        (64, (1, "waker: cannot save the run at step", "no space left")),
        (5_000, (2, "waker: a replay of 5,000 steps takes", "choose a smaller --train.replay")),
    ],
)
def test_a_full_disk_is_one_line(replay: int, told: tuple[int, str, str], tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from waker.cli import main\n"
        # Files may not grow past 20 kB, which a checkpoint does: what a full disk looks like from inside.
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "sys.exit(main(['train', '--preset', 'tiny', '--train.replay', sys.argv[2], '--runs', sys.argv[1]]))"
    )

    command = [sys.executable, "-c", program, tmp_path, str(replay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, start, reason = told
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith(start)
    assert reason in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_sink_without_its_package_is_told_before_a_folder_is_made(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    told = refused(["train", *TINY, "--sinks", "jsonl", name, "--runs", str(tmp_path)], capsys)
    assert f"sink '{name}' needs the package '{name}', which is not installed" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_an_environment_that_has_changed_since_is_one_line(
    verb: str, finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(env: Any) -> Any:
        spec = spec_of(env)
        first, *others = spec.observation
        more = replace(first, classes=tuple(n + 1 for n in first.classes))
        return replace(spec, observation=(more, *others))

    spec_of = family.spec_of
    monkeypatch.setattr(family, "spec_of", changed)
    train = ["train", *TINY, *AFTER, "--runs", str(finished)]
    told = refused(train if verb == "train" else ["evaluate", str(finished)], capsys)
    assert re.search(r"was trained with \w+ = categorical .*; waker/GridHazards-v0 now has categorical ", told)


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
        use_threads("cpu")
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "many")
        with pytest.raises(UserError, match="OMP_NUM_THREADS is 'many'; it must be a number"):
            use_threads("cpu")
    finally:
        torch.set_num_threads(before)


# Damaged folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damaged", "content", "verbs"),
    [
        ("config.yaml", b"config: \xff\xfe", ["train", "adapt", "evaluate", "compare", "report"]),
        ("config.yaml", b"config: {env: 3}", ["train", "adapt", "evaluate"]),
        ("config.yaml", b"config: {curriculum: 3, train: {steps: many}}", ["train", "adapt", "evaluate"]),
        ("config.yaml", b"config: {}\ntasks: 3", ["adapt", "evaluate"]),
        ("evaluation.parquet", b"PAR1 no parquet", ["compare", "report"]),
        ("theta_space.json", b"{", ["compare", "report"]),
        ("theta_space.json", b"[1, 2]", ["compare", "report"]),
        ("filmstrip.npz", b"PK no archive", ["compare", "report"]),
        ("adapted/green/tasks.yaml", b"tasks: [", ["adapt", "evaluate"]),
        ("adapted/green/tasks.yaml", b"tasks: \xff", ["adapt", "evaluate"]),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    damaged: str, content: bytes, verbs: list[str], finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / RUN
    shutil.copytree(finished / RUN, folder)
    place = folder / damaged
    if place.is_dir():  # a table: its first part
        place = min(place.glob("part-*.parquet"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    argv = {
        "train": ["train", *TINY, *AFTER, "--runs", str(tmp_path)],
        "adapt": ["adapt", str(folder), "--tasks", "green", "--updates", "1"],
        "evaluate": ["evaluate", str(folder), "--episodes", "1", "--suite-episodes", "1"],
    }
    for verb in verbs:
        assert main(argv.get(verb, [verb, str(tmp_path)])) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("waker: ")
        assert damaged in last


@pytest.mark.parametrize("verb", ["train", "evaluate", "adapt"])
def test_weights_that_do_not_fit_their_settings_are_one_line(
    verb: str, finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / RUN
    shutil.copytree(finished / RUN, folder)
    record = read_yaml(folder / "config.yaml")
    record["config"]["model"]["deter"] = 24
    write_yaml(folder / "config.yaml", record)
    argv = [verb, str(folder)]
    if verb == "train":
        argv = ["train", *TINY, *AFTER, "--runs", str(tmp_path), "--model.deter", "24"]
    assert main(argv) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"^waker: no checkpoint in .* can be used: .*agent\.model\.\S+ is \(.*\) there and \(", told)


def test_a_folder_removed_during_an_evaluation_is_told(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished / RUN, folder)

    def measure(*args: Any, **options: Any) -> records.Measurement:
        shutil.rmtree(folder)
        return records.Measurement(
            [{"step": 1, "policy": "random"}],
        )

    monkeypatch.setattr(records, "measure", measure)
    assert main(["evaluate", str(folder)]) == 1
    assert "removed or replaced during the run: .lock, config.yaml" in capsys.readouterr().err.splitlines()[-1]
    assert not folder.exists()
