"""Environment processes: the same numbers as in one process, and what happens when a process fails, dies or hangs."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.helpers import dummies
from tests.helpers.families import family_of
from tests.helpers.faulty_envs import BAD, CrashingEnv, FirstProcessEnv, HangingEnv, MeetingEnv
from tests.helpers.known_dynamics import RingModel
from tests.helpers.ring import Ring
from tests.training.test_resume import assert_same
from waker.behaviour.player import RandomPlayer
from waker.collection import worker_pool as slot_processes
from waker.collection.episode import EnvironmentFailed, Episode
from waker.collection.make_env import MakeEnv
from waker.collection.slot_group import SlotGroup, slot_group
from waker.config.presets import preset
from waker.config.schema import Config, EvalConfig
from waker.errors import UserError
from waker.evaluation.model_error import measure
from waker.evaluation.records import Measurement
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.storage.checkpoint import Checkpoints
from waker.storage.run_folder import run_folder
from waker.terminal.signals import Interrupted
from waker.training.build import train_run
from waker.training.loop import Outcome
from waker_envs.testing import FailingEnv, HardTheta

HARD = family_of(HardTheta)
PUSH = dict(enumerate(np.full((3, 1), 0.5, np.float32)))


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    """No test leaves a process behind."""
    torch.set_num_threads(1)
    yield
    assert active_children() == []


def starts(*thetas: float) -> dict[int, Episode]:
    return {i: Episode(np.array([theta]), int(theta), 40 + i) for i, theta in enumerate(thetas)}


def saved_from(group: SlotGroup, slot: int) -> tuple[Episode, NDArray[np.float32]]:
    """A slot's episode so far, as it is replayed."""
    play = group.plays[slot]
    return play.episode, play.state_dict()["actions"]


def tiny(processes: int) -> Config:
    """The preset ``tiny``, shortened: 4 slots, checkpoints and updates, no evaluation of note."""
    config = preset("tiny")
    train = replace(config.train, steps=240, prefill=80, envs=4, env_processes=processes, save_every=10**6, log_every=2)
    few = replace(config.evaluation, episodes=2, suite_episodes=1, model_episodes=1, horizon=2, samples=4)
    return replace(config, train=train, evaluation=few)


def once(step: int, act: Callable[[], None]) -> dummies.Quiet:
    """A progress line that calls ``act`` once, at the first tick or update from ``step`` on."""
    left = [act]

    def at(now: int, updates: int) -> None:
        if now >= step and left:
            left.pop()()

    return dummies.Quiet(at)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shortened run in one process, uninterrupted."""
    torch.set_num_threads(1)
    return train_run(tiny(0), tmp_path_factory.mktemp("whole"), dummies.Quiet())[1]


def test_a_run_with_processes_is_the_run_without(whole: Path, tmp_path: Path) -> None:
    """Signals that reach the workers change nothing either: a terminal sends Ctrl-C to all processes of a group."""
    found: list[int] = []

    def disturb() -> None:
        for child in active_children():
            assert child.pid is not None
            found.append(child.pid)
            os.kill(child.pid, signal.SIGINT)
            os.kill(child.pid, signal.SIGTERM)

    assert_same(whole, train_run(tiny(2), tmp_path, once(100, disturb))[1])
    assert len(found) == 2


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without an evaluation, which has processes of its own: the tests before and after are of those."""
    monkeypatch.setattr("waker.training.build.evaluator", lambda *args: lambda agent: Measurement())


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("lives", [(2, 0), (0, 2)])
def test_a_run_goes_on_with_processes_or_without(tmp_path: Path, lives: tuple[int, int]) -> None:
    whole = train_run(tiny(0), tmp_path / "whole", dummies.Quiet())[1]
    # At step 130 no slot is at an episode's start, so that all four are rebuilt.
    with pytest.raises(Interrupted):
        train_run(tiny(lives[0]), tmp_path / "parts", once(130, stop))
    checkpoints = Checkpoints(run_folder(tmp_path / "parts", tiny(0)) / "checkpoints")
    state = checkpoints.load(checkpoints.paths()[0])["collector"]
    assert min(len(slot["actions"]) for slot in state["slots"]) > 0
    progress = dummies.Quiet()
    assert_same(whole, train_run(tiny(lives[1]), tmp_path / "parts", progress)[1])
    assert not any("did not repeat" in note for note in progress.notes)
    assert "going on from step" in progress.notes[0]


