"""A corridor that is known as a table, and a world model that is one: plans must be worth what theory says. Used by the
tests of planned regret."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from waker.model.categorical import CategoricalLayout
from waker.model.distributions import sample_onehot
from waker.model.rssm import RSSM, Posterior, State
from waker_envs.api import FiniteThetaSpace, Parameter, ParametricEnv, Theta, Transition
from waker_envs.tabular import TabularMDP

CELLS, LENGTH = 5, 6
SLIPS = (0.0, 0.5)


def line_moves() -> NDArray[np.float64]:
    """P(next cell | slip, action, cell), (2, 2, 5, 5): left and right, walls stop a move, slip stays."""
    moves = np.zeros((len(SLIPS), 2, CELLS, CELLS))
    for level, slip in enumerate(SLIPS):
        for action, step in enumerate((-1, 1)):
            for cell in range(CELLS):
                moves[level, action, cell, min(max(cell + step, 0), CELLS - 1)] += 1 - slip
                moves[level, action, cell, cell] += slip
    return moves


class Line(ParametricEnv):
    """Two actions move left or right; with probability θ nothing moves. Each end is a task's goal."""

    tasks: tuple[str, ...] = ("right", "left")

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.theta_space = FiniteThetaSpace([Parameter("slip", "chance to stay")], [[s] for s in SLIPS])
        self.observation_space = spaces.Dict(
            agent=spaces.MultiDiscrete([CELLS]), floor=spaces.MultiDiscrete([len(SLIPS)])
        )
        self.action_space = spaces.Discrete(2)

    def begin(self, theta: Theta) -> Any:
        self._level, self._t = SLIPS.index(float(theta[0])), 0
        self._cell = int(self.np_random.integers(CELLS))
        return self._observation()

    def advance(self, action: Any) -> Transition:
        self._cell = int(self.np_random.choice(CELLS, p=line_moves()[self._level, int(action), self._cell]))
        self._t += 1
        rewards = [float(self._cell == CELLS - 1), float(self._cell == 0)]
        return Transition(self._observation(), rewards, truncated=self._t >= LENGTH)

    def _observation(self) -> dict[str, NDArray[np.int64]]:
        return {"agent": np.array([self._cell]), "floor": np.array([self._level])}

    def tabular(self, theta: ArrayLike, seed: int) -> TabularMDP:
        """The corridor, the same for all episodes but for the start."""
        cell = int(self.reset(seed=seed, options={"theta": theta})[0]["agent"][0])
        move = line_moves()[self._level]
        states = {"agent": np.arange(CELLS)[:, None], "floor": np.full((CELLS, 1), self._level)}
        return TabularMDP(states, move, np.stack([move[:, :, -1], move[:, :, 0]]), cell, LENGTH)

    def deterministic(self, theta: ArrayLike) -> bool:
        return float(np.asarray(theta)[0]) == 0.0


class Pit(Line):
    """An episode ends in the first cell."""

    def advance(self, action: Any) -> Transition:
        return dataclasses.replace(super().advance(action), terminated=self._cell == 0)

    def begin(self, theta: Any) -> Any:
        super().begin(theta)
        self._cell = max(self._cell, 1)
        return self._observation()

    def tabular(self, theta: Any, seed: int) -> TabularMDP:
        table = super().tabular(theta, seed)
        alive = np.arange(CELLS) > 0
        return table._replace(move=np.asarray(table.move) * alive * alive[:, None], reward=table.reward * alive)


class LineModel:
    """Has the interface of a world model and believes in a table of its own.

    One latent of :data:`CELLS` classes is the cell; ``deter`` holds the distribution over cells and the slip level.

    Args:
        moves: what it believes, as :func:`line_moves`.
        ends: P(the episode ends | cell), which it believes too.
    """

    def __init__(self, moves: NDArray[np.float64], ends: NDArray[np.float64] | None = None) -> None:
        self.moves = torch.from_numpy(moves).float()
        self.ends = torch.zeros(CELLS) if ends is None else torch.from_numpy(ends).float()
        self.asked = 0

    @property
    def rssm(self) -> RSSM:
        return cast(RSSM, self)

    @property
    def decoder(self) -> LineModel:
        return self

    @property
    def rewards(self) -> LineModel:
        return self

    def transition(self, state: State, action: Tensor) -> Tensor:
        level = state.deter[:, CELLS:]
        return torch.cat([torch.einsum("nl,na,ns,last->nt", level, action, state.stoch, self.moves), level], -1)

    def prior(self, deter: Tensor) -> Tensor:
        return deter[..., :CELLS].clamp_min(1e-20).log().unsqueeze(-2)

    def sample(self, log_probs: Tensor, mode: bool = False) -> Tensor:
        return sample_onehot(log_probs, mode).flatten(-2)

    def observe(self, batch: Mapping[str, Tensor], mode: bool = False) -> Posterior:
        assert mode
        assert batch["is_first"].all()
        self.asked += len(batch["agent"])
        cell = torch.nn.functional.one_hot(batch["agent"][..., 0].long(), CELLS).float()
        level = torch.nn.functional.one_hot(batch["floor"][..., 0].long(), len(SLIPS)).float()
        known = torch.cat([cell, level], -1)
        return Posterior(State(cell, known), cell.clamp_min(1e-20).log().unsqueeze(-2), self.prior(known), cell)

    def continue_probability(self, feature: Tensor) -> Tensor:
        return 1.0 - (feature[..., :CELLS] * self.ends).sum(-1)

    def earned(self, before: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """As reward heads: of ``right`` and ``left``, (2, ...) for features (..., F)."""
        return torch.stack([after[..., CELLS - 1], after[..., 0]])

    def __call__(self, feature: Tensor) -> dict[str, Tensor]:
        """As decoder: logits, as sure as floats can be of the cell, and wrong about the floor."""
        return {"agent": 60.0 * feature[..., :CELLS], "floor": torch.zeros(*feature.shape[:-1], len(SLIPS))}

    def layout(self, name: str) -> CategoricalLayout:
        return CategoricalLayout((CELLS,) if name == "agent" else (len(SLIPS),))
