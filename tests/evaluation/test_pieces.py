"""An evaluation that is stopped again and again gives the rows of one that nobody stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.families import family_of
from waker.agent.agent import Agent
from waker.collection.spec_of import spec_of
from waker.config.presets import tiny
from waker.evaluation import pieces as module
from waker.evaluation.pieces import Pieces, subject_of
from waker.evaluation.records import Measurement, measure
from waker.evaluation.setup import Setup
from waker.terminal.signals import Paused
from waker_envs.api import ParametricEnv, Transition
from waker_envs.grids.hazards import GridHazards
from waker_envs.testing import HardTheta


def agent_of(make: type[ParametricEnv]) -> Agent:
    torch.manual_seed(0)
    return Agent(spec_of(make()), tiny())


def evaluation(agent: Agent, make: Callable[..., ParametricEnv], pieces: Pieces) -> Measurement:
    config = tiny().evaluation
    return measure(Setup(family_of(make), config), agent.model, agent.task_player(), pieces=pieces)


def stopped_again_and_again(
    agent: Agent, make: Callable[..., ParametricEnv], folder: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> tuple[Measurement, list[str]]:
    """The evaluation over many lives, each with some more ticks than the one before; what they told."""
    notes: list[str] = []
    for life in range(200):
        left = [first + 5 * life]

        def requested(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        monkeypatch.setattr(module, "stop_requested", requested)
        try:
            return evaluation(agent, make, Pieces(folder, "this one", notes.append)), notes
        except Paused:
            torch.rand(3)  # what others draw in between
    raise AssertionError("it never ends")


def assert_same(one: Measurement, other: Measurement) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(one.evaluation), pd.DataFrame(other.evaluation), check_exact=True)
    pd.testing.assert_frame_equal(pd.DataFrame(one.model_error), pd.DataFrame(other.model_error), check_exact=True)
    assert all(np.array_equal(one.film[key], other.film[key]) for key in one.film)


# GridHazards has a suite with environments of its own.
@pytest.mark.parametrize(("make", "first"), [(HardTheta, 0), (HardTheta, 3), (GridHazards, 2)])
def test_rows_do_not_depend_on_when_it_was_stopped(
    make: type[ParametricEnv], first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_of(make)
    whole = evaluation(agent, make, Pieces())
    parts, notes = stopped_again_and_again(agent, make, tmp_path / "kept", monkeypatch, first)
    assert_same(whole, parts)
    assert len(notes) > 3
    assert {"learned policies", "random policies"} <= {
        note.partition("goes on with ")[2].partition(",")[0] for note in notes
    }


def test_finished_episodes_are_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, begun = agent_of(HardTheta), list[int]()

    class Counted(HardTheta):
        def reset(self, **options: Any) -> Any:
            begun.append(int(options["seed"]))
            return super().reset(**options)

    evaluation(agent, Counted, Pieces())
    whole = len(begun)
    begun.clear()
    left = [whole]  # ticks: all policies' episodes are over, and held-out ones under way
    monkeypatch.setattr(module, "stop_requested", lambda: left.append(left.pop() - 1) or left[0] < 0)
    with pytest.raises(Paused):
        evaluation(agent, Counted, Pieces(tmp_path / "kept", "this one"))
    monkeypatch.setattr(module, "stop_requested", lambda: False)
    before = len(begun)
    evaluation(agent, Counted, Pieces(tmp_path / "kept", "this one"))
    assert 0 < len(begun) - before < whole
    assert len(begun) < 1.6 * whole


def test_what_was_kept_of_another_agent_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of(HardTheta)
    monkeypatch.setattr(module, "stop_requested", lambda: True)
    with pytest.raises(Paused):
        evaluation(agent, HardTheta, Pieces(tmp_path / "kept", "that one"))
    monkeypatch.setattr(module, "stop_requested", lambda: False)
    notes: list[str] = []
    assert_same(
        evaluation(agent, HardTheta, Pieces(tmp_path / "kept", "this one", notes.append)),
        evaluation(agent, HardTheta, Pieces()),
    )
    assert notes == []


def test_damage_is_told_and_everything_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of(HardTheta)
    monkeypatch.setattr(module, "stop_requested", lambda: True)
    with pytest.raises(Paused):
        evaluation(agent, HardTheta, Pieces(tmp_path / "kept", "this one"))
    monkeypatch.setattr(module, "stop_requested", lambda: False)
    file = next((tmp_path / "kept").rglob("state.pt"))
    file.write_bytes(file.read_bytes()[:-9])
    notes: list[str] = []
    found = evaluation(agent, HardTheta, Pieces(tmp_path / "kept", "this one", notes.append))
    assert_same(found, evaluation(agent, HardTheta, Pieces()))
    assert len(notes) == 1 and notes[0].startswith("the evaluation begins anew: ")


class Wanders(HardTheta):
    """Not fixed by seed and θ: every environment drifts by a number of its own."""

    made = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        Wanders.made += 1
        self.drift = 1e-3 * Wanders.made

    def advance(self, action: Any) -> Transition:
        self._x += self.drift
        return super().advance(action)


def test_an_environment_that_does_not_repeat_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_of(HardTheta)
    left = [5]
    monkeypatch.setattr(module, "stop_requested", lambda: left.append(left.pop() - 1) or left[0] < 0)
    with pytest.raises(Paused):
        evaluation(agent, Wanders, Pieces(tmp_path / "kept", "this one"))
    monkeypatch.setattr(module, "stop_requested", lambda: False)
    with pytest.warns(RuntimeWarning, match="did not repeat its episode .*; the evaluation begins anew"):
        found = evaluation(agent, Wanders, Pieces(tmp_path / "kept", "this one"))
    assert len(found.evaluation) == len(evaluation(agent, HardTheta, Pieces()).evaluation)


def test_it_is_kept_and_told_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    notes: list[str] = []
    agent = agent_of(HardTheta)
    evaluation(agent, HardTheta, Pieces(tmp_path / "kept", "this one", notes.append))
    assert any(note.startswith("evaluating learned policies: 0 of ") for note in notes)
    assert next((tmp_path / "kept").rglob("state.pt")).stat().st_size > 0


def test_a_subject_is_all_that_rows_depend_on() -> None:
    weights = {"net": {"weight": torch.arange(4.0)}, "count": 3}
    other = {"net": {"weight": torch.arange(4.0) + 1e-7}, "count": 3}
    assert subject_of(weights, ("a",)) == subject_of({"net": {"weight": torch.arange(4.0)}, "count": 3}, ("a",))
    assert len({subject_of(weights, ("a",)), subject_of(other, ("a",)), subject_of(weights, ("b",))}) == 3


def test_who_is_stopped_within_a_first_pass_is_told_that_nothing_of_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(module, "stop_requested", lambda: notes == [] and at["stop"])
    at: dict[str, Any] = {"stop": False, "pass": 0}
    piece = Pieces(tmp_path / "kept", "this one", notes.append).piece("held-out trajectories")
    piece.tick(lambda: at, lambda: str(at["pass"]), passes=True)
    at["stop"] = True
    with pytest.raises(Paused):
        piece.tick(lambda: at, lambda: str(at["pass"]), passes=True)
    assert notes[0].startswith("held-out trajectories: stopped before a first pass was done, after 0 s; the next")
    notes.clear()
    at["pass"] = 64
    with pytest.raises(Paused):
        piece.tick(lambda: at, lambda: str(at["pass"]), passes=True)
    assert notes == []