def played(group: SlotGroup, ticks: int = 60) -> list[Any]:
    """What comes out of slots under fixed actions, episodes and their returns included."""
    rng, out = np.random.default_rng(0), []
    now = starts(0, 1, 2)
    for tick in range(ticks):
        steps = group.advance(now, dict(enumerate(rng.uniform(-1, 1, (3, 1)).astype(np.float32))))
        out.append([step._asdict() for step in steps.values()])
        out.append([[*e.state_dict().values(), e.returns.copy()] for e in group.plays])
        now = {i: Episode(np.array([tick % 5.0]), tick % 5, tick) for i, step in steps.items() if step.truncated}
    return out


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_steps_and_episodes_are_the_same(processes: int) -> None:
    local, remote = slot_group(HARD, 3), slot_group(HARD, 3, processes)
    assert len(active_children()) == min(processes, 3)
    np.testing.assert_equal(played(remote), played(local))
    saved = {i: saved_from(remote, i) for i in (0, 2)}
    before = remote.plays[0].returns
    assert before.sum() > 0
    remote.advance(starts(0, 1, 2), PUSH)
    rebuilt = remote.replay(saved)
    np.testing.assert_equal(rebuilt, local.replay(saved))
    np.testing.assert_equal(remote.plays[0].returns, before)
    np.testing.assert_equal(saved_from(remote, 0), saved[0])
    assert local.cpu_seconds == 0 < remote.cpu_seconds < 60
    remote.close()


def test_an_evaluation_with_processes_is_the_one_without() -> None:
    found = []
    for processes in (0, 2):
        setup = Setup(family_of(Ring), EvalConfig(episodes=5, suite_episodes=1, model_episodes=2), processes=processes)
        player = RandomPlayer(setup.family.spec.action, np.random.default_rng(0), setup.family.spec.tasks)
        model: Any = RingModel()
        found.append([evaluate(setup, player, player.names, slots=3), measure(setup, model)])
    np.testing.assert_equal(found[1], found[0])
    assert min(map(len, found[0])) > 0


def test_all_workers_step_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAKER_TEST_MEETING", str(tmp_path))
    group = slot_group(family_of(MeetingEnv), 2, 2)
    try:
        group.advance(starts(0, 1), {})
        group.advance({}, {0: PUSH[0], 1: PUSH[1]})
    finally:
        group.close()
    assert len(list(tmp_path.iterdir())) == 2


def failure_of(make_env: MakeEnv, processes: int) -> EnvironmentFailed:
    """The failure that comes within a few steps of slots at θ = 0, 1, 2."""
    group = slot_group(replace(HARD, make=make_env), 3, processes)
    now = starts(0, 1, 2)
    try:
        for _ in range(9):
            group.advance(now, PUSH)
            now = {}
    except EnvironmentFailed as failure:
        return failure
    finally:
        group.close()
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("failure", ["raise", "nan", "nan-reward", "shape"])
def test_a_failure_is_reported_as_in_one_process(failure: str) -> None:
    make = functools.partial(FailingEnv, failure=failure, at_step=4)  # type: ignore[arg-type]
    here, there = failure_of(make, 0), failure_of(make, 2)
    assert there.report == here.report
    assert len(there.report["actions"]) == 4
    assert str(there) == str(here)


def test_a_worker_serves_on_after_a_failure() -> None:
    group = slot_group(replace(HARD, make=functools.partial(FailingEnv, at_step=2)), 3, 1)
    group.advance(starts(0, 1, 2), PUSH)
    group.advance({}, PUSH)
    with pytest.raises(EnvironmentFailed):
        group.advance({}, PUSH)
    steps = group.advance(starts(2, 1, 0), PUSH)
    fresh = slot_group(HARD, 3).advance(starts(2, 1, 0), PUSH)
    np.testing.assert_equal(steps, fresh)
    group.close()


