"""Whatever foreign code raises, wherever it is called: one line that reproduces it, an exit code, and nothing lost."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.helpers.misbehaving  # noqa: F401 — registers its environments
from tests.helpers import forked
from tests.helpers.misbehaving import TOLD, WAYS, Endless, Exactly, Misbehaves
from tests.helpers.tiny import TINY
from waker.behaviour.player import RandomPlayer
from waker.cli import main
from waker.collection.episode import EnvironmentFailed, Episode
from waker.collection.family import Family
from waker.collection.slot import Slot
from waker.collection.slot_group import slot_group
from waker.collection.spec_of import spec_of
from waker.config.schema import EvalConfig
from waker.errors import BLEMISHED, UserError
from waker.evaluation.plan import plan_episodes
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.evaluation.trajectories import collect
from waker.storage.tables import read_rows
from waker_envs.api import FiniteThetaSpace
from waker_envs.checker import check_parametric_env
from waker_envs.foreign import Failed, foreign, leniently
from waker_envs.testing import HardTheta

SPEC = spec_of(HardTheta())
SPACE = HardTheta().theta_space
FEW = EvalConfig(episodes=4, suite_episodes=1, model_episodes=1, horizon=2, samples=4)
START = Episode(np.array([2.0]), 2, 9)


def misbehaving(**how: Any) -> Family:
    """The family of environments that fail as ``how`` says; they behave as :class:`HardTheta` otherwise."""
    return Family(functools.partial(Misbehaves, **how), SPEC, SPACE)


pytestmark = pytest.mark.usefixtures("signals_are_ours")


# The guard itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_raised_becomes_the_error(way: str) -> None:
    with pytest.raises(UserError) as caught, foreign("a call", lambda error: UserError("told")):
        raise WAYS[way]()
    assert type(caught.value.__cause__) is type(WAYS[way]())


def test_a_signal_goes_through_and_so_does_what_code_makes_of_it() -> None:
    with pytest.raises(KeyboardInterrupt), foreign("a call", lambda error: UserError("told")):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), foreign("an import", lambda error: UserError("told")):
        _imports_badly()


def _imports_badly() -> None:
    """As MuJoCo's module does with Ctrl-C."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None


def test_python_s_own_handler_is_believed() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), foreign("a call", lambda error: UserError("told")):
        raise KeyboardInterrupt


def test_lenient_blocks_warn_and_go_on() -> None:
    with pytest.warns(Failed, match=r"the picture: it called for the end of the program"), leniently("the picture"):
        raise SystemExit(0)
    with pytest.raises(KeyboardInterrupt), leniently("the picture"):
        os.kill(os.getpid(), signal.SIGINT)


# Every place of an environment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["reset", "step"])
def test_a_slot_reports_it(where: str, way: str) -> None:
    slot = Slot(Misbehaves(where=where, way=way), SPEC)
    if where == "step":
        slot.reset(START)
    with pytest.raises(EnvironmentFailed) as caught:
        slot.reset(START) if where == "reset" else slot.step(np.zeros(1, np.float32))
    line = str(caught.value)
    assert f"failed at {'reset' if where == 'reset' else 'step 1'} of an episode: {TOLD[way]}" in line
    assert "reset(seed=9, options={'theta': [2.0]})" in line
    assert "\n" not in line


@pytest.mark.parametrize("way", ["exit-0", "generator-exit", "unspeakable", "interrupt"])
def test_a_worker_reports_it(way: str) -> None:
    group = slot_group(misbehaving(where="step", way=way), 1, 1)
    group.advance({0: START}, {})
    with pytest.raises(EnvironmentFailed) as caught:
        group.advance({}, {0: np.zeros(1, np.float32)})
    group.close()
    assert f"failed at step 1 of an episode: {TOLD[way]}" in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_evaluation_and_trajectories_report_it(where: str, way: str) -> None:
    player = RandomPlayer(SPEC.action, np.random.default_rng(0), SPEC.tasks)
    with pytest.raises(UserError, match="reproduce it with reset") as caught:
        evaluate(Setup(misbehaving(where=where, way=way, after=3), FEW), player, SPEC.tasks, slots=1)
    assert TOLD[way] in str(caught.value)
    family = misbehaving(where=where, way=way)
    episode, slots = plan_episodes(family, FEW, 0)[0], slot_group(family, 1)
    with pytest.raises(UserError, match="reproduce it with reset") as caught:
        collect(player, slots, [episode])
    assert TOLD[way] in str(caught.value)


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("way", ["error", "exit-0", "unspeakable"])
def test_environments_that_cannot_be_made_are_told(way: str, processes: int) -> None:
    with pytest.raises(UserError, match="cannot be made") as caught:
        slot_group(misbehaving(where="init", way=way), 2, processes)
    assert TOLD[way] in str(caught.value)


@pytest.mark.parametrize("processes", [0, 2])
def test_environments_that_cannot_be_closed_are_told(processes: int) -> None:
    group = slot_group(misbehaving(where="close", way="exit-0"), 2, processes)
    with pytest.warns(Failed, match="HardTheta cannot be closed: it called for the end of the program"):
        group.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["init", "attribute", "reset", "step"])
