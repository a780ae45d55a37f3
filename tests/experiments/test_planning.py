"""The decomposition of lost return: every part that is replaced by the truth, and what is left at the end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from experiments.planning import actor_policy, decompose
from waker.agent.agent import Agent
from waker.collection.spec_of import spec_of
from waker.config.presets import tiny
from waker_envs.grids.hazards import GridHazards


def test_what_is_left_at_the_end_is_the_optimum_and_no_policy_beats_it() -> None:
    env, config = GridHazards(sizes=(3, 4)), tiny()
    spec = spec_of(env)
    torch.manual_seed(0)
    agent = Agent(spec, dataclasses.replace(config, train=dataclasses.replace(config.train, task_policies="online")))
    table = env.tabular([4, 0.2, 0.1], 5)
    rows = decompose(agent, spec, table)
    by_task = {task: {r["policy"]: float(r["return"]) for r in rows if r["task"] == task} for task in env.tasks}
    for task, found in by_task.items():
        assert found["optimum"] == pytest.approx(env.optimal_return([4, 0.2, 0.1], task, 5), abs=1e-9)
        assert max(found.values()) == found["optimum"]
        assert len(found) == 4
    actions = actor_policy(agent, spec, table)
    assert actions.shape == (16, 3, len(table.states["agent"]))
    observed = {name: values.astype(np.uint8) for name, values in table.states.items()}
    player, n = agent.task_player(), len(observed["agent"])
    for k, task in enumerate(spec.tasks):  # the player on its first observation
        members = np.full(n, player.names.index(task))
        first, _ = player.act(observed, np.ones(n, bool), player.initial(n), members, True)
        assert (first.argmax(1) == actions[0, k]).all()
