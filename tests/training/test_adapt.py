"""Policies trained from a finished run's model and replay: new tasks, resuming, and what `evaluate` makes of them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import waker_envs
from experiments.faults.damage import flip
from tests.helpers.tiny import RUN, refused
from waker.agent.task_adapter import TaskAdapter
from waker.cli import main
from waker.cli.verbs.adapt import chosen_tasks
from waker.errors import BLEMISHED
from waker.evaluation.pieces import Piece
from waker.machine import compile as compiled_module
from waker.machine.compile import whole
from waker.replay.relabel import load_task
from waker.storage.sealed import read_yaml, write_yaml
from waker.storage.tables import read_rows
from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation, compiling_of, load_adapted, name_of
from waker.training.loading import LoadedRun, load_run
from waker.training.loop import Outcome

TASK = '''"""A task that the environment does not have."""


def top_row(observation):
    return (observation["agent"][..., 0] == 0).astype("float32")
'''


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A run folder of the test's own, beside ``tasks.py``."""
    shutil.copytree(finished / RUN, tmp_path / "run")
    (tmp_path / "tasks.py").write_text(TASK)
    return tmp_path / "run"


def note(text: str) -> None:
    raise AssertionError(text)


def weights(adaptation: Adaptation) -> list[torch.Tensor]:
    adapter = adaptation.adapter
    return [p.detach().clone() for p in [*adapter.heads.parameters(), *adapter.policy_learner.policies.parameters()]]


def adaptation(folder: Path, loaded: LoadedRun | None = None) -> Adaptation:
    task = load_task(f"{folder.parent / 'tasks.py'}:top_row")
    return Adaptation(loaded or load_run(folder, note), ["green", task], Progress("test", 4, quiet=True))


def test_going_on_equals_not_stopping(folder: Path) -> None:
    whole = adaptation(folder)
    whole.run(4)
    shutil.rmtree(folder / "adapted")
    first = adaptation(folder)
    first.run(2)
    second = adaptation(folder)
    second.run(4)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_metrics_that_are_not_finite_are_told_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, told = adaptation(folder), list[str]()
    update = made.adapter.update
    monkeypatch.setattr(made.progress, "note", told.append)
    monkeypatch.setattr(made.adapter, "update", lambda batch: {**update(batch), "critic": torch.full((2,), torch.inf)})
    made.run(4)  # two rows
    (line,) = [text for text in told if "finite" in text]
    assert line.startswith("critic/green (and 1 more: critic/top_row) is not finite at step ")
    assert f"step {made.loaded.step:,}, update 2," in line


@pytest.mark.parametrize("how", ["graphs", "reduce-overhead"])
def test_a_run_of_a_gpu_is_plain_float32_on_a_cpu(folder: Path, how: str) -> None:
    """Its compiling and bf16 would take many times as long here; weights are float32 either way."""
    plain = load_run(folder, note)
    record = read_yaml(folder / "config.yaml")
    record["config"]["train"] |= {"compile": how, "precision": "bf16"}
    write_yaml(folder / "config.yaml", record)
    loaded = load_run(folder, note)
    train = loaded.config.train
    assert (train.compile, train.precision) == ("off", "fp32") and not loaded.agent.precision.lowered
    assert compiling_of(loaded, ["green"], 2, None, note).config.train.compile == "off"
    theirs = loaded.agent.model.state_dict()
    assert all(torch.equal(p, theirs[name]) for name, p in plain.agent.model.state_dict().items())


def test_only_the_policies_change_and_no_environment_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_run(folder, note)
    before = {k: v.clone() for k, v in loaded.agent.model.state_dict().items()}

    def make(*args: object, **kwargs: object) -> None:
        raise AssertionError("an environment was made")

    monkeypatch.setattr(waker_envs, "make", make)
    adaptation(folder, loaded).run(3)
    assert all(torch.equal(before[k], v) for k, v in loaded.agent.model.state_dict().items())


def test_finished_policies_are_left_alone(folder: Path) -> None:
    assert adaptation(folder).run(2) is Outcome.FINISHED
    assert adaptation(folder).run(2) is Outcome.SKIPPED


def test_a_changed_function_starts_anew(folder: Path) -> None:
    adaptation(folder).run(3)
    (folder.parent / "tasks.py").write_text(TASK.replace("== 0", "== 1"))
    again = adaptation(folder)
    assert again.run(2) is Outcome.FINISHED
    assert again.updates == 2


