"""Plug-ins, third-party samplers, users' tasks and sinks that fail: one line, and the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tests.helpers.misbehaving  # noqa: F401 — registers its environments
from tests.helpers import dummies
from tests.helpers.misbehaving import TOLD, WAYS
from waker.config.schema import CurriculumConfig
from waker.curriculum import EpisodeEvidence, Evidence, Thetas, make_curriculum
from waker.curriculum import registry as curricula
from waker.errors import UserError
from waker.loggers.registry import MultiSink
from waker.replay.relabel import TaskFunction, load_task
from waker.storage.checkpoint import pack, unpack
from waker.storage.metrics_file import JsonlSink
from waker_envs import registry
from waker_envs.api import BoxThetaSpace, Parameter, ThetaError
from waker_envs.foreign import Failed, Told
from waker_envs.testing import HardTheta

SPACE = HardTheta().theta_space


pytestmark = pytest.mark.usefixtures("signals_are_ours")


@pytest.mark.parametrize("way", ["exit-0", "exit-none", "generator-exit", "interrupt", "unspeakable"])
def test_a_plug_in_that_fails_in_its_import_is_left_out(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"plug_in_{way.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(f"from tests.helpers.misbehaving import WAYS\nraise WAYS[{way!r}]()\n")
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

        return (self.result if self.where == name else None) if name in ("wanted", "needs") else call


CALLS: dict[str, tuple[Any, ...]] = {
    "sample": (2,),
    "observe": (np.zeros(1, np.int64), np.zeros(1), 5),
    "episode_done": (np.zeros(1), 0, {}),
    "learn": (Evidence(step=5, theta_id=np.zeros(1, np.int64)),),
    "learn_episode": (EpisodeEvidence(step=5, theta=np.zeros(1), theta_id=0, steps=1),),
    "probabilities": (),
    "estimates": (),
    "table": (),
    "state_dict": (),
    "load_state_dict": ({},),
    "measured": (np.zeros(5), 40),
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
        ("wanted", "one_step_tv", "gave in wanted 'one_step_tv' where it must give a waker.curriculum.Wanted"),
        ("needs", ("loss",), "gave in needs .* where it must give a waker.curriculum.Needs"),
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
    monkeypatch.setitem(curricula.CURRICULA.registered, "theirs", factory)
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
        (Thetas(np.array([2, 1]), np.array([[2.0], [3.0]])), r"ids .*2.*1.* where it must give .*\[2, 3\]"),
        (Thetas(np.array([2]), np.array([[2.0], [3.0]])), "ids"),
    ):
        made = make_foreign(lambda *args, result=result: _Sampler("sample", result), monkeypatch)
        with pytest.raises(UserError, match=f"sampler 'theirs' .*{told}"):
            made.sample(2)


@pytest.mark.parametrize("given", [[[2.0], [9.0]], Thetas(np.array([2, -1]), np.array([[2.0], [9.0]]))])
def test_a_sampler_may_leave_out_ids(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = make_foreign(lambda *args: _Sampler("sample", given), monkeypatch).sample(2)
    assert found.ids.tolist() == [2, -1]
    assert found.points.tolist() == [[2.0], [9.0]]


@pytest.mark.parametrize("way", ["exit-0", "generator-exit", "unspeakable"])
def test_a_user_s_task_is_guarded(way: str, tmp_path: Path) -> None:
    def fails(observation: Any) -> Any:
        raise WAYS[way]()

    with pytest.raises(UserError, match=r"task here\.py:fails failed") as caught:
        TaskFunction("fails", "here.py:fails", fails)({"observation": np.zeros((2, 3, 2))})
    assert TOLD[way] in str(caught.value)
    (tmp_path / "module.py").write_text(f"from tests.helpers.misbehaving import WAYS\nraise WAYS[{way!r}]()\n")
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
    monkeypatch.setitem(curricula.CURRICULA.registered, "theirs", lambda *args: _Sampler("sample", SystemExit(0)))
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