def test_a_command_tells_it_in_one_line(
    where: str, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*_train("Misbehaves", tmp_path), "--env-kwargs", f"where={where}", f"way={way}", "after=0"])
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("waker: ")]
    assert code == 2
    assert len(told) == 1
    assert "waker/test-Misbehaves-v0" in told[0]
    assert TOLD[way] in told[0]


def _train(name: str, runs: Path) -> list[str]:
    return ["train", *TINY, "--env", f"waker/test-{name}-v0", "--runs", str(runs)]


def _folder(runs: Path) -> Path:
    return next(runs.glob("*/*/*/seed-0"))


def _lines(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    out, error = capsys.readouterr()
    return out, [line for line in error.splitlines() if line.startswith("waker: ")]


def test_a_run_whose_environment_cannot_be_closed_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*_train("Misbehaves", tmp_path), "--env-kwargs", "where=close", "way=error"]
    assert main(command) == BLEMISHED
    out, told = _lines(capsys)
    assert out.startswith("Finished: ")
    assert told == ["waker: waker/test-Misbehaves-v0 cannot be closed: RuntimeError: boom second line"]
    assert len(read_rows(_folder(tmp_path) / "evaluation.parquet")) == 2 * 2 * (6 + 2)


def test_an_environment_that_changes_the_working_directory_does_not_move_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [*_train("Misbehaves", Path()), "--env-kwargs", "where=chdir"]
    assert main(command) == 0, capsys.readouterr().err
    here = _folder(tmp_path)
    for verb in (["adapt", "--updates", "2"], ["evaluate"]):
        monkeypatch.chdir(tmp_path)
        assert main([*verb[:1], str(here.relative_to(tmp_path)), *verb[1:]]) == 0, capsys.readouterr().err
    assert (here / "adapted").is_dir()


@pytest.mark.parametrize(("way", "lines"), [("exit-0", 0), ("exit-text+error+return", 3)])
def test_a_process_that_an_environment_forks_never_becomes_a_second_training(
    way: str, lines: int, tmp_path: Path
) -> None:
    few = ["--evaluation.episodes", "1", "--evaluation.suite-episodes", "1", "--evaluation.model-episodes", "1"]
    arguments = [*_train("Forks", tmp_path), *few, "--train.steps", "100", "--env-kwargs", f"way={way}"]
    program = f"import tests.helpers.misbehaving, sys; from waker.cli import main; sys.exit(main({arguments!r}))"
    ordinary = "import warnings; warnings.resetwarnings()\n"  # newer Pythons warn of forks beside threads
    root = Path(__file__).parents[1]
    done = forked.python(ordinary + program, tmp_path, {"PYTHONPATH": f"{root}{os.pathsep}{root / 'envs'}"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Finished: ") == 1
    told = [line for line in done.stderr.splitlines() if "a process that was forked in step 3 of " in line]
    assert min(len(told), 3) == lines  # a line for each way
    folder = _folder(tmp_path)
    assert main(["evaluate", str(folder)]) == 0
    assert len(read_rows(folder / "evaluation.parquet")) == 2 * 2 * (1 + 1)


@pytest.mark.parametrize(("raised", "code"), [("SystemExit(0)", 0), ("SystemExit(7)", 7), ("ValueError()", 1)])
def test_a_forked_process_ends_with_the_code_that_it_asked_for(raised: str, code: int) -> None:
    program = (
        "import os\n"
        "from waker_envs.foreign import foreign\n"
        "with foreign('x', RuntimeError):\n"
        "    child = os.fork()\n"
        f"    if child == 0: raise {raised}\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == "
        f"{code}\n"
        "if child == 0: print('came back')\n"
        "with foreign('y', RuntimeError):\n"  # a child that was forked elsewhere calls foreign code as any process
        "    pass\n"
        "if os.fork() == 0:\n"
        "    with foreign('z', RuntimeError): pass\n"
        "    os._exit(0)\n"
        "assert os.wait()[1] == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# What an evaluation can do without ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["optimal", "none", "text", "many", "inf"])
def test_an_optimum_that_fails_costs_itself_alone(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*_train("Exactly", tmp_path), "--env-kwargs", f"where={where}", "way=exit-0"]
    assert main(command) == BLEMISHED
    out, told = _lines(capsys)
    assert out.startswith("Finished: ")
    assert "told before training" in told[0]
    assert any("optimal_return failed at 16 of 16 calls" in line for line in told[1:])
    rows = read_rows(_folder(tmp_path) / "evaluation.parquet")
    assert len(rows) == 2 * 2 * (6 + 2)
    assert rows["optimal_return"].isna().all()
    assert np.isfinite(rows["return"]).all()


def test_an_optimum_that_fails_now_and_then_is_there_at_other_times() -> None:
    player = RandomPlayer(SPEC.action, np.random.default_rng(0), SPEC.tasks)
    make = functools.partial(Exactly, where="optimal", after=3)
    with pytest.warns(Failed, match=r"optimal_return failed at 7 of 10 calls.*optimal_return\(\[.*RuntimeError: boom"):
        rows = evaluate(Setup(Family(make, SPEC, SPACE), FEW), player, SPEC.tasks, slots=1)
    assert [row["optimal_return"] for row in rows[:3]] == [20.0] * 3
    assert np.isnan([row["optimal_return"] for row in rows[3:]]).all()


def test_exact_methods_that_are_not_implemented_are_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_train("NotExactly", tmp_path)) == 0
    _, told = _lines(capsys)
    assert told == []
    assert read_rows(_folder(tmp_path) / "evaluation.parquet")["optimal_return"].isna().all()
    assert main(["envs", "waker/test-NotExactly-v0", "--theta", "2"]) == 0
    assert "best expected return" not in capsys.readouterr().out
    check_parametric_env("waker/test-NotExactly-v0")


def test_a_suite_that_cannot_be_made_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*_train("Misbehaves", tmp_path), "--env-kwargs", "where=suite", "way=error"]
    assert main(command) == 2
    _, told = _lines(capsys)
    assert "suite 'broken' cannot be evaluated: waker/test-Misbehaves-v0 cannot be made with" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_fails_costs_no_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from waker.evaluation import records

    def fails(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr(records, "film", fails)
    assert main(_train("Hard", tmp_path)) == BLEMISHED
    _, told = _lines(capsys)
    assert told == ["waker: the film strip of waker/test-Hard-v0 is left out: ZeroDivisionError: no picture"]
    assert len(read_rows(_folder(tmp_path) / "evaluation.parquet")) == 2 * 2 * (6 + 2)
    assert not (_folder(tmp_path) / "filmstrip.npz").exists()


# Episodes without an end -------------------------------------------------------------------------------------------


def test_episodes_without_an_end_are_cut_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_train("Endless", tmp_path), "--longest-episode", "25"]) == 0
    out, told = _lines(capsys)
    assert out.startswith("Finished: ")
    assert all("has episodes that do not end" in line and "was cut after 25 steps" in line for line in told)
    assert 2 <= len(told) <= 4  # once in training, once in each evaluation
    assert (read_rows(_folder(tmp_path) / "episodes.parquet")["length"] == 25).all()
    assert (read_rows(_folder(tmp_path) / "evaluation.parquet")["length"] == 25).all()