def test_compiled_policies_go_on_compiled_and_are_evaluated_as_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder.parent / "of-torch"))  # put back what is set meanwhile
    monkeypatch.setenv("CXX", "true")  # a program that stands for a compiler, which tracing alone does not call
    torch._dynamo.reset()
    compiled: list[str] = []
    once: set[str] = set()

    def traced(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Traced for the first command alone: what counts of the others is who asks for it."""
        compiled.append(function.__name__)
        if function.__name__ in once:
            return function
        once.add(function.__name__)
        return whole(function, backend="eager")

    monkeypatch.setattr(compiled_module, "whole", traced)
    asked = ["adapt", str(folder), "--tasks", "green", "--updates"]

    def made(*more: str) -> int:
        compiled.clear()
        assert main([*asked, *more]) == 0
        return len(compiled)

    assert made("2", "--compile", "compile") == 2
    assert "unknown here" in capsys.readouterr().err
    assert made("4") == 2
    assert made("5", "--compile", "auto") == 2
    capsys.readouterr()
    assert "were trained with compile 'compile' so far" in refused([*asked, "6", "--compile", "off"], capsys)
    compiled.clear()
    assert main(["evaluate", str(folder)]) == 0 and not compiled
    # Others are eager, as their run was.
    asked[3] = "blue"
    assert made("2") == 0
    record = read_yaml(folder / "adapted" / "blue" / "tasks.yaml")
    assert record.pop("compile") == "off"
    record["compile"] = "graphs"  # begun on a GPU: the same updates, whoever starts their kernels
    write_yaml(folder / "adapted" / "blue" / "tasks.yaml", record)
    assert made("3") == 0
    assert "going on from 2 updates" in capsys.readouterr().err
    del record["compile"]
    write_yaml(folder / "adapted" / "blue" / "tasks.yaml", record)  # as it once was written
    assert made("4") == 0
    assert "going on from 3 updates" in capsys.readouterr().err


def test_the_policies_are_loaded_as_they_were(folder: Path) -> None:
    trained = adaptation(folder)
    trained.run(2)
    loaded = load_adapted(load_run(folder, note), trained.folder, trained.names, note)
    assert loaded is not None
    assert loaded.player().names == ("green", "top_row")
    for a, b in zip(trained.adapter.heads.parameters(), loaded.heads.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_command_and_its_evaluation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The function is remembered with its file, and so long as that is the same."""
    source = f"{folder.parent / 'tasks.py'}:top_row"
    assert main(["adapt", str(folder), "--task-module", source, "--updates", "2"]) == 0
    assert f"measure them with `waker evaluate {folder}`" in capsys.readouterr().out
    file, away = folder.parent / "tasks.py", folder.parent / "moved.py"
    file.rename(away)
    assert main(["evaluate", str(folder)]) == BLEMISHED
    told = capsys.readouterr().err
    assert f"task 'top_row' is left out: {file} is no longer there" in told and "--task-module FILE:top_row" in told
    assert "top_row" not in set(read_rows(folder / "evaluation.parquet")["task"])
    assert main(["evaluate", str(folder), "--task-module", f"{away}:top_row"]) == 0
    named = read_rows(folder / "evaluation.parquet")
    away.rename(file)
    assert main(["evaluate", str(folder)]) == 0
    rows = read_rows(folder / "evaluation.parquet")
    assert rows.sort_values([*rows], ignore_index=True).equals(named.sort_values([*named], ignore_index=True))
    new = rows[(rows["task"] == "top_row") & (rows["policy"] != "random")]
    assert set(new["policy"]) == {"learned"}
    random = rows[(rows["task"] == "top_row") & (rows["policy"] == "random")]
    keys = ["suite", "theta_id", "episode_seed"]
    assert random[keys].reset_index(drop=True).equals(new[keys].reset_index(drop=True))
    assert new["return"].between(0, new["length"]).all()
    assert new["optimal_return"].isna().all()
    assert set(rows.loc[rows["policy"] == "learned", "task"]) == {"green", "blue", "red", "top_row"}
    # What is left out afterwards was measured, and stays as it was.
    file.write_text(TASK + "\n")
    assert main(["evaluate", str(folder), "--episodes", "2"]) == BLEMISHED
    assert "has changed since its policy was trained: `waker adapt` it again" in capsys.readouterr().err
    after = read_rows(folder / "evaluation.parquet")
    kept = after[(after["task"] == "top_row") & (after["policy"] == "learned")].reset_index(drop=True)
    assert kept.equals(new.reset_index(drop=True))
    green = after[(after["task"] == "green") & (after["policy"] == "learned") & (after["suite"] == "dr")]
    assert len(green) == 2


def test_a_task_that_fails_in_an_evaluation_costs_the_run_s_own_rows_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"{folder.parent / 'tasks.py'}:top_row"
    assert main(["adapt", str(folder), "--task-module", source, "--updates", "2"]) == 0
    (folder.parent / "tasks.py").write_text(TASK.replace("    return", "    raise SystemExit(0)\n    return"))
    capsys.readouterr()
    told = refused(["evaluate", str(folder), "--task-module", source, "--episodes", "9"], capsys)
    assert "top_row failed in line 5: it called for the end of the program (SystemExit: 0)" in told
    rows = read_rows(folder / "evaluation.parquet")
    chosen = rows[(rows["policy"] == "learned") & (rows["suite"] == "dr")]
    assert chosen.groupby("task").size().to_dict() == {"green": 9, "blue": 9, "red": 9}


def test_a_stopped_evaluation_goes_on_with_adapted_policies_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{folder.parent / 'tasks.py'}:top_row"
    assert main(["adapt", str(folder), "--task-module", source, "--updates", "2"]) == 0
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    assert main(["evaluate", str(other), "--task-module", source]) == 0
    ticks, codes = [0], []
    tick = Piece.tick

    def interrupted(self: Piece, *args: Any, **options: Any) -> None:
        ticks[0] += 1
        if ticks[0] == 20 or (len(codes) == 1 and self.name.startswith("top_row")):
            os.kill(os.getpid(), signal.SIGTERM)
        tick(self, *args, **options)

    monkeypatch.setattr(Piece, "tick", interrupted)
    while not codes or codes[-1]:
        codes.append(main(["evaluate", str(folder), "--task-module", source]))
        assert len(codes) < 4
    assert codes == [143, 143, 0]
    assert capsys.readouterr().out.count("the evaluation goes on with") == 2
    one, two = (read_rows(path / "evaluation.parquet") for path in (folder, other))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_new_tasks_may_be_chosen_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"{folder.parent / 'tasks.py'}:top_row"
    for names, expected in {
        (): ["top_row"],
        ("top_row",): ["top_row"],
        ("green",): ["green", "top_row"],
        ("top_row", "green"): ["top_row", "green"],
    }.items():
        assert list(map(name_of, chosen_tasks(names, (source,), ("green", "blue")))) == expected
    assert main(["adapt", str(folder), "--tasks", "top_row", "--task-module", source, "--updates", "1"]) == 0
    assert (folder / "adapted" / "top_row" / "tasks.yaml").is_file()
    assert main(["adapt", str(folder), "--tasks", "top_row", "--updates", "2"]) == 0  # its file is remembered
    capsys.readouterr()
    assert "did you mean 'top_row'?" in refused(["adapt", str(folder), "--tasks", "top_rows"], capsys)
    (folder.parent / "tasks.py").unlink()
    told = refused(["adapt", str(folder), "--tasks", "top_row", "--updates", "3"], capsys)
    assert "tasks.py is no longer there: name it where it is now, --task-module FILE:top_row" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--tasks", "gren"], "unknown task 'gren'; did you mean 'green'?"),
        (["--tasks", "green", "green"], "task 'green' is named twice"),
        (["--task-module", "nowhere.py:f"], "no file 'nowhere.py'"),
        (["--updates", "0"], "--updates 0 must be at least 1"),
    ],
)
def test_mistakes(more: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", str(folder), *more]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "adapted").exists()


def test_policies_are_trained_without_a_damaged_chunk_and_say_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = min((folder / "replay").glob("ticks-*"))
    flip(chunk, 1000)
    asked = ["adapt", str(folder), "--tasks", "green", "--updates"]
    assert main([*asked, "2"]) == BLEMISHED
    told = f"going on without ticks 0 to 43 of the replay: {chunk.name} is damaged"
    assert told in capsys.readouterr().err
    assert read_yaml(folder / "adapted" / "green" / "tasks.yaml")["replay_lost"] == [[0, 43]]
    assert main([*asked, "3"]) == BLEMISHED
    assert "going on from 2 updates" in capsys.readouterr().err
    assert (
        main(["evaluate", str(folder), "--episodes", "1", "--suite-episodes", "1", "--model-episodes", "1"])
        == BLEMISHED
    )
    assert "green was trained without some ticks of the replay" in capsys.readouterr().out
    flip(chunk, 1000)  # whole again: what it was trained with has changed
    assert main([*asked, "3"]) == 0
    assert "its replay or a task has changed since these were trained: starting anew" in capsys.readouterr().err


def test_a_folder_removed_while_adapting_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def update(adapter: TaskAdapter, batch: Any) -> dict[str, torch.Tensor]:
        shutil.rmtree(folder, ignore_errors=True)
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(TaskAdapter, "update", update)
    assert main(["adapt", str(folder), "--tasks", "green", "--updates", "2"]) == 1
    assert "removed or replaced during the run: config.yaml" in capsys.readouterr().err.splitlines()[-1]
    assert not folder.exists()


@pytest.mark.parametrize("record", ["tasks: 5", "tasks: [green]\nfunctions: {}\nmodel: null", "[green]"])
def test_a_record_of_policies_that_lacks_something_is_one_line(
    folder: Path, record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "adapted" / "green").mkdir(parents=True)
    (folder / "adapted" / "green" / "tasks.yaml").write_text(record)
    assert "tasks.yaml cannot be read" in refused(["evaluate", str(folder)], capsys)
