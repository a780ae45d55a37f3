"""Named configurations and their synthetic data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments.bench.configs import WALKER_THETAS, WORKLOADS, changed, line_of_thetas, workload
from tests.helpers.tiny_learner import ALL_KINDS, tiny_spec
from waker.agent.agent import Agent
from waker.collection.synthetic import synthetic_records, synthetic_replay
from waker.errors import UserError
from waker.replay.ring import record_fields


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_knows_its_name(name: str) -> None:
    assert workload(name).name == name
    assert workload(name).updates >= 1


def test_an_unknown_workload_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'laptop-grid'"):
        workload("laptop-gird")


def test_the_published_update_is_the_authors_work() -> None:
    config = workload("paper-walker").config
    assert (config.train.batch, config.train.length, config.behaviour.horizon) == (16, 50, 15)
    assert (config.behaviour.starts, config.explorer.heads, config.train.task_policies) == (0, 10, "online")
    assert Agent.credits(config) == 800


@pytest.mark.parametrize("discrete", [True, False])
def test_synthetic_records_are_records(discrete: bool) -> None:
    spec = tiny_spec(kinds=ALL_KINDS, discrete=discrete)
    records = synthetic_records(spec, 250, 5, np.random.default_rng(0))
    fields = record_fields(spec)
    assert set(records) == set(fields)
    for name, (shape, dtype) in fields.items():
        assert records[name].shape == (250, *shape)
        assert records[name].dtype == dtype
    assert np.flatnonzero(records["is_first"]).tolist() == [0, 100, 200]
    assert np.flatnonzero(records["is_terminal"]).tolist() == [199]
    assert (records["cells"] < np.array([5, 2, 3])).all()
    assert set(records["theta_id"]) <= set(range(5))


def test_a_synthetic_replay_is_full() -> None:
    replay = synthetic_replay(tiny_spec(), 2, 100, 3)
    assert len(replay) == 100
    assert replay.windows(50) == 2


def test_a_workload_may_be_changed() -> None:
    chosen = workload("tiny")
    assert changed(chosen).config == chosen.config
    assert changed(chosen, chunk=7).config.behaviour.chunk == 7
    assert changed(chosen, "graphs", "bf16").config.train == replace(
        chosen.config.train, compile="graphs", precision="bf16"
    )


def test_named_thetas_need_no_environment() -> None:
    spec, space = workload("paper-walker").resolved()
    assert space.size == WALKER_THETAS
    assert spec.tasks[0] == "stand"
    assert line_of_thetas(3).index([2.0]) == 2
