"""The environment and the training loop under the stopwatch."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from experiments.bench.configs import changed, workload
from experiments.bench.loop import ENVIRONMENTS, LEARNER, measure_environment, measure_loop
from waker.collection.worker_pool import SlotProcesses
from waker.errors import UserError


def test_the_loops_time_is_shared_out() -> None:
    chosen = workload("tiny")
    found = measure_loop(chosen, updates=3)
    assert found["updates"] == 3
    # A slot's reset is a tick without a step, so steps come to the clock's pace within one tick.
    assert found["steps"] == pytest.approx(3 * chosen.config.train.train_every, abs=chosen.config.train.envs)
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert found["shares"][LEARNER] > found["shares"]["sampling a batch"] > 0
    assert found["shares"][ENVIRONMENTS] > 0
    assert found["steps_per_second"] > 0


def test_waiting_for_environment_processes_is_the_environments_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that each tick waits for, for longer than anything else takes: the environments' share grows."""
    advance = SlotProcesses.advance

    def waits(self: SlotProcesses, *given: Any) -> Any:
        time.sleep(0.1)
        return advance(self, *given)

    monkeypatch.setattr(SlotProcesses, "advance", waits)
    found = [measure_loop(changed(workload("tiny"), env_processes=n), updates=3)["shares"] for n in (0, 2)]
    assert found[1][ENVIRONMENTS] > found[0][ENVIRONMENTS]
    assert sum(found[1].values()) == pytest.approx(1.0)


def test_an_environments_steps_are_counted_with_its_resets() -> None:
    found = measure_environment(workload("tiny"), seconds=0.2)
    assert found["episodes"] >= 1
    assert found["steps"] > found["episodes"]
    assert found["steps_per_second"] >= 0.5 * found["steps"] / 0.2 * 0.1


def test_an_environment_that_cannot_be_made_is_told() -> None:
    chosen = workload("tiny")
    broken = replace(chosen, config=replace(chosen.config, env_kwargs={"nonsense": 1}))
    with pytest.raises(UserError, match="nonsense"):
        measure_environment(broken)
