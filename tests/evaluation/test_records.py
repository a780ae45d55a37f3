"""One evaluation of one agent: rows with the run's columns, merged into its folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from waker.agent import Agent
from waker.evaluation.records import Measurement, describe_space, measure, save
from waker.presets import tiny
from waker.spaces import spec_of
from waker.tables import read_rows
from waker_envs.api import BoxThetaSpace, Parameter
from waker_envs.testing import HardTheta, NoisyTheta

IDENTITY = {"run": "r", "step": 160, "updates": 10, "domain": "d", "sampler": "dr", "explorer": "e", "seed": 0}


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    env, config = HardTheta(), tiny()
    spec = spec_of(env)
    torch.manual_seed(0)
    agent = Agent(spec, config)
    return measure(agent.model, agent.task_player(), HardTheta, spec, env.theta_space, config.evaluation, IDENTITY)


def test_learned_and_random_policies_and_all_theta_are_measured(measurement: Measurement) -> None:
    config = tiny().evaluation
    assert len(measurement.evaluation) == 2 * 2 * (config.episodes + config.suite_episodes)
    assert {(r["policy"], r["task"]) for r in measurement.evaluation} == {
        (p, t) for p in ("learned", "random") for t in ("right", "left")
    }
    assert {r["theta_id"] for r in measurement.model_error} == set(range(5))
    for row in measurement.evaluation + measurement.model_error:
        assert {k: row[k] for k in IDENTITY} == IDENTITY


def test_without_policies_only_the_model_is_measured() -> None:
    env, config = HardTheta(), tiny()
    spec = spec_of(env)
    agent = Agent(spec, config)
    found = measure(agent.model, None, HardTheta, spec, env.theta_space, config.evaluation, IDENTITY)
    assert found.evaluation == []
    assert found.model_error


def test_saving_again_replaces_the_step_and_keeps_others(measurement: Measurement, tmp_path: Path) -> None:
    earlier = [{**row, "step": 80} for row in measurement.evaluation]
    save(tmp_path, dataclasses.replace(measurement, evaluation=earlier))
    save(tmp_path, measurement)
    changed = [{**row, "return": 7.0} for row in measurement.evaluation]
    save(tmp_path, dataclasses.replace(measurement, evaluation=changed))
    rows = read_rows(tmp_path / "evaluation.parquet")
    assert rows.groupby("step").size().to_dict() == {80: len(changed), 160: len(changed)}
    assert (rows.loc[rows["step"] == 160, "return"] == 7.0).all()
    assert len(read_rows(tmp_path / "model_error.parquet")) == len(measurement.model_error)


def test_film_and_space_are_saved_without_pickles(measurement: Measurement, tmp_path: Path) -> None:
    save(tmp_path, measurement)
    with np.load(tmp_path / "filmstrip.npz", allow_pickle=False) as archive:
        assert (archive["real"] == measurement.film["real"]).all()
    space = json.loads((tmp_path / "theta_space.json").read_text())
    assert space["names"] == ["complexity"]
    assert space["hard_ids"] == [3, 4]
    assert space["hardest"] == 4
    assert space["points"] == [[0.0], [1.0], [2.0], [3.0], [4.0]]


def test_sets_are_described_by_ids() -> None:
    assert describe_space(NoisyTheta().theta_space, ("t",))["sets"] == {"noisy": [2]}


def test_a_continuous_space_has_neither_points_nor_hard_ids() -> None:
    space = BoxThetaSpace([Parameter("x", "a thing", "m")], [0.0], [1.0], hard=[[0.9]])
    described = describe_space(space, ("t",))
    assert described["hard_ids"] == []
    assert "points" not in described
    assert described["units"] == ["m"]
