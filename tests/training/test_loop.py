"""The training loop with a dummy agent: the rhythm of its blocks, its signals, failures and full disks."""

from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import dummies
from tests.training.test_resume import assert_same
from waker.collection.episode import EnvironmentFailed, Episode, Play
from waker.config.presets import preset
from waker.errors import UserError
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import SaveFailed
from waker.storage.run_folder import RunFolder, run_folder
from waker.storage.tables import read_rows, write_rows
from waker.terminal.signals import Interrupted, StopSignals
from waker.training.build import too_short
from waker.training.loop import Outcome
from waker.training.session import Session
from waker.training.work_due import Every, Ratio
from waker_envs.testing import FailingEnv


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run."""
    return dummies.run(tmp_path_factory.mktemp("reference"), dummies.config())[0]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_every_is_due_once_a_multiple() -> None:
    clock = Every(10)
    due = []
    for step in range(0, 61, 4):
        if clock.due(step):
            due.append(step)
            clock.mark(step)
    assert due == [12, 20, 32, 40, 52, 60]
    assert not Every(0).due(10**9)


def test_ratio_counts_from_its_start() -> None:
    clock = Ratio(2.5, start=10)
    assert [clock.allowed(step) for step in (0, 9, 10, 12, 13, 15, 20)] == [0, 0, 1, 1, 2, 3, 5]
    assert clock.due(13, 1)
    assert not clock.due(13, 2)


def test_a_run_makes_its_steps_updates_rows_and_files(tmp_path: Path) -> None:
    config = dummies.config()
    path, outcome = dummies.run(tmp_path, config)
    assert outcome is Outcome.FINISHED
    assert path == tmp_path / "test-hard" / "waker-m" / "plan2explore" / "seed-7"
    state = Checkpoints(path / "checkpoints").load(Checkpoints(path / "checkpoints").paths()[0])
    steps = state["collector"]["step"]
    assert 400 <= steps < 403
    assert state["updates"] == Ratio(10, 100).allowed(steps)
    assert state["finished"]
    logged = rows(path)
    assert [r["updates"] for r in logged] == list(range(3, state["updates"] + 1, 3))
    named = {"loss/model", "reward_loss/left", "reward_loss/right", "episode/length", "episode/return_right"}
    assert named <= set().union(*logged)
    episodes = read_rows(path / "episodes.parquet")
    assert (episodes["length"] == 20).all()
    assert (episodes["theta_complexity"] == episodes["theta_id"]).all()
    assert episodes["step"].is_monotonic_increasing
    evaluation = read_rows(path / "evaluation.parquet")
    # The first unit of work past each multiple of 150, and the end; the evaluation in the middle is at a tick's end.
    assert [step // 150 for step in evaluation["step"]] == [1, 2, 2]
    assert evaluation["step"].iloc[-1] == steps
    assert evaluation["sampler"].unique().tolist() == ["waker-m"]
    curriculum = read_rows(path / "curriculum.parquet")
    at = curriculum.groupby(["step", "updates"])  # each row of metrics and each evaluation, once where they coincide
    asked = {(r["step"], r["updates"]) for r in [*logged, *evaluation[["step", "updates"]].to_dict("records")]}
    assert set(at.groups) == asked and len(asked) > len(logged)
    assert (at.size() == 5).all() and np.allclose(at["probability"].sum(), 1)


def test_a_finished_run_is_skipped(tmp_path: Path) -> None:
    path, _ = dummies.run(tmp_path, dummies.config())
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, dummies.config(), progress)[1] is Outcome.SKIPPED
    assert "finished before" in progress.notes[-1]
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_the_last_step_is_measured_once(tmp_path: Path) -> None:
    """With one slot a multiple of 150 is the last step, and one more update is to come: the end's evaluation is it."""
    measured: list[int] = []

    def evaluate(agent: Any) -> Any:
        measured.append(1)
        return dummies.evaluate(agent)

    path, _ = dummies.run(tmp_path, dummies.config(envs=1, steps=450), evaluate=evaluate)
    evaluation = read_rows(path / "evaluation.parquet")
    checkpoints = Checkpoints(path / "checkpoints")
    assert evaluation["step"].tolist() == [150, 300, 450]
    assert len(measured) == 3
    assert evaluation["updates"].iloc[-1] == checkpoints.load(checkpoints.paths()[0])["updates"]


