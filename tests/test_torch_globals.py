"""What foreign code changes of torch's globals is told in one line with what it was, and put back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from waker.collection.episode import Episode
from waker.collection.make_env import made
from waker.collection.slot import Slot
from waker.collection.spec_of import spec_of
from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.foreign import ForeignCurriculum
from waker.replay.relabel import load_task
from waker.torch_globals import torch_unchanged
from waker_envs.foreign import Told
from waker_envs.testing import HardTheta

SPEC = replace(spec_of(HardTheta()), env_id="mine/Changes-v0")
CHANGES: dict[str, Callable[[], Any]] = {
    "the number of threads from 1 to 2; put back to 1": lambda: torch.set_num_threads(2),
    "the default dtype from torch.float32 to torch.float64; put": lambda: torch.set_default_dtype(torch.float64),
    "the recording of gradients from True to False; put": lambda: torch.set_grad_enabled(False),
    "the choice of deterministic algorithms from False to True": lambda: torch.use_deterministic_algorithms(True),
    "the precision of products from highest to high": lambda: torch.set_float32_matmul_precision("high"),
    "the autocasting on a CPU from False to True; put": lambda: torch.set_autocast_enabled("cpu", True),
    "the detection of anomalies from False to True; put": lambda: torch.autograd.set_detect_anomaly(True),
    "the default device from cpu to meta": lambda: torch.set_default_device("meta"),
    "the global random numbers, by a seed; put back": lambda: torch.manual_seed(5),
    "the global random numbers, by drawing from them": lambda: torch.rand(1),
}


def state() -> list[Any]:
    return [
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.is_autocast_enabled("cpu"),
        torch.is_anomaly_enabled(),
        torch.get_default_device(),
        torch.initial_seed(),
    ]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before, chance = state(), torch.get_rng_state()
    yield
    assert state() == before
    assert not torch._C._len_torch_function_stack()  # no mode is left, as a default device by name would be
    torch.set_rng_state(chance)


def _fails() -> None:
    torch.set_num_threads(3)
    raise ZeroDivisionError


def told(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught if issubclass(w.category, Told)]


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_told_with_what_it_was_and_put_back(what: str) -> None:
    def call() -> None:
        with torch_unchanged("somebody"):
            CHANGES[what]()

    lines = told(call)
    assert len(lines) == 1
    assert lines[0].startswith(f"somebody changed of torch {what}")


def test_it_is_put_back_where_the_code_fails_and_nothing_is_told_of_code_that_changes_nothing() -> None:
    def call() -> None:
        with pytest.raises(ZeroDivisionError), torch_unchanged("somebody"):
            _fails()

    assert len(told(call)) == 1

    def harmless() -> None:
        with torch_unchanged("somebody"):
            torch.zeros(2)

    assert told(harmless) == []


LATER = {
    "the recording of gradients from True to False; put back to True": lambda: torch.set_grad_enabled(False),
    "the global random numbers, by a seed; put back": lambda: torch.manual_seed(5),
}


@pytest.mark.parametrize("what", LATER)
def test_what_later_steps_change_is_told_and_put_back_at_each(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, before, chance = HardTheta.advance, state(), torch.get_rng_state()

    def changing(self: Any, action: Any) -> Any:
        if slot.play.actions[1:]:
            LATER[what]()
        return inner(self, action)

    monkeypatch.setattr(HardTheta, "advance", changing)
    slot = Slot(made(HardTheta, "mine/Changes-v0"), SPEC)
    slot.reset(Episode(np.array([2.0]), 2, 0))
    for told_now in (0, 1, 1):
        lines = told(lambda: slot.step(np.zeros(1, np.float32)))
        assert len(lines) == told_now
        assert all(line.startswith(f"a step of mine/Changes-v0 changed of torch {what}") for line in lines)
        assert state() == before
        assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize("where", ["__init__", "reset", "step"])
def test_environments_are_watched_where_they_are_made_at_resets_and_at_first_steps(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = getattr(HardTheta, where)

    def changing(self: Any, *args: Any, **named: Any) -> Any:
        torch.set_num_threads(2)
        return inner(self, *args, **named)

    monkeypatch.setattr(HardTheta, where, changing)

    def call() -> None:
        slot = Slot(made(HardTheta, "mine/Changes-v0"), SPEC)
        slot.reset(Episode(np.array([2.0]), 2, 0))
        slot.step(np.zeros(1, np.float32))

    call_of = {"__init__": "the constructor", "reset": "a reset", "step": "a step"}[where]
    assert told(call) == [
        f"{call_of} of mine/Changes-v0 changed of torch the number of threads from 1 to 2; put back to 1"
    ]


def test_tasks_and_samplers_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(
        "import torch\ntorch.set_default_dtype(torch.float64)\n"
        "def near(observation):\n    torch.manual_seed(3)\n    return observation['x'][..., 0] * 0.0\n"
    )
    lines = told(lambda: load_task(f"{file}:near")({"x": np.zeros((2, 3, 1))}))
    assert [line.partition(" changed of torch ")[0] for line in lines] == [f"the import of {file}", f"task {file}:near"]

    space = HardTheta().theta_space
    inner = make_curriculum("dr", space, CurriculumConfig(), np.random.default_rng(0), 20)
    sample = inner.sample

    def seeded(n: int) -> Any:
        torch.manual_seed(1)
        return sample(n)

    monkeypatch.setattr(inner, "sample", seeded)
    lines = told(lambda: ForeignCurriculum.made("seeds", space, lambda: inner).sample(1))
    assert lines == [
        "sampler 'seeds', sample, changed of torch the global random numbers, by a seed; put back, as they are the "
        "learner's: it should have a generator of its own"
    ]