def test_a_worker_that_dies_in_a_step_names_the_slot_under_way() -> None:
    group = slot_group(replace(HARD, make=CrashingEnv), 3, 1)
    group.advance(starts(0, BAD, 2), PUSH)
    group.advance({}, PUSH)
    with pytest.raises(EnvironmentFailed) as caught:
        group.advance({}, PUSH)
    group.close()
    report = caught.value.report
    assert report["reason"] == "the process of environments 0, 1, 2 was killed by SIGKILL"
    assert (report["theta"], report["seed"], report["actions"]) == ([BAD], 41, [[0.5], [0.5]])
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies_while_an_episode_is_rebuilt_is_told() -> None:
    local = slot_group(HARD, 3)
    local.advance(starts(0, BAD, 2), PUSH)
    for _ in range(2):
        local.advance({}, PUSH)
    group = slot_group(replace(HARD, make=CrashingEnv), 3, 1)
    found = group.replay({i: saved_from(local, i) for i in range(3)})
    group.close()
    assert [type(found[i]) for i in range(3)] == [EnvironmentFailed] * 3


def test_a_run_whose_worker_is_killed_is_saved(tmp_path: Path) -> None:
    def kill() -> None:
        active_children()[0].kill()

    with pytest.raises(EnvironmentFailed, match="the process of environments? .* was killed by SIGKILL") as caught:
        dummies.run(tmp_path, dummies.config(env_processes=2), once(200, kill))
    path = run_folder(tmp_path, dummies.config())
    assert json.loads((path / "failure.json").read_text()) == caught.value.report
    assert f"seed={caught.value.report['seed']}" in str(caught.value)
    progress = dummies.Quiet()
    assert dummies.run(tmp_path, dummies.config(), progress)[1] is Outcome.FINISHED
    step = int(progress.notes[0].split("step ")[1].split(",")[0])
    assert 200 <= step < 203  # the tick in which it died is given up


def test_an_interrupted_call_is_not_taken_for_the_next_and_who_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupt(BaseException):
        """As Ctrl-C, which would end pytest where it is not expected."""

    def interrupt(*_: Any) -> None:
        raise Interrupt

    monkeypatch.setattr(slot_processes, "_PATIENCE", 0.1)
    group = slot_group(replace(HARD, make=HangingEnv), 3, 1)
    group.advance(starts(BAD, 1, 2), PUSH)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 5.0)
    try:
        with pytest.raises(Interrupt):
            group.advance({}, PUSH)
        with pytest.raises(UserError, match="was interrupted"):
            group.advance({}, PUSH)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        group.close()
    group.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HardTheta(), "train.env_processes: the environment cannot be sent to a process"),
        (FirstProcessEnv, "Hard.* cannot be made in a process of its own: OSError: no display here"),
        (
            functools.partial(os._exit, 3),
            "cannot be made in a process .*: the process .* 0, 1, 2 exited with 3",
        ),
    ],
)
def test_environments_that_cannot_be_made_are_told(make: MakeEnv, message: str) -> None:
    with pytest.raises(UserError, match=message):
        slot_group(replace(HARD, make=make), 3, 1)


SCRIPT = """
import multiprocessing
import numpy as np
from tests.helpers.families import family_of
from tests.helpers.faulty_envs import HangingEnv
from waker.collection.episode import Episode
from waker.collection.slot_group import slot_group
group = slot_group(family_of(HangingEnv), 2, 2)
actions = {0: np.zeros(1, np.float32), 1: np.zeros(1, np.float32)}
group.advance({0: Episode(np.zeros(1), 0, 0), 1: Episode(np.full(1, 3.0), 3, 0)}, {})
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
"""


def script(then: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A process with two workers, and theirs."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'envs'}"}
    command = [sys.executable, "-c", SCRIPT + then]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, [int(pid) for pid in process.stdout.readline().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_end_with_their_parent() -> None:
    """Killed while one worker waits for orders and the other is in a step that never ends."""
    process, workers = script("group.advance({}, actions)")
    assert len(workers) == 2
    time.sleep(0.3)  # for the step to begin
    assert all(map(alive, workers))
    process.kill()
    process.wait(10)
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    orphans = [pid for pid in workers if alive(pid)]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    assert not orphans


def test_a_program_that_forgets_to_close_ends() -> None:
    process, workers = script("")
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert not any(map(alive, workers))