def test_a_signal_in_the_last_evaluation_does_not_unfinish_the_run(tmp_path: Path) -> None:
    config = dummies.config()

    def interrupted(agent: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return dummies.evaluate(agent)

    progress = dummies.Quiet()
    config = replace(config, evaluation=replace(config.evaluation, every=0))
    assert dummies.run(tmp_path, config, progress, evaluate=interrupted)[1] is Outcome.FINISHED
    assert not any("stopped" in note for note in progress.notes)


@pytest.mark.parametrize("tasks", [1, 3])
def test_vectors_are_labelled_by_what_they_are_of(tmp_path: Path, tasks: int) -> None:
    """However many they are: one task has as many entries as a stack of the explorer alone."""
    config = dummies.config(task_policies="after" if tasks == 1 else "online", adapt_updates=3)
    names = tuple(f"task{k}" for k in range(tasks))
    members = ("explorer",) if tasks == 1 else (*names, "explorer")
    made = dummies.parts(config)

    class Named(dummies.DummyPlayer):
        @property
        def names(self) -> tuple[str, ...]:
            return members

    class Vectors(dummies.DummyAgent):
        def explorer(self) -> Any:
            return Named(self)

        def update(self, batch: Any) -> Any:
            credit, _ = super().update(batch)
            return credit, {"reward_loss": torch.ones(tasks), "actor_loss": torch.ones(len(members))}

        def adapt_update(self, batch: Any) -> Any:
            return {"actor_loss": torch.ones(tasks)}

    run = RunFolder(tmp_path, config)
    family = replace(made.family, spec=replace(made.family.spec, tasks=names))
    session, agent = Session(replace(made, family=family), run, dummies.Quiet()), Vectors(made.family.spec)
    session.explorer = agent.explorer()
    session.metrics.means.add(agent.update(batch_of(made.family.spec))[1])
    session.metrics.means.add({f"adapt/{k}": v for k, v in agent.adapt_update({}).items()})
    assert list(session.metrics.means.take()) == [
        *(f"reward_loss/{name}" for name in names),
        *(f"actor_loss/{name}" for name in members),
        *(f"adapt/actor_loss/{name}" for name in names),
    ]
    session.close()


def batch_of(spec: Any) -> dict[str, torch.Tensor]:
    """One window of one record."""
    return {
        "observation": torch.zeros(1, 1, 2),
        "task_rewards": torch.zeros(1, 1, 2),
        "theta_id": torch.zeros(1, 1, dtype=torch.int64),
    }


def measured_elsewhere(path: Path, step: int, values: list[float]) -> None:
    """What `waker evaluate` does: rows of a checkpoint's step replace those there are of that step."""
    before = read_rows(path / "evaluation.parquet")
    kept = [] if before.empty else before[before["step"] != step].to_dict("records")
    new = [{"step": step, "updates": 0, "task": "left", "return": value} for value in values]
    write_rows(path / "evaluation.parquet", [*kept, *new])


def test_a_finished_run_keeps_rows_measured_afterwards(tmp_path: Path) -> None:
    path, _ = dummies.run(tmp_path, dummies.config())
    last = int(read_rows(path / "evaluation.parquet")["step"].max())
    measured_elsewhere(path, last, [1.0, 2.0])
    before = read_rows(path / "evaluation.parquet")
    with (path / "metrics.jsonl").open("a") as file:
        file.write("{}\n")
    assert dummies.run(tmp_path, dummies.config())[1] is Outcome.SKIPPED
    assert read_rows(path / "evaluation.parquet").equals(before)
    assert (path / "metrics.jsonl").read_text().endswith("{}\n")


@pytest.mark.parametrize("offset", [0, 1])
def test_rows_measured_on_a_stopped_run_are_neither_lost_nor_doubled(tmp_path: Path, offset: int) -> None:
    """Rows of the checkpoint stay; those of a step that the run has yet to make again are dropped with a note."""

    def stop(step: int, updates: int) -> None:
        if step == 200:
            os.kill(os.getpid(), signal.SIGTERM)

    config = dummies.config(envs=1)
    with pytest.raises(Interrupted):
        dummies.run(tmp_path, config, dummies.Quiet(stop))
    path = run_folder(tmp_path, config)
    assert read_rows(path / "evaluation.parquet")["step"].tolist() == [150]
    measured_elsewhere(path, 200 + offset, [1.0, 2.0, 3.0])
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, config, progress)[1] is Outcome.FINISHED
    steps = read_rows(path / "evaluation.parquet")["step"].tolist()
    assert steps == ([150, 200, 200, 200, 300, 400] if offset == 0 else [150, 300, 400])
    assert [n for n in progress.notes if "dropping" in n] == (
        ["dropping rows measured after step 200, from which the run goes on: 3 of evaluation"] if offset else []
    )


