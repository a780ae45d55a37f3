"""GridCleanUp's true dynamics and rewards in the place of a learned world model, many rooms at once.

What imagination asks of a world model, with nothing learned (as :mod:`experiments.exact_model` for GridHazards): the
feature is what is seen, one-hot in every cell, so a policy trained here fails by its learner's own fault. Used by
:mod:`experiments.pushes` and by tests.

Shapes: n rooms of P cells, row by row in a frame of side n_f.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from waker.behaviour.imagination import Trajectory
from waker.behaviour.starts import Starts
from waker.model.features import CellLayout
from waker.model.rssm import RSSM, State
from waker.model.world_model import WorldModel
from waker_envs.grids.cleanup import BLUE, GREEN, GridCleanUp
from waker_envs.grids.pushing import N_ACTIONS, STEPS

BLOCKS, KINDS = 3, 4
"""Classes of what lies in a cell, and of the cell itself."""
WALL = 1
"""Class of a cell that is wall."""


class Boards(NamedTuple):
    """n rooms: the agent's cell (n,), what lies in each cell (n, P) and the kind of each cell (n, P), integers."""

    agent: Tensor
    blocks: Tensor
    cells: Tensor


def neighbours(frame: int) -> Tensor:
    """The cell next to each, up, right, down and left, (4, P + 1); P where there is none, and next to P itself."""
    row, column = torch.meshgrid(torch.arange(frame), torch.arange(frame), indexing="ij")
    found = []
    for dr, dc in STEPS:
        r, c = row + dr, column + dc
        there = (r >= 0) & (r < frame) & (c >= 0) & (c < frame)
        found.append(torch.where(there, r * frame + c, frame**2).flatten())
    return F.pad(torch.stack(found), (0, 1), value=frame**2)


