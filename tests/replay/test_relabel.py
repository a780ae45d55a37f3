"""Rewards of new tasks laid over a replay, and what is said of functions that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waker.errors import UserError
from waker.replay.relabel import TaskFunction, load_task, relabelled
from waker.replay.ring import Replay, record_fields
from waker.specs import ActionSpec, EnvSpec, ObservationKey

SPEC = EnvSpec("test", (ObservationKey("place", "vector", (1,), "float32"),), ActionSpec(2, True), ("left", "right"))
Observation = Mapping[str, np.ndarray[Any, Any]]


def filled(ticks: int, slots: int = 2, capacity: int = 20) -> Replay:
    """Place = tick + 100·slot; every fifth record begins an episode; task k earns tick·(k + 1)."""
    replay = Replay(record_fields(SPEC), slots, capacity)
    for tick in range(ticks):
        first = tick % 5 == 0
        replay.add(
            {
                "place": np.array([[tick + 100.0 * s] for s in range(slots)], np.float32),
                "action": np.zeros((slots, 2), np.float32),
                "task_rewards": np.tile(np.array([[tick, 2 * tick]], np.float32) * (not first), (slots, 1)),
                "theta_id": np.zeros(slots, np.int32),
                "is_first": np.full(slots, first),
                "is_last": np.zeros(slots, bool),
                "is_terminal": np.zeros(slots, bool),
            }
        )
    return replay


def task(function: Callable[[Observation], Any]) -> TaskFunction:
    return TaskFunction("new", "file.py:new", function)


@pytest.mark.parametrize("ticks", [7, 10, 23])
def test_columns_are_the_tasks_asked_for(ticks: int) -> None:
    replay = filled(ticks)
    got = relabelled(replay, SPEC, ["right", task(lambda o: o["place"][..., 0] + 1)])
    held = np.arange(replay.first, ticks)
    rewards = got.read(got.first, got.ticks)["task_rewards"]  # (slots, held, K)
    assert rewards.shape == (2, len(held), 2)
    later = held % 5 != 0
    for slot in range(2):
        np.testing.assert_array_equal(rewards[slot, :, 0], 2 * held * later)
        np.testing.assert_array_equal(rewards[slot, :, 1], (held + 100 * slot + 1) * later)


def test_all_other_fields_are_kept() -> None:
    replay = filled(13)
    got = relabelled(replay, SPEC, ["left"])
    before, after = replay.read(replay.first, replay.ticks), got.read(got.first, got.ticks)
    for name in set(before) - {"task_rewards"}:
        np.testing.assert_array_equal(before[name], after[name])


def _raises(observation: Observation) -> Any:
    raise KeyError("plaice")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (_raises, "failed: KeyError"),
        (lambda o: o["place"], "must return one reward for each"),
        (lambda o: np.full(o["place"].shape[:2], np.nan), "not finite"),
        (lambda o: "reward", "failed: ValueError"),
    ],
)
def test_a_function_that_does_not_fit(function: Callable[[Observation], Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"task file\.py:new .*{told}"):
        relabelled(filled(8), SPEC, [task(function)])


def test_a_function_that_fails_is_told_by_its_line_and_a_missing_key_by_those_there_are(tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text("def corner(o):\n    x = o['plaice']\n    return x\n")
    with pytest.raises(UserError, match=r"failed in line 2: KeyError: 'plaice'; the observation has place"):
        relabelled(filled(8), SPEC, [load_task(f"{file}:corner")])


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown task 'lefd'; did you mean 'left'"):
        relabelled(filled(8), SPEC, ["lefd"])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("corner", "must have the form file.py:function"),
        ("tasks.py:not a name", "must have the form file.py:function"),
        ("task.py:corner", "no file .* did you mean 'tasks.py'"),
        ("tasks.py:korner", "unknown function of .* 'korner'; did you mean 'corner'"),
        ("tasks.py:NUMBER", "unknown function"),
        ("broken.py:corner", "broken.py cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_source_that_is_not_there(source: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.py").write_text(
        "NUMBER = 3\n\ndef corner(observation):\n    return observation['place'][..., 0]\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=told):
        load_task(source)
    assert load_task("tasks.py:corner").name == "corner"
    (tmp_path / "tasks.py").write_text("def explorer(observation):\n    return 0\n")
    assert load_task("tasks.py:explorer").name == "explorer (task)"


def test_a_function_that_works_in_place_spoils_nobody_elses_observations() -> None:
    """Neither those of the tasks named after it, nor the replay's; and it may use one array for all its results."""
    seen: list[list[float]] = []
    kept = np.zeros((2, 8), np.float32)

    def greedy(observation: dict[str, np.ndarray[Any, Any]]) -> Any:
        place = observation.pop("place")
        seen.append(place[:, :, 0].ravel().tolist())
        place -= 1000.0
        kept[:] = place[..., 0] + 1000.0
        observation["other"] = place
        return kept

    replay = filled(8)
    before = replay.read(0, 8)
    got = relabelled(replay, SPEC, [task(greedy), task(lambda o: o["place"][..., 0]), task(greedy)])
    rewards = got.read(0, 8)["task_rewards"]
    np.testing.assert_array_equal(rewards[..., 0], rewards[..., 1])
    np.testing.assert_array_equal(rewards[..., 2], rewards[..., 1])
    assert rewards[1, 4, 0] == 104.0
    assert seen[0] == seen[1]
    np.testing.assert_array_equal(replay.read(0, 8)["place"], before["place"])


def test_a_function_knows_keys_by_the_names_that_the_environment_gave_them() -> None:
    key = ObservationKey("action (observation)", "vector", (1,), "float32", given="action")
    spec = EnvSpec("test", (key,), ActionSpec(2, True), ("left",))
    replay = Replay(record_fields(spec), 1, 4)
    record = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in record_fields(spec).items()}
    replay.add({**record, key.name: np.full((1, 1), 7.0), "action": np.ones((1, 2))})
    got = relabelled(replay, spec, [task(lambda o: o["action"][..., 0])])
    assert got.read(0, 1)["task_rewards"].tolist() == [[[7.0]]]


def test_the_decorator_stands_with_and_without_parentheses() -> None:
    from waker.replay.task import task as decorated

    def reward(observation: dict[str, np.ndarray]) -> np.ndarray:
        return observation["x"]

    assert decorated(reward) is reward and decorated()(reward) is reward
    assert reward.optimal_return is None  # type: ignore[attr-defined]