def test_an_evaluation_replaces_rows_measured_on_its_checkpoint(tmp_path: Path) -> None:
    """A run killed in an evaluation has a checkpoint just before it; `waker evaluate` then measures the same step."""

    class Killed(BaseException):
        pass

    def killed(agent: Any) -> Any:
        raise Killed

    config = dummies.config(envs=1)
    with pytest.raises(Killed):
        dummies.run(tmp_path, config, evaluate=killed)
    path = run_folder(tmp_path, config)
    measured_elsewhere(path, 150, [1.0, 2.0])
    dummies.run(tmp_path, config)
    assert read_rows(path / "evaluation.parquet")["step"].tolist() == [150, 300, 400]


def test_missing_metric_rows_are_told(tmp_path: Path) -> None:
    def stop(step: int, updates: int) -> None:
        if step == 200:
            os.kill(os.getpid(), signal.SIGTERM)

    config = dummies.config(envs=1)
    with pytest.raises(Interrupted):
        dummies.run(tmp_path, config, dummies.Quiet(stop))
    path = run_folder(tmp_path, config)
    (path / "metrics.jsonl").unlink()
    progress = dummies.Quiet()
    dummies.run(tmp_path, config, progress)
    assert any("metrics.jsonl lacks rows from before the checkpoint" in note for note in progress.notes)
    assert rows(path)[0]["step"] > 200


def test_updates_wait_for_a_whole_window(tmp_path: Path) -> None:
    path, _ = dummies.run(tmp_path, dummies.config(prefill=0))
    assert rows(path)[0]["step"] >= 3 * 5


def test_task_policies_adapt_after_exploration(tmp_path: Path) -> None:
    path, _ = dummies.run(tmp_path, dummies.config(task_policies="after", adapt_updates=25))
    state = Checkpoints(path / "checkpoints").load(Checkpoints(path / "checkpoints").paths()[0])
    assert state["adapted"] == state["agent"]["adapted"] == 25
    adapting = [r for r in rows(path) if "adapt/loss" in r]
    assert [r["updates"] - state["updates"] for r in adapting] == [*range(3, 25, 3), 25]


