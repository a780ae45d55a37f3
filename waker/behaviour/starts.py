"""Where imagination starts: the posterior states of a batch, flattened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from waker.model.rssm import State


class Starts(NamedTuple):
    """N start states without gradient; ``cont`` (N,) is 0 where the state ended its episode; ``theta_id`` (N,).

    ``drawn`` (N,): of which steps b·T + t of the batch they are; None = of all, in order.
    """

    state: State
    cont: Tensor
    theta_id: Tensor
    drawn: Tensor | None = None

    def of_steps(self, x: Tensor) -> Tensor:
        """What (B, T) holds of the steps that these are the states of, (N,). Not for a part of them."""
        return x.flatten() if self.drawn is None else x.flatten().index_select(0, self.drawn)

    def split(self, size: int) -> list[Starts]:
        """Blocks of at most ``size`` start states, in order."""
        tensors = (self.state.stoch, self.state.deter, self.cont, self.theta_id)
        return [Starts(State(s, d), g, t) for s, d, g, t in zip(*(x.split(size) for x in tensors), strict=True)]


def start_states(state: State, batch: Mapping[str, Tensor], n: int) -> Starts:
    """All B·T states in batch-major order (b·T + t), or ``n`` > 0 of them drawn with replacement.

    Args:
        state: posterior of the batch, (B, T, ...).
    """
    stoch, deter = (rearrange(x.detach(), "b t d -> (b t) d") for x in state)
    cont = 1.0 - batch["is_terminal"].flatten().to(deter.dtype)
    theta_id, index = batch["theta_id"].flatten(), None
    if 0 < n < deter.shape[0]:
        index = torch.randint(deter.shape[0], (n,), device=deter.device)
        stoch, deter, cont, theta_id = (x.index_select(0, index) for x in (stoch, deter, cont, theta_id))
    return Starts(State(stoch, deter), cont, theta_id, index)
