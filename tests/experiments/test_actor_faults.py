"""Where actors choose worse: the exact values by walking, visits by hand, and parts that sum to what a choice loses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.actor_faults import PARTS, Truth, losses, truth_of, visits
from experiments.exact_model import Rooms, rooms_of
from waker.agent.task_adapter import TaskAdapter
from waker.collection.spec_of import spec_of
from waker.config.presets import laptop
from waker.model.world_model import WorldModel
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, TILES

DISCOUNT = 0.9


@pytest.fixture(scope="module")
def env() -> GridHazards:
    return GridHazards(sizes=(3, 4), densities=(0.0, 0.2), slips=(0.0, 0.1))


@pytest.fixture(scope="module")
def rooms(env: GridHazards) -> Rooms:
    return rooms_of(env)


@pytest.fixture(scope="module")
def truth(rooms: Rooms) -> Truth:
    return truth_of(rooms, DISCOUNT)


def test_rooms_that_slip_are_left_out(rooms: Rooms, truth: Truth) -> None:
    slippery = {r for r in range(len(rooms.theta)) if (rooms.move[r].max(-1) < 1.0).any()}
    assert slippery and not slippery & set(truth.room)
    assert len(truth.room) == sum(rooms.starts[r].sum() for r in range(len(rooms.theta)) if r not in slippery)


def test_values_are_what_a_walk_by_the_best_actions_earns(rooms: Rooms, truth: Truth) -> None:
    """From the other side: 300 steps of the true dynamics after each first action, by the best action of each cell."""
    at = {(r, c): d for d, (r, c) in enumerate(zip(truth.room, truth.cell, strict=True))}
    rng = np.random.default_rng(0)
    for task in range(len(TILES)):
        for d in rng.choice(len(truth.room), 12, replace=False):
            for action in range(truth.q.shape[2]):
                room, cell, earned, weight, move = truth.room[d], truth.cell[d], 0.0, 1.0, action
                for _ in range(300):
                    cell = rooms.move[room, move, cell].argmax()
                    earned += weight * (rooms.kinds[room, cell] == TILES[task])
                    weight *= DISCOUNT
                    if rooms.kinds[room, cell] == HAZARD or (room, cell) not in at:
                        break
                    move = truth.q[task, at[room, cell]].argmax()
                else:
                    assert earned == pytest.approx(truth.q[task, d, action], abs=1e-9)
                    continue
                tile = rooms.kinds[room, cell] != HAZARD  # a task's tile is no start: the walk stops there
                assert earned <= truth.q[task, d, action] + 1e-9
                assert tile or earned == pytest.approx(truth.q[task, d, action], abs=1e-9)


def test_parts_sum_to_what_a_choice_loses(env: GridHazards, rooms: Rooms, truth: Truth) -> None:
    """The sum itself is checked where it is made; a policy that was never trained loses, and no choice gains."""
    spec, config = spec_of(env), laptop()
    config = replace(config, adapt=replace(config.adapt, discount=DISCOUNT))
    torch.manual_seed(0)
    model = WorldModel(spec, config.model)
    adapter = TaskAdapter(model, spec, config, spec.tasks)
    with torch.no_grad():
        for p in adapter.policies.slow.parameters():
            p.normal_(std=0.3)  # a new critic says 0 everywhere
    found = losses(model, adapter, rooms, truth)
    assert found.shape == (len(PARTS), len(spec.tasks), len(truth.room))
    assert found.sum(0).min() > -1e-4
    assert found.sum(0).mean() > 0.1
    assert adapter.ends is not None
    with torch.no_grad():  # the head that policies learned from is what counts, not the model's own
        list(adapter.ends.head.parameters())[-1].fill_(-30.0)
    assert not np.allclose(losses(model, adapter, rooms, truth)[1], found[1])


def test_visits_are_counted_in_their_room_and_on_their_tile(rooms: Rooms) -> None:
    frame = round(rooms.kinds.shape[1] ** 0.5)
    room, other = 0, len(rooms.theta) - 1
    tile = int(np.flatnonzero(rooms.kinds[room] == TILES[1])[0])
    elsewhere = int(np.flatnonzero(rooms.kinds[room] == TILES[0])[0])
    cells = np.stack([rooms.seen[room]] * 3 + [rooms.seen[other]])[None]
    agent = np.array([divmod(c, frame) for c in (tile, tile, elsewhere, tile)])[None]
    assert visits({"cells": cells, "agent": agent}, rooms, room, TILES[1]) == 2
