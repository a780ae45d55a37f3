"""What compiling is said to cost and save, and what ``auto`` makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tests.helpers.tiny import RUN, refused
from tests.helpers.tiny_learner import tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.agent.task_adapter import HEADS, POLICIES
from waker.cli import main
from waker.collection.family import Family
from waker.config.presets import preset
from waker.config.schema import CompileSetting, Config
from waker.machine.compile_cache import CompileCache, graph_key
from waker.training import compile_choice
from waker.training.compile_choice import COLD_S, ELSEWHERE, GAIN, adapt_calls, decide, forecast, run_calls


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and a program that stands for a compiler."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "of-torch"))  # put back what is set meanwhile
    monkeypatch.setenv("CXX", "true")
    return tmp_path / "cache" / "waker"


def asking(choice: CompileSetting, **train: int) -> Config:
    config = tiny_config(after=True)
    return replace(config, train=replace(config.train, compile=choice, **train))


def test_how_often_the_parts_are_called() -> None:
    config = preset("laptop")  # prefill 1,000, an update every 21.5 of 40,000 steps; 150 of 1,600 for heads alone
    assert run_calls(config) == {"update": 1814, HEADS: 1600, POLICIES: 1450}
    config = replace(config, train=replace(config.train, adapt_repeats=3))
    assert adapt_calls(config, 200) == {HEADS: 200, POLICIES: 150}
    assert adapt_calls(config, 100) == {HEADS: 100, POLICIES: 0}
    online = replace(config, train=replace(config.train, task_policies="online"))
    assert run_calls(online).keys() == {"update"}


def test_a_forecast_from_records() -> None:
    known = {
        "update": {"operations": 3000.0, "off": 50.0, "compile": 30.0, "cold": 170.0, "warm": 12.0},
        HEADS: {"operations": 600.0, "off": 10.0, "compile": 8.0, "cold": 40.0, "warm": 3.0},
    }
    found = forecast(known, {"update": 500, HEADS: 1000, POLICIES: 0})
    assert found.known
    assert (found.start, found.eager, found.saved) == pytest.approx((15.0, 35.0, 12.0))
    assert not found.pays and found.share == pytest.approx(1.25)
    assert str(found).startswith("loading compiled updates takes 15 s of processor time, saves 12 of 35 s (")
    assert str(found).endswith("pays from 1,875 updates on; these are 1,500")
    longer = forecast(known, {"update": 1000, HEADS: 1000})
    assert longer.pays


def test_a_guess_stands_in_for_what_is_not_recorded() -> None:
    found = forecast({"update": {"operations": 1000.0, "off": 50.0}}, {"update": 100}, guess=True)
    assert found.start == pytest.approx(1000 * COLD_S)
    assert found.saved == pytest.approx(5.0 * (1.0 - 1.0 / GAIN))
    loaded = forecast({"update": {"off": 50.0, "cold": 60.0, "compile": 30.0}}, {"update": 100}, guess=True)
    assert (loaded.start, loaded.saved) == pytest.approx((10.0, 2.0))
    # Of eager updates there is no guess, and so of nothing.
    known = {"update": {"operations": 1000.0, "off": 50.0}}
    assert not forecast(known, {"update": 10, HEADS: 10}, guess=True).known
    assert forecast(known, {"update": 10, HEADS: 0}, guess=True).known


def test_what_does_not_gain_never_pays() -> None:
    slower = forecast({"update": {"off": 5.0, "compile": 6.0, "warm": 1.0}}, {"update": 10**6})
    assert not slower.pays and str(slower).endswith("and saves nothing (update 6.0 instead of 5.0 ms)")


ELSEWHERE_TOLD = f" is unknown here ({ELSEWHERE})"
EAGER = "without it updates take 5 s (update 50.0 ms)"
SAVING = "saves 2 of 5 s (update 30.0 instead of 50.0 ms)"
TOLD: list[tuple[dict[str, float], str]] = [
    ({}, f"what compiling takes and saves{ELSEWHERE_TOLD}"),
    ({"operations": 1000.0, "off": 50.0}, f"what compiling takes and saves{ELSEWHERE_TOLD}; {EAGER}"),
    ({"off": 50.0, "compile": 30.0}, f"what compiling takes{ELSEWHERE_TOLD}, it {SAVING}"),
    ({"cold": 170.0}, "what loading compiled updates takes and saves is unknown here"),
    (
        {"cold": 170.0, "off": 50.0, "compile": 30.0},
        f"what loading compiled updates takes is unknown here, it {SAVING}",
    ),
    (
        {"warm": 9.0, "compile": 30.0},
        "loading compiled updates takes 9 s of processor time, what it saves is unknown here",
    ),
    (
        {"warm": 9.0, "off": 50.0},
        f"loading compiled updates takes 9 s of processor time, what it saves is unknown here; {EAGER}",
    ),
]


@pytest.mark.parametrize(("known", "told"), TOLD)
def test_no_guess_is_told(known: dict[str, float], told: str) -> None:
    found = forecast({"update": known}, {"update": 100})
    assert str(found) == told
    assert not found.known and not found.pays


@pytest.mark.parametrize(("updates", "choice"), [(100, "off"), (100_000_000, "compile")])
def test_auto_times_eager_updates_and_decides(updates: int, choice: str) -> None:
    spec, config = tiny_spec(), asking("auto")
    state = torch.get_rng_state()
    notes: list[str] = []
    found = decide(config, spec, {"update": updates, HEADS: 1, POLICIES: 1}, notes.append)
    assert notes == ["train.compile auto: timing a few eager updates first"]
    assert found.config.train.compile == choice
    assert found.costs is not None and found.costs.choice == choice
    assert found.record is not None and found.record.keys() == {"asked", "guessed"}
    assert found.record["guessed"].keys() == {"start_s", "saves_s"}
    assert found.told.startswith("what compiling takes and saves is unknown here") and "pays from" not in found.told
    assert found.told.endswith(f"auto: {'on' if choice == 'compile' else 'off'}, by a guess")
    known = CompileCache().costs(graph_key(spec, config))
    assert known.keys() == {"update", HEADS, POLICIES}
    assert all(figures.keys() == {"operations", "off"} for figures in known.values())
    assert torch.equal(torch.get_rng_state(), state)
    decide(config, spec, {"update": updates}, pytest.fail)  # what has been timed is not timed again


@pytest.mark.parametrize(("long", "calls"), [(0.0, 1), (1e9, compile_choice._PROBED + 1)])
def test_long_updates_are_timed_once(long: float, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_choice, "_LONG_S", long)
    made: list[object] = []

    def update(self: Agent, batch: object, mode: bool) -> None:
        made.append(batch)

    monkeypatch.setattr(Agent, "_update", update)
    decide(asking("auto"), tiny_spec(), {"update": 10}, lambda text: None)
    assert len(made) == calls


def test_auto_says_that_it_knows_where_it_does() -> None:
    spec, config = tiny_spec(), asking("auto")
    cache, key = CompileCache(), graph_key(spec, config)
    cache.record(key, "update", {"off": 50.0, "compile": 30.0, "warm": 12.0})
    found = decide(config, spec, {"update": 2000}, pytest.fail)
    assert found.record == {"asked": "auto", "start_s": 12.0, "saves_s": pytest.approx(40.0)}
    assert found.told.endswith(": pays from 600 updates on; these are 2,000; train.compile auto: on")


def test_auto_compiles_a_short_run_that_finds_everything_in_the_cache() -> None:
    spec, config = tiny_spec(), asking("auto")
    cache, key = CompileCache(), graph_key(spec, config)
    cache.record(key, "update", {"operations": 3000, "off": 50.0, "compile": 30.0, "cold": 170.0})
    assert decide(config, spec, {"update": 2000}, pytest.fail).config.train.compile == "compile"
    assert decide(config, spec, {"update": 200}, pytest.fail).config.train.compile == "off"


@pytest.mark.parametrize("before", ["off", "compile"])
def test_auto_stays_with_what_a_run_was_begun_with(before: CompileSetting) -> None:
    found = decide(asking("auto"), tiny_spec(), {"update": 10**9}, pytest.fail, before)
    assert found.config.train.compile == before
    assert found.told.endswith(f"auto: {'on' if before == 'compile' else 'off'}, as it was begun")


def test_compile_is_told_too_and_off_is_left_alone(place: Path) -> None:
    found = decide(asking("off"), tiny_spec(), {"update": 10}, pytest.fail)
    assert (found.costs, found.told) == (None, "") and not place.exists()
    found = decide(asking("compile"), tiny_spec(), {"update": 10}, pytest.fail)
    assert found.config.train.compile == "compile" and found.told == f"what compiling takes and saves{ELSEWHERE_TOLD}"
    assert CompileCache().costs(graph_key(tiny_spec(), asking("compile"))) == {}  # nor was anything timed for that


def test_without_a_compiler_auto_is_off_with_one_note_and_compile_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = decide(asking("auto"), tiny_spec(), {"update": 10**9}, pytest.fail)
    assert (found.config.train.compile, found.costs) == ("off", None)
    assert "no C++ compiler" in found.told
    argv = ["train", "--preset", "tiny", "--train.compile", "compile", "--runs", str(tmp_path / "runs")]
    assert "needs a C++ compiler" in refused(argv, capsys)
    assert not (tmp_path / "runs").exists()


def test_what_is_recorded_as_cuda_graphs_is_refused_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--preset", "tiny", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    told = refused([*argv, "--train.compile", "reduce-overhead"], capsys)
    assert "'reduce-overhead' is for CUDA; on a CPU choose 'compile'" in told
    assert not (tmp_path / "runs").exists()


def test_a_run_keeps_what_was_decided_and_goes_on_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--preset", "tiny", "--task-policies", "after", "--runs", str(tmp_path)]
    assert main([*argv, "--train.compile", "auto"]) == 0
    record = yaml.safe_load((tmp_path / RUN / "config.yaml").read_text())
    assert record["config"]["train"]["compile"] == "off"
    assert record["compiling"]["asked"] == "auto"
    capsys.readouterr()
    # By now compiling would be free, and the run stays as it was begun.
    config = replace(preset("tiny"), train=replace(preset("tiny").train, task_policies="after"))
    key = graph_key(Family.of(config).spec, config)
    assert CompileCache().costs(key).keys() == {"update", HEADS, POLICIES}
    for part in ("update", HEADS, POLICIES):
        CompileCache().record(key, part, {"cold": 0.0, "warm": 0.0, "compile": 0.0})
    assert main([*argv, "--train.compile", "auto"]) == 0
    assert "finished before" in capsys.readouterr().err
    assert main(argv) == 0  # and "off" is what it is
    capsys.readouterr()
    assert "belongs to other settings" in refused([*argv, "--train.compile", "compile"], capsys)