def test_a_cut_is_no_true_end_and_an_end_in_time_is_no_cut() -> None:
    from dataclasses import replace

    slot = Slot(Endless(), replace(SPEC, longest=3))
    slot.reset(Episode(np.array([1.0]), 1, 0))
    steps = [slot.step(np.zeros(1, np.float32)) for _ in range(3)]
    assert [(s.terminated, s.truncated, s.cut) for s in steps] == [(False, False, False)] * 2 + [(False, True, True)]
    slot = Slot(HardTheta(), replace(SPEC, longest=20))
    slot.reset(Episode(np.array([1.0]), 1, 0))
    last = [slot.step(np.zeros(1, np.float32)) for _ in range(20)][-1]
    assert (last.truncated, last.cut) == (True, False)


# Where nobody expects foreign code ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["exit-0", "exit-text", "generator-exit", "own", "interrupt"])
def test_nothing_ends_the_command_without_a_word(
    way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from waker.cli.verbs import envs

    def fails() -> str:
        raise WAYS[way]()

    monkeypatch.setattr(envs, "listing", fails)
    assert main(["envs"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


class _OddSpace(FiniteThetaSpace):
    """Breaks in a place that nobody guards."""

    def index(self, theta: Any) -> int:
        raise KeyError("odd")


def test_an_error_of_foreign_code_that_nobody_guards_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = _OddSpace.__new__(_OddSpace)
    odd.__dict__.update(HardTheta().theta_space.__dict__)
    monkeypatch.setattr(Misbehaves, "theta_space", property(lambda self: odd, lambda self, value: None), raising=False)
    assert main(_train("Misbehaves", tmp_path)) == 2
    _, told = _lines(capsys)
    assert len(told) == 1
    assert told[0].startswith("waker: stopped by an error in ")
    assert told[0].endswith(": KeyError: 'odd'")


def test_an_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from waker.cli.verbs import envs

    monkeypatch.setattr(envs, "listing", {}.popitem)
    monkeypatch.setattr("waker_envs.registry.foreign_packages", lambda: {"theirs"})
    with pytest.raises(KeyError):
        main(["envs"])


@pytest.mark.parametrize("code", [0, 7])
def test_os_exit_is_told_and_no_success(code: int) -> None:
    program = (
        "import os, sys\n"
        "from waker.terminal.startup import watch_exit\n"
        "from waker_envs.foreign import foreign\n"
        "watch_exit()\n"
        "if os.fork() == 0: os._exit(0)\n"  # its own business
        "assert os.wait()[1] == 0\n"
        f"with foreign('step 3 of x', RuntimeError): os._exit({code})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == (code or 2)
    assert done.stderr == (
        f"waker: some code ended the program (os._exit({code})) in step 3 of x; the same command goes on from what was "
        "saved\n"
    )