def test_evaluation_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    config = dummies.config()
    with_evaluations, _ = dummies.run(tmp_path / "a", config)
    without, _ = dummies.run(tmp_path / "b", replace(config, evaluation=replace(config.evaluation, every=0)))
    timeless = [
        [{k: v for k, v in r.items() if "time/" not in k} for r in rows(p)] for p in (with_evaluations, without)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_with_its_code(tmp_path: Path, number: signal.Signals) -> None:
    def stop(step: int, updates: int) -> None:
        if step == 200:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    progress = dummies.Quiet(stop)
    with pytest.raises(Interrupted) as caught:
        dummies.run(tmp_path, dummies.config(envs=1), progress)
    assert caught.value.code == 128 + number
    assert "stopped and saved at step 200; the same command goes on from here" in progress.notes[-1]
    assert signal.getsignal(number) == before
    newest = Checkpoints(run_folder(tmp_path, dummies.config()) / "checkpoints").manifests()[0]
    assert newest["step"] == 200


def test_a_second_signal_ends_at_once() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_failure_in_an_evaluation_is_reported_and_costs_no_episode(tmp_path: Path) -> None:
    play = Play(dummies.parts(dummies.config()).family.spec)
    play.begin(Episode(np.array([2.0]), 2, 5, "dr"))

    def fails(agent: Any) -> Any:
        raise play.failed("no light", "")

    whole, _ = dummies.run(tmp_path / "whole", dummies.config())
    with pytest.raises(EnvironmentFailed, match=r"failed at reset of an episode of suite 'dr': no light.*kept in"):
        dummies.run(tmp_path / "again", dummies.config(), evaluate=fails)
    again, _ = dummies.run(tmp_path / "again", dummies.config())
    assert json.loads((again / "failure.json").read_text())["suite"] == "dr"
    assert_same(whole, again)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("raise", "RuntimeError: the test environment was told to fail"),
        ("nan", "observation 'observation' is not finite"),
        ("nan-reward", "info['task_rewards'] is not finite"),
        ("shape", "observation 'observation' has shape (3,) instead of (2,)"),
    ],
)
def test_a_failing_environment_is_named_and_data_is_kept(tmp_path: Path, failure: Any, reason: str) -> None:
    lives = iter([50, 10**9, 10**9, *[10**9] * 3])

    def make() -> FailingEnv:
        return FailingEnv(failure=failure, at_step=next(lives))

    with pytest.raises(EnvironmentFailed) as caught:
        dummies.run(tmp_path, dummies.config(), family=replace(dummies.parts(dummies.config()).family, make=make))
    text = str(caught.value)
    assert reason in text
    assert "waker/test-Hard-v0 failed at step 10 of an episode" in text
    assert "\n" not in text
    path = run_folder(tmp_path, dummies.config())
    report = json.loads((path / "failure.json").read_text())
    assert f"seed={report['seed']}" in text
    assert str(report["theta"]) in text
    assert len(report["actions"]) == 10
    assert "Traceback" in report["traceback"]
    # What the report says reproduces the failing step up to the failure itself, which is a matter of the env's age.
    env = FailingEnv(failure="raise", at_step=10)
    env.reset(seed=report["seed"], options={"theta": report["theta"]})
    for action in report["actions"][:-1]:
        env.step(np.asarray(action, np.float32))
    with pytest.raises(RuntimeError):
        env.step(np.asarray(report["actions"][-1], np.float32))
    # 51 ticks are whole: slot 0 spent two on resets and 49 on steps.
    state = Checkpoints(path / "checkpoints").load(Checkpoints(path / "checkpoints").paths()[0])
    assert state["replay"]["ticks"] == 52
    assert len(read_rows(path / "episodes.parquet")) == 6
    # A mended environment goes on from there, with fresh episodes.
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, dummies.config(), progress)[1] is Outcome.FINISHED
    assert "going on from step" in progress.notes[0]


def test_actions_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    class Diverged(dummies.DummyAgent):
        def update(self, batch: Any) -> Any:
            credit, metrics = super().update(batch)
            with torch.no_grad():
                self.net.weight.fill_(float("nan"))
            return credit, metrics

    made = dummies.parts(dummies.config())
    with pytest.raises(UserError, match="actions are not finite at step 10.*diverged"):
        dummies.run(tmp_path, dummies.config(), make_agent=lambda: Diverged(made.family.spec))


