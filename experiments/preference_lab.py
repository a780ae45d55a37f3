"""A run's replay in rooms whose every number is known: what heads, plans and policies are truly worth there.

Used by :mod:`experiments.preferences` and its arms. R rooms, C cells, A actions, n records of each slot.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.exact_model import Rooms, rooms_of
from waker.agent.head_fit import HeadFit, HeadSettings
from waker.behaviour.actor_critic import ActorCriticStack
from waker.model.distributions import log_probabilities
from waker.model.preference_heads import PreferenceHeads
from waker.preferences.queries import Pairs
from waker.preferences.segments import Segments, arrived, candidates
from waker.preferences.table import Answers
from waker.preferences.teachers import Scale, parse_teacher
from waker.run import filtered, observed
from waker.seeding import preserved_torch
from waker.training.loading import LoadedRun
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, TILES

LENGTH = 8
Floats = NDArray[np.float64]


class Laboratory:
    """A run's replay, and the rooms that its cells lie in."""

    def __init__(self, loaded: LoadedRun, task: str) -> None:
        env = loaded.family.make().unwrapped
        assert isinstance(env, GridHazards)
        self.loaded, self.replay, self.task = loaded, loaded.replay(print), env.tasks.index(task)
        self.rooms, self.tile, self.classes = rooms_of(env), TILES[self.task], env.n_classes
        self.frame, self.slip = env.frame, env.theta_space.points[self.rooms.theta, 2]
        self.segments = candidates(self.replay, LENGTH)
        held = self.replay.read(self.replay.first, self.replay.ticks)
        self.records = held
        self._cells = held["agent"][..., 0].astype(int) * env.frame + held["agent"][..., 1]  # (slots, n)
        seen = held["cells"].reshape(-1, env.frame**2)
        kinds, which = np.unique(seen, axis=0, return_inverse=True)
        self._kind, self._kinds = which.reshape(self._cells.shape), kinds
        with torch.no_grad():
            self.feature = observed(loaded.agent, held).feature  # (slots, n, F), posterior modes
        self.true = (self.rooms.kinds == self.tile).astype(np.float64)
        self.best = worth(self.rooms, self.true, self.true)

    @property
    def under(self) -> NDArray[np.int64]:
        """The class of the cell under the agent in each record, (slots, n)."""
        return np.take_along_axis(self.records["cells"], self._cells[..., None], -1)[..., 0].astype(np.int64)

    def of_cells(self, rewards: Floats) -> Floats:
        """Mean rewards (slots, n) of the replay's visits to each cell of each room, (R, C); 0 where there are none."""
        shape = len(self._kinds), self._cells.max() + 1
        index = (self._kind * shape[1] + self._cells).ravel()
        total = np.bincount(index, rewards.ravel(), shape[0] * shape[1])
        count = np.bincount(index, minlength=shape[0] * shape[1])
        mean = (total / np.maximum(count, 1)).reshape(shape)
        found = np.zeros(self.rooms.kinds.shape)
        for room, seen in enumerate(self.rooms.seen):
            at = np.flatnonzero((self._kinds == seen).all(1))
            if len(at):
                found[room, : shape[1]] = mean[at[0]]
        return found

    def share(self, rewards: Floats) -> float:
        """What the best policy for these rewards (slots, n) truly earns, as a share of the optimum."""
        return float(np.mean(worth(self.rooms, self.of_cells(rewards), self.true) / self.best))

    def policy(self, policies: ActorCriticStack) -> Floats:
        """The first policy's actions in every cell of every room where the filter begins there, (R, A, C)."""
        rooms, cells = self.rooms.seen.shape
        where = np.tile(np.arange(cells), rooms)
        given = {
            "cells": self.rooms.seen.repeat(cells, 0),
            "agent": np.stack([where // self.frame, where % self.frame], 1),
        }
        keys = self.loaded.family.spec.observation
        state = filtered(self.loaded.agent, {k.name: given[k.name].astype(k.dtype)[:, None] for k in keys})
        with torch.no_grad():
            feature = policies.see(state.feature.unsqueeze(0))
            chance = log_probabilities(policies.actor(feature), policies.unimix).exp()[0]
        return np.asarray(chance.double().numpy().reshape(rooms, cells, -1).transpose(0, 2, 1))

    def judged(self, policies: ActorCriticStack, rewards: Floats | None = None) -> dict[str, float]:
        """Shares of the optimum that the first policy earns, drawn and by its likeliest actions; rooms without slip
        apart; and what it earns by a head's rewards (slots, n)."""
        drawn = self.policy(policies)
        likeliest = (drawn == drawn.max(1, keepdims=True)).astype(np.float64)
        likeliest /= likeliest.sum(1, keepdims=True)
        sampled, greedy = (earned(self.rooms, p, self.true) / self.best for p in (drawn, likeliest))
        found = {"sampled": sampled.mean(), "greedy": greedy.mean(), "greedy_no_slip": greedy[self.slip == 0].mean()}
        if rewards is not None:
            found["proxy"] = earned(self.rooms, drawn, self.of_cells(rewards)).mean()
        return {name: float(value) for name, value in found.items()}

    def labels(self, pairs: Pairs, teacher: str, seed: int) -> Floats:
        """Simulated answers by the task's rewards."""
        scores = [arrived(self.replay, "task_rewards", segments) for segments in pairs]
        first, second = (reward[..., self.task].astype(np.float64) for reward, _ in scores)
        return parse_teacher(teacher).answers(first, second, (scores[0][1], scores[1][1]), Scale(), seed)

    def head(self, answers: Answers, seed: int, settings: HeadSettings) -> tuple[Floats, HeadFit]:
        """A head fitted to answers: its rewards of all records (slots, n), and its fit."""
        agent, spec = self.loaded.agent, self.loaded.family.spec
        with preserved_torch():
            torch.manual_seed(seed)
            features = agent.model.rssm.features
            heads = PreferenceHeads(settings.members, features, spec.action.dim, self.loaded.config.model)
            fit = HeadFit(
                agent.model, heads, self.replay, answers, settings, max(2, self.loaded.config.train.length), seed
            )
            while not fit.step():
                pass
        return self.predicted(heads), fit

    @torch.no_grad()
    def predicted(self, heads: Any, member: int = 0) -> Floats:
        """A head's rewards of all records, (slots, n); an episode's first earns nothing."""
        action = torch.from_numpy(self.records["action"])
        before = torch.cat([self.feature[:, :1], self.feature[:, :-1]], 1)
        rewards = heads.earned(before, action, self.feature)[member].double().numpy()
        return cast(Floats, rewards)

    def summed_classes(self, segments: Segments) -> Floats:
        """How often the agent stood on each class, (n, V)."""
        cells, inside = arrived(self.replay, "cells", segments)
        agent, _ = arrived(self.replay, "agent", segments)
        at = agent[..., 0].astype(int) * self.frame + agent[..., 1]
        under = np.take_along_axis(cells, at[..., None], -1)[..., 0].astype(int)
        return np.asarray((np.eye(self.classes)[under] * inside[..., None]).sum(1))


def worth(rooms: Rooms, rewards: Floats, true: Floats) -> Floats:
    """What the best policy for rewards of arriving in cells (R, C) earns by the true ones, in each room, (R,)."""
    alive = (rooms.kinds != HAZARD).astype(np.float64)
    value, gain, found = np.zeros_like(true), np.zeros_like(true), np.zeros(len(true))
    for left in range(1, int(rooms.length.max()) + 1):
        q = np.einsum("racd,rd->rac", rooms.move, rewards + alive * value)
        g = np.einsum("racd,rd->rac", rooms.move, true + alive * gain)
        best = q.argmax(1)[:, None]
        value, gain = (np.take_along_axis(x, best, 1)[:, 0] for x in (q, g))
        found = np.where(rooms.length == left, at_start(rooms, gain), found)
    return found


def earned(rooms: Rooms, policy: Floats, rewards: Floats) -> Floats:
    """What a policy (R, A, C) earns by rewards of arriving in cells (R, C), in each room, (R,)."""
    alive = (rooms.kinds != HAZARD).astype(np.float64)
    move = np.einsum("rac,racd->rcd", policy, rooms.move)
    value, found = np.zeros_like(rewards), np.zeros(len(rewards))
    for left in range(1, int(rooms.length.max()) + 1):
        value = np.einsum("rcd,rd->rc", move, rewards + alive * value)
        found = np.where(rooms.length == left, at_start(rooms, value), found)
    return found


def at_start(rooms: Rooms, value: Floats) -> Floats:
    """The mean of values (R, C) over the cells where episodes start, (R,)."""
    return np.asarray((value * rooms.starts).sum(-1) / rooms.starts.sum(-1))
