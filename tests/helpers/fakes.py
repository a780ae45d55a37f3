"""A world small enough to solve by hand, in the shape of a world model.

:class:`Table` is a deterministic Markov decision process: latents are one-hot states, ``deter`` is one idle number.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from waker.behaviour.imagination import Trajectory
from waker.behaviour.starts import Starts
from waker.model.rssm import RSSM, State
from waker.model.world_model import WorldModel


class Table:
    """``next_state`` (S, A) integers; ``cont`` (S,) probabilities that a state does not end the episode."""

    def __init__(self, next_state: Tensor, cont: Tensor | None = None) -> None:
        self.states, self.actions = next_state.shape
        self.onehot = torch.nn.functional.one_hot(next_state, self.states).to(torch.get_default_dtype())
        self.cont = torch.ones(self.states) if cont is None else cont
        self.feature_dim = self.states + 1

    @property
    def rssm(self) -> RSSM:
        return cast(RSSM, self)

    def as_model(self) -> WorldModel:
        return cast(WorldModel, self)

    def imagine(self, state: State, action: Tensor, mode: bool = False) -> State:
        """Differentiable in the action where it is one."""
        return State(torch.einsum("ns,na,sat->nt", state.stoch, action, self.onehot), state.deter)

    def continue_probability(self, feature: Tensor) -> Tensor:
        return feature[..., : self.states] @ self.cont

    def starts(self, states: Tensor) -> Starts:
        """Start states from their indices (N,)."""
        stoch = torch.nn.functional.one_hot(states, self.states).to(self.onehot.dtype)
        return Starts(State(stoch, torch.zeros(len(states), 1)), self.cont[states], states)

    def reward(self, of_state: Tensor, trajectory: Trajectory) -> Tensor:
        """Rewards (H+1, M, N) by the state arrived in; ``of_state`` (S,)."""
        return trajectory.feature[..., : self.states] @ of_state