@pytest.mark.parametrize("key", ["loss/model", "reward_std", "critic"])
def test_metrics_that_are_not_finite_are_told_once(key: str, tmp_path: Path) -> None:
    class Lost(dummies.DummyAgent):
        def update(self, batch: Any) -> Any:
            credit, metrics = super().update(batch)
            return credit, {**metrics, key: torch.tensor(float("inf"))}

    made = dummies.parts(dummies.config())
    progress = dummies.Quiet()
    path, _ = dummies.run(tmp_path, dummies.config(), progress, make_agent=lambda: Lost(made.family.spec))
    (told,) = [note for note in progress.notes if "not finite" in note]
    first = rows(path)[0]
    assert told.startswith(f"{key} is not finite at step {first['step']:,}, update {first['updates']:,}")
    assert [row[key] for row in rows(path)[:2]] == [None, None]


def test_results_that_the_next_update_overwrites_are_copied_in_time(tmp_path: Path, reference: Path) -> None:
    """As those of recorded CUDA graphs are: the run's metrics and its curriculum are those of fresh results."""

    class Static(dummies.DummyAgent):
        held: tuple[Any, dict[str, Any]] | None = None

        def update(self, batch: Any) -> Any:
            credit, metrics = super().update(batch)
            if self.held is None:
                self.held = credit, metrics
            for old, new in ((self.held[0].error, credit.error), (self.held[0].theta_id, credit.theta_id)):
                old.copy_(new)
            for name, value in metrics.items():
                self.held[1][name].copy_(value)
            return self.held

    made = dummies.parts(dummies.config())
    path, _ = dummies.run(tmp_path, dummies.config(), make_agent=lambda: Static(made.family.spec))
    ours, theirs = (
        [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows(folder)]
        for folder in (path, reference)
    )
    assert ours == theirs
    assert read_rows(path / "curriculum.parquet").equals(read_rows(reference / "curriculum.parquet"))


@pytest.mark.parametrize(("precision", "told"), [("fp32", ""), ("tf32", "is fp32"), ("bf16", "many times slower")])
def test_what_a_precision_for_gpus_is_on_a_cpu_is_told(tmp_path: Path, precision: Any, told: str) -> None:
    progress = dummies.Quiet()
    dummies.run(tmp_path, dummies.config(precision=precision), progress)
    notes = [note for note in progress.notes if note.startswith("train.precision")]
    assert len(notes) == bool(told) and all(told in note for note in notes)


@pytest.mark.parametrize("place", ["replay", "checkpoints", "parquet", "metrics"])
def test_a_full_disk_is_one_line_and_the_checkpoint_before_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Path, place: str
) -> None:
    full = False
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        if full and place in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    def fill(step: int, updates: int) -> None:
        nonlocal full
        full = step > 250

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(SaveFailed) as caught:
        dummies.run(tmp_path, dummies.config(), dummies.Quiet(fill))
    assert "no space left" in str(caught.value)
    assert "is intact, the same command goes on from it" in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    path, outcome = dummies.run(tmp_path, dummies.config())
    assert outcome is Outcome.FINISHED
    saved = [Checkpoints(p / "checkpoints") for p in (path, reference)]
    found = [s.load(s.paths()[0])["agent"]["net"]["weight"] for s in saved]
    assert torch.equal(found[0], found[1])


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    config = dummies.config()
    folder = RunFolder.open(run_folder(tmp_path, config), config, ("complexity",), ("right", "left"))
    with folder.locked(), pytest.raises(UserError, match="another process is working in"):
        dummies.run(tmp_path, config)


def test_unfit_checkpoints_are_refused_in_one_line(tmp_path: Path) -> None:
    path, _ = dummies.run(tmp_path, dummies.config())
    for file in path.glob("checkpoints/*/state.pt"):
        file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(UserError, match="no checkpoint in .* is whole; remove"):
        dummies.run(tmp_path, dummies.config())


@pytest.mark.parametrize(("steps", "told"), [(10, True), (79, True), (80, False), (160, False)])
def test_a_run_that_will_learn_nothing_says_so(steps: int, told: bool) -> None:
    """The tiny preset has a prefill of 64 steps, and an update every 16."""
    notes = too_short(preset("tiny").with_(steps=steps))
    assert bool(notes) is told
    assert not told or "the first update comes after the prefill of 64 (train.prefill) and 16 more" in notes[0]