class ExactBoards:
    """The true step in the shape of a world model: ``stoch`` holds what is seen, cell by cell, ``deter`` nothing."""

    def __init__(self, env: GridCleanUp) -> None:
        self.env, self.tasks = env, env.tasks
        board = env.observation_board
        assert board is not None
        self.frame = board.rows
        self.layout = CellLayout(board.rows, board.columns, BLOCKS + KINDS + 1, 0)
        self._next = neighbours(self.frame)

    @property
    def rssm(self) -> RSSM:
        """Itself."""
        return cast(RSSM, self)

    def as_model(self) -> WorldModel:
        """Itself, for a type checker."""
        return cast(WorldModel, self)

    def state(self, boards: Boards) -> State:
        """The boards as a latent state, (n, F)."""
        here = F.one_hot(boards.agent, self.layout.size).unsqueeze(-1)
        parts = [F.one_hot(boards.blocks, BLOCKS), F.one_hot(boards.cells, KINDS), here]
        stoch = torch.cat(parts, -1).float().flatten(1)
        return State(stoch, stoch.new_zeros(len(stoch), 0))

    def boards(self, feature: Tensor) -> Boards:
        """The boards of features (..., F)."""
        blocks, cells, here = self.layout.cells(feature).split([BLOCKS, KINDS, 1], -1)
        return Boards(here.squeeze(-1).argmax(-1), blocks.argmax(-1), cells.argmax(-1))

    def where(self, feature: Tensor) -> Tensor:
        """The agent's cell, (...)."""
        return self.boards(feature).agent

    def imagine(self, state: State, action: Tensor, mode: bool = False) -> State:
        """One true step."""
        return self.state(self.moved(self.boards(state.feature), action.argmax(-1)))

    def moved(self, boards: Boards, action: Tensor) -> Boards:
        """The rooms after actions (n,); see :func:`waker_envs.grids.pushing.move`."""
        blocks = F.pad(boards.blocks, (0, 1))
        wall = F.pad(boards.cells == WALL, (0, 1), value=True)
        agent, way = boards.agent, (action - 1) % 4
        ahead, behind = self._next[way, agent], self._next[(way + 2) % 4, agent]
        beyond = self._next[way, ahead]
        in_front, last, drawn = at(blocks, ahead), at(blocks, beyond), at(blocks, behind)
        pushes = action <= N_ACTIONS // 2
        room = torch.where(pushes, (in_front == 0) | (~at(wall, beyond) & (last == 0)), in_front == 0)
        goes = (action > 0) & ~at(wall, ahead) & room
        pushed, pulled = goes & pushes & (in_front > 0), goes & ~pushes & (drawn > 0)
        source, target = torch.where(pulled, behind, ahead), torch.where(pulled, agent, beyond)
        moves = pushed | pulled
        colour = torch.where(moves, at(blocks, source), 0)
        nowhere = torch.full_like(agent, self.layout.size)
        blocks = put(put(blocks, torch.where(moves, source, nowhere), 0), torch.where(moves, target, nowhere), colour)
        return Boards(torch.where(goes, ahead, agent), blocks[:, :-1], boards.cells)

    def continue_probability(self, feature: Tensor) -> Tensor:
        """Ones (...): no episode ends by itself."""
        return torch.ones_like(feature[..., 0])

    def rewards(self, trajectory: Trajectory) -> Tensor:
        """True rewards (T, K, N) of the steps of a trajectory; a start state's is 0."""
        feature = trajectory.feature
        before = feature[:1] if trajectory.origin is None else trajectory.origin
        boards = self.boards(torch.cat([before, feature]))
        distance, inside = self.standing(boards)  # (T + 1, M, N, K)
        earned = self.env.PER_CELL * (distance[:-1] - distance[1:]) + self.env.INSIDE * inside[1:]
        if trajectory.origin is None:
            earned[0] = 0.0
        if earned.shape[1] == 1:
            return earned.squeeze(1).movedim(-1, 1)  # t n k -> t k n
        return earned.diagonal(dim1=1, dim2=3).movedim(-1, 1)  # t n k -> t k n

    def standing(self, boards: Boards) -> tuple[Tensor, Tensor]:
        """For each task Σ|column − goal column| in cells, and the fraction of blocks inside their goal, (..., K)."""
        column = torch.arange(self.layout.size) % self.frame
        far = torch.where(boards.cells == WALL, 0, column).amax(-1, keepdim=True)  # the room's last column
        green, blue = ((boards.blocks == colour).float() for colour in (GREEN, BLUE))
        count = (green + blue).sum(-1)
        to_left, to_right = column.expand_as(boards.blocks).float(), (far - column).abs().float()
        ways = ((to_left, to_right), (to_right, to_left), (to_right, to_right))
        distance = torch.stack([(green * g + blue * b).sum(-1) for g, b in ways], -1)
        inside = torch.stack([(green * (g == 0) + blue * (b == 0)).sum(-1) for g, b in ways], -1)
        some = count.unsqueeze(-1) > 0
        return distance, torch.where(some, inside / count.clamp_min(1.0).unsqueeze(-1), 1.0)

    def episodes(self, n: int, seed: int) -> Boards:
        """The beginnings of n episodes under domain randomisation."""
        rng, seen = np.random.default_rng(seed), []
        for number, theta in enumerate(self.env.theta_space.sample(rng, n)):
            seen.append(self.env.reset(seed=seed * 1_000_000 + number, options={"theta": theta})[0])
        agent = torch.tensor([int(o["agent"][0]) * self.frame + int(o["agent"][1]) for o in seen])
        return Boards(agent, *(torch.from_numpy(np.stack([o[k] for o in seen])) for k in ("blocks", "cells")))

    def wandered(self, n: int, seed: int) -> Boards:
        """n states of episodes of random actions: after 0 … length steps, each from another beginning."""
        torch.manual_seed(seed)
        boards = self.episodes(n, seed)
        last = torch.randint(self.env.length + 1, (n,))
        for step in range(self.env.length):
            after = self.moved(boards, torch.randint(N_ACTIONS, (n,)))
            goes = step < last
            pairs = zip(after, boards, strict=True)
            boards = Boards(*(torch.where(goes.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
        return boards

    def starts(self, pool: Boards, n: int) -> Starts:
        """n start states drawn from a pool."""
        index = torch.randint(len(pool.agent), (n,))
        state = self.state(Boards(*(part[index] for part in pool)))
        return Starts(state, torch.ones(n), torch.zeros(n, dtype=torch.int32))


def at(values: Tensor, index: Tensor) -> Tensor:
    """(n, P) at (n,) → (n,)."""
    return values.gather(1, index.unsqueeze(1)).squeeze(1)


def put(values: Tensor, index: Tensor, value: Tensor | int) -> Tensor:
    """(n, P) with (n,) or one value at (n,)."""
    if isinstance(value, int):
        return values.scatter(1, index.unsqueeze(1), value)
    return values.scatter(1, index.unsqueeze(1), value.unsqueeze(1))
