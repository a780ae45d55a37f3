"""Where a policy loses return on GridHazards: in the actor, in the model's dynamics, or in its reward heads.

The family is small enough to ask the world model about every (cell, action) of a layout, to plan in the table it
answers with, and to evaluate any memoryless policy exactly in the true dynamics. Four policies, each with one learned
part more replaced by the truth:

- ``actor without memory``: the learned policy on a fresh filter at every step, so on the true state alone (the room is
  seen whole); what it loses against the actor of an evaluation is its habit of a filter that has seen the episode;
- ``plan in the learned model``: dynamic programming over the learned dynamics, rewards and ends;
- ``plan with the true dynamics``: the same with the true dynamics and ends, only rewards learned;
- ``optimum``: everything true.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from waker.behaviour.actor_critic import ActorCriticStack
from waker.model.heads import ScalarStack
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.hazards_exact import forward
from waker_envs.grids.layouts import HAZARD, N_ACTIONS, TILES, WALL

SAMPLES = 64
Floats = NDArray[np.float64]


class Table(NamedTuple):
    """A tabular decision process over the S cells of a room where an episode can be.

    Attributes:
        move: P(s' and the episode goes on | s, a), (A, S, S); rows sum to less than 1 where it may end.
        reward: expected reward of (s, a) for each task, (K, A, S).
    """

    move: Floats
    reward: Floats


class Room:
    """One episode's room: its free cells, true table, start and length."""

    def __init__(self, env: GridHazards, theta: Floats, seed: int) -> None:
        observation, _ = env.reset(seed=seed, options={"theta": theta})
        self.theta, self.seed, self.frame = theta, seed, env.frame
        self.classes = np.asarray(observation["cells"])
        layout, start, _ = env._episode(theta, seed)
        self.length = 4 * int(theta[0])
        self.cells = np.array([s for s in range(env.frame**2) if layout.kinds[s] not in (WALL, HAZARD)])
        self.start = int(np.flatnonzero(self.cells == start)[0])
        step = np.array(
            [[forward(layout, theta[2], s, np.array([a]))[0] for s in self.cells] for a in range(N_ACTIONS)]
        )
        tiles = np.array([[float(kind == tile) for kind in layout.kinds] for tile in TILES])  # (K, n²)
        self.true = Table(step[:, :, self.cells], np.einsum("asc,kc->kas", step, tiles))

    def observations(self) -> dict[str, torch.Tensor]:
        """What the agent sees in each free cell, with leading S."""
        place = np.stack(np.divmod(self.cells, self.frame), -1).astype(np.uint8)
        cells = np.broadcast_to(self.classes.astype(np.uint8), (len(self.cells), len(self.classes)))
        return {"agent": torch.from_numpy(place), "cells": torch.from_numpy(cells.copy())}


def filtered(model: WorldModel, room: Room) -> State:
    """The posterior mode of a fresh episode in each free cell, (S, ...)."""
    observation = room.observations()
    deter = model.rssm.transition(model.rssm.initial(len(room.cells)), torch.zeros(len(room.cells), N_ACTIONS))
    return State(model.rssm.sample(model.rssm.posterior(deter, model.encoder(observation)), mode=True), deter)


@torch.no_grad()
def learned_table(model: WorldModel, heads: ScalarStack, room: Room) -> Table:
    """Ask the model about every (cell, action); means over :data:`SAMPLES` latent samples."""
    state, n = filtered(model, room), len(room.cells)
    moves, rewards = [], []
    for a in range(N_ACTIONS):
        action = torch.zeros(n * SAMPLES, N_ACTIONS)
        action[:, a] = 1.0
        many = State(state.stoch.repeat_interleave(SAMPLES, 0), state.deter.repeat_interleave(SAMPLES, 0))
        feature = model.rssm.imagine(many, action).feature
        place = model.decoder.predict(model.decoder(feature))["agent"]  # (S·samples, 2, n)
        joint = torch.einsum("xr,xc->xrc", place[:, 0], place[:, 1]).flatten(1)[:, room.cells]
        joint = joint * model.continue_probability(feature).unsqueeze(-1)
        moves.append(joint.unflatten(0, (n, SAMPLES)).mean(1))
        rewards.append(heads.predict(feature.unsqueeze(0)).unflatten(1, (n, SAMPLES)).mean(2))
    return Table(torch.stack(moves).double().numpy(), torch.stack(rewards, 1).double().numpy())


def plan(table: Table, length: int, task: int) -> NDArray[np.int64]:
    """Greedy actions of finite-horizon dynamic programming, (length, S)."""
    value = np.zeros(table.move.shape[1])
    actions = []
    for _ in range(length):
        q = table.reward[task] + table.move @ value  # (A, S)
        actions.append(q.argmax(0))
        value = q.max(0)
    return np.array(actions[::-1])


def value_of(room: Room, policy: NDArray[np.int64], task: int) -> float:
    """Exact expected return, in the true dynamics, of a policy (length, S) from the episode's start."""
    at = np.arange(len(room.cells))
    value = np.zeros(len(room.cells))
    for chosen in policy[::-1]:
        value = room.true.reward[task, chosen, at] + (room.true.move[chosen, at] @ value)
    return float(value[room.start])


@torch.no_grad()
def actor_policy(model: WorldModel, policies: ActorCriticStack, room: Room, task: int) -> NDArray[np.int64]:
    """The actor's greedy action in each free cell, the same at every step, (length, S)."""
    member = torch.full((len(room.cells),), policies.names.index(GridHazards.tasks[task]))
    action = policies.act(filtered(model, room).feature, member, mode=True).argmax(-1).numpy()
    return np.broadcast_to(action, (room.length, len(action)))


def decompose(
    model: WorldModel, policies: ActorCriticStack, heads: ScalarStack, room: Room
) -> list[dict[str, float | str]]:
    """Exact returns of the four policies for each task: rows of task, policy, return."""
    learned = learned_table(model, heads, room)
    mixed = Table(room.true.move, learned.reward)
    rows: list[dict[str, float | str]] = []
    for k, task in enumerate(GridHazards.tasks):
        chosen = {
            "actor without memory": actor_policy(model, policies, room, k),
            "plan in the learned model": plan(learned, room.length, k),
            "plan with the true dynamics": plan(mixed, room.length, k),
            "optimum": plan(room.true, room.length, k),
        }
        rows += [{"task": task, "policy": name, "return": value_of(room, p, k)} for name, p in chosen.items()]
    return rows
