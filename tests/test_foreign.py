"""Whatever foreign code raises, wherever it is called: one line that reproduces it, an exit code, and nothing lost."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tests.misbehaving  # noqa: F401 — registers its environments
from tests import dummies
from tests.misbehaving import TOLD, WAYS, Endless, Exactly, Misbehaves
from tests.tiny import TINY
from waker.behaviour.player import RandomPlayer
from waker.checkpoint import pack, unpack
from waker.cli import main
from waker.config import CurriculumConfig, EvalConfig
from waker.curriculum import make_curriculum
from waker.curriculum import registry as curricula
from waker.errors import BLEMISHED, UserError
from waker.evaluation.plan import plan_episodes
from waker.evaluation.rollouts import evaluate
from waker.evaluation.trajectories import collect
from waker.loggers import JsonlSink, MultiSink
from waker.relabel import TaskFunction, load_task
from waker.slot_group import Start, slot_group
from waker.slots import EnvironmentFailed, Slot
from waker.spaces import spec_of
from waker.tables import read_rows
from waker_envs import registry
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter, ThetaError
from waker_envs.checker import check_parametric_env
from waker_envs.foreign import Failed, Stop, Told, foreign, leniently
from waker_envs.testing import HardTheta

SPEC = spec_of(HardTheta())
SPACE = HardTheta().theta_space
FEW = EvalConfig(episodes=4, suite_episodes=1, model_episodes=1, horizon=2, samples=4)


@pytest.fixture(autouse=True)
def signals_are_ours() -> Iterator[None]:
    """As in the command line: only what its handlers raise is a signal."""

    def handler(number: int, frame: object) -> None:
        raise Stop(number)

    before = signal.signal(signal.SIGINT, handler)
    yield
    signal.signal(signal.SIGINT, before)


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
        slot.reset(np.array([2.0]), 2, 9)
    with pytest.raises(EnvironmentFailed) as caught:
        slot.reset(np.array([2.0]), 2, 9) if where == "reset" else slot.step(np.zeros(1, np.float32))
    line = str(caught.value)
    assert f"failed at {'reset' if where == 'reset' else 'step 1'} of an episode: {TOLD[way]}" in line
    assert "reset(seed=9, options={'theta': [2.0]})" in line
    assert "\n" not in line


@pytest.mark.parametrize("way", ["exit-0", "generator-exit", "unspeakable", "interrupt"])
def test_a_worker_reports_it(way: str) -> None:
    start: Start = (np.array([2.0]), 2, 9)
    group = slot_group(functools.partial(Misbehaves, where="step", way=way), SPEC, 1, 1)
    group.advance({0: start}, np.zeros((1, 1), np.float32))
    with pytest.raises(EnvironmentFailed) as caught:
        group.advance({}, np.zeros((1, 1), np.float32))
    group.close()
    assert f"failed at step 1 of an episode: {TOLD[way]}" in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_evaluation_and_trajectories_report_it(where: str, way: str) -> None:
    make = functools.partial(Misbehaves, where=where, way=way, after=3)
    player = RandomPlayer(SPEC.action, np.random.default_rng(0), SPEC.tasks)
    with pytest.raises(UserError, match="reproduce it with reset") as caught:
        evaluate(player, make, SPEC, SPACE, FEW, 0, SPEC.tasks, slots=1)
    assert TOLD[way] in str(caught.value)
    episode = plan_episodes(SPACE, FEW, 0)[0]
    with pytest.raises(UserError, match="reproduce it with reset") as caught:
        collect(player, [Misbehaves(where=where, way=way)], SPEC, [episode], longest=9)
    assert TOLD[way] in str(caught.value)


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("way", ["error", "exit-0", "unspeakable"])
def test_environments_that_cannot_be_made_are_told(way: str, processes: int) -> None:
    with pytest.raises(UserError, match="cannot be made") as caught:
        slot_group(functools.partial(Misbehaves, where="init", way=way), SPEC, 2, processes)
    assert TOLD[way] in str(caught.value)


@pytest.mark.parametrize("processes", [0, 2])
def test_environments_that_cannot_be_closed_are_told(processes: int) -> None:
    group = slot_group(functools.partial(Misbehaves, where="close", way="exit-0"), SPEC, 2, processes)
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


@pytest.mark.parametrize("way", ["exit-0", "exit-text", "error", "return"])
def test_a_process_that_an_environment_forks_never_becomes_a_second_training(way: str, tmp_path: Path) -> None:
    arguments = [*_train("Forks", tmp_path), "--env-kwargs", f"way={way}"]
    program = f"import tests.misbehaving, sys; from waker.cli import main; sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Finished: ") == 1
    told = [line for line in done.stderr.splitlines() if "a process that was forked in step 3 of " in line]
    assert bool(told) == (way != "exit-0")
    folder = _folder(tmp_path)
    assert main(["evaluate", str(folder)]) == 0
    assert len(read_rows(folder / "evaluation.parquet")) == 2 * 2 * (6 + 2)


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
        rows = evaluate(player, make, SPEC, SPACE, FEW, 0, SPEC.tasks, slots=1)
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
    slot.reset(np.array([1.0]), 1, 0)
    steps = [slot.step(np.zeros(1, np.float32)) for _ in range(3)]
    assert [(s.terminated, s.truncated, s.cut) for s in steps] == [(False, False, False)] * 2 + [(False, True, True)]
    slot = Slot(HardTheta(), replace(SPEC, longest=20))
    slot.reset(np.array([1.0]), 1, 0)
    last = [slot.step(np.zeros(1, np.float32)) for _ in range(20)][-1]
    assert (last.truncated, last.cut) == (True, False)


# Plug-ins, samplers, tasks, sinks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["exit-0", "exit-none", "generator-exit", "interrupt", "unspeakable"])
def test_a_plug_in_that_fails_in_its_import_is_left_out(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"plug_in_{way.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(f"from tests.misbehaving import WAYS\nraise WAYS[{way!r}]()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(Told, match="entry point 'bad' .* are left out") as caught:
        registry.load_entry_points([EntryPoint("bad", f"{module}:Env", "waker.envs")])
    assert TOLD[way] in str(caught[0].message)


def _table(**columns: Any) -> dict[str, Any]:
    ids = np.arange(5)
    whole = {"theta_id": ids, "theta_complexity": ids / 1.0, "probability": np.full(5, 0.2), "estimate": ids * np.nan}
    return {name: column for name, column in (whole | columns).items() if column is not None}


WHOLE: dict[str, Any] = {
    "sample": np.zeros((2, 1)),
    "probabilities": np.full(5, 0.2),
    "estimates": np.full(5, np.nan),
    "table": _table(),
    "state_dict": {},
}


class _Sampler:
    """Fails in one method, or returns something else from it."""

    def __init__(self, where: str, result: Any) -> None:
        self.where, self.result = where, result

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if name != self.where:
                return WHOLE.get(name)
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result

        return call


CALLS: dict[str, tuple[Any, ...]] = {
    "sample": (2,),
    "observe": (np.zeros(1, np.int64), np.zeros(1), 5),
    "episode_done": (np.zeros(1), 0, {}),
    "probabilities": (),
    "estimates": (),
    "table": (),
    "state_dict": (),
    "load_state_dict": ({},),
}


@pytest.mark.parametrize("method", CALLS)
def test_a_sampler_of_somebody_else_s_is_guarded(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = _Sampler("", None)
    made = make_foreign(lambda *args: theirs, monkeypatch)
    theirs.where, theirs.result = method, SystemExit(0)
    with pytest.raises(UserError, match=rf"sampler 'theirs' failed in {method}\(.*SystemExit: 0"):
        getattr(made, method)(*CALLS[method])


@pytest.mark.parametrize(
    ("method", "result", "told"),
    [
        ("table", None, "failed in table.*NoneType"),
        ("table", _table(theta_id=None), "no column 'theta_id'"),
        ("table", _table(theta_complexity=None), "no column 'theta_complexity'"),
        ("table", _table(estimate=None), "no column 'estimate'"),
        ("table", _table(extra=np.zeros(4)), r"column 'extra' of shape \(4,\)"),
        ("table", _table(theta_id=np.arange(5)[::-1]), r"theta_id \[4, 3, 2, 1, 0\]"),
        ("table", _table(probability=[None] * 5), "column 'probability' of dtype object"),
        ("probabilities", None, "gave in probabilities.*None"),
        ("probabilities", np.full(4, 0.25), r"shape \(4,\)"),
        ("probabilities", np.full(5, 0.3), "sum to 1.5"),
        ("probabilities", np.array([2.0, -1, 0, 0, 0]), "from -1 to 2"),
        ("probabilities", np.full(5, np.nan), "nan"),
        ("estimates", np.zeros((5, 1)), r"shape \(5, 1\)"),
        ("state_dict", None, "a NoneType"),
        ("state_dict", {"rng": np.random.default_rng(0)}, r"a Generator under \['rng'\]"),
        ("state_dict", {"a": {"seen": {1, 2}}}, r"a set under \['a'\]\['seen'\]"),
        ("state_dict", {"names": np.array(["a"])}, "an array of <U1 under"),
        ("state_dict", {"ids": [np.array([None])]}, "an array of object under"),
        ("state_dict", {(1, 2): 3}, r"a key \(1, 2\)"),
    ],
)
def test_what_a_sampler_must_not_return_is_told_before_training(
    method: str, result: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"sampler 'theirs' .*{told}") as caught:
        make_foreign(lambda *args: _Sampler(method, result), monkeypatch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("method", "result"), [("table", {}), ("table", _table(more=["a"] * 5))])
def test_what_a_sampler_may_return(method: str, result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_foreign(lambda *args: _Sampler(method, result), monkeypatch)
    assert made.table().keys() == result.keys()


def test_what_a_sampler_s_state_may_hold_comes_back_from_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {
        "a": np.uint32([1]),
        "b": [1, "x", None, 2.5, True, (2**100,)],
        "c": {7: torch.ones(2)},
        "d": np.float32(3),
    }
    made = make_foreign(lambda *args: _Sampler("state_dict", state), monkeypatch)
    torch.save(pack(made.state_dict()), tmp_path / "state.pt")
    found = unpack(torch.load(tmp_path / "state.pt", weights_only=True))
    assert found["b"] == state["b"]
    assert found["a"].dtype == np.uint32
    assert found["c"][7].tolist() == [1.0, 1.0]
    assert found["d"] == 3


def make_foreign(factory: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(curricula._FACTORIES, "theirs", factory)
    return make_curriculum("theirs", SPACE, CurriculumConfig(), np.random.default_rng(0))


def test_a_sampler_that_cannot_be_made_or_gives_no_theta_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def exits(*args: Any) -> Any:
        raise SystemExit(0)

    with pytest.raises(UserError, match="sampler 'theirs' failed in its constructor"):
        make_foreign(exits, monkeypatch)
    for result, told in (
        (None, r"sample\(2\)"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        ([[np.nan], [1]], "not finite"),
    ):
        made = make_foreign(lambda *args, result=result: _Sampler("sample", result), monkeypatch)
        with pytest.raises(UserError, match=f"sampler 'theirs' .*{told}"):
            made.sample(2)


@pytest.mark.parametrize("way", ["exit-0", "generator-exit", "unspeakable"])
def test_a_user_s_task_is_guarded(way: str, tmp_path: Path) -> None:
    def fails(observation: Any) -> Any:
        raise WAYS[way]()

    with pytest.raises(UserError, match=r"task here\.py:fails failed") as caught:
        TaskFunction("fails", "here.py:fails", fails)({"observation": np.zeros((2, 3, 2))})
    assert TOLD[way] in str(caught.value)
    (tmp_path / "module.py").write_text(f"from tests.misbehaving import WAYS\nraise WAYS[{way!r}]()\n")
    with pytest.raises(UserError, match=r"module\.py cannot be imported") as caught:
        load_task(f"{tmp_path / 'module.py'}:fails")
    assert TOLD[way] in str(caught.value)


@pytest.mark.parametrize("method", ["write", "sync", "restore", "close"])
def test_a_sink_that_fails_is_left_out_and_ours_goes_on(method: str, tmp_path: Path) -> None:
    ours = JsonlSink(tmp_path / "metrics.jsonl")
    theirs: Any = _Sampler(method, SystemExit(0) if method != "sync" else ConnectionError("no network"))
    sinks = MultiSink({"theirs": theirs, "jsonl": ours})
    row = {"step": 1, "updates": 1}
    call = {"write": (row,), "restore": ({},)}.get(method, ())
    with pytest.warns(Failed, match="sink 'theirs' gets no more metrics"):
        getattr(sinks, method)(*call)
    if method != "close":
        sinks.write(row)
        sinks.sync()
        assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1]) == row
        sinks.close()


def test_a_run_whose_sampler_exits_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(curricula._FACTORIES, "theirs", lambda *args: _Sampler("sample", SystemExit(0)))
    with pytest.raises(UserError, match="sampler 'theirs' failed in sample"):
        dummies.run(tmp_path, dummies.config("theirs"))


@pytest.mark.parametrize("way", ["exit-0", "error", "unspeakable"])
def test_a_user_s_dr_sampler_is_guarded(way: str) -> None:
    def fails(rng: np.random.Generator, n: int) -> Any:
        raise WAYS[way]()

    one = [Parameter("x", "a thing")]
    with pytest.raises(ThetaError, match=r"sampler\(rng, 3\) of the θ space failed") as caught:
        BoxThetaSpace(one, [0.0], [1.0], sampler=fails).sample(np.random.default_rng(0), 3)
    assert TOLD[way] in str(caught.value)


# Where nobody expects foreign code ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["exit-0", "exit-text", "generator-exit", "own", "interrupt"])
def test_nothing_ends_the_command_without_a_word(
    way: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from waker.commands import envs

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
    from waker.commands import envs

    monkeypatch.setattr(envs, "listing", {}.popitem)
    monkeypatch.setattr("waker_envs.registry.foreign_packages", lambda: {"theirs"})
    with pytest.raises(KeyError):
        main(["envs"])


@pytest.mark.parametrize("code", [0, 7])
def test_os_exit_is_told_and_no_success(code: int) -> None:
    program = (
        "import os, sys\n"
        "from waker.startup import watch_exit\n"
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
