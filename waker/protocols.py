"""What the runtime knows of an agent: the protocols that :mod:`waker.agent.agent` fulfils and tests imitate.

The collector calls a :class:`Player`, the training loop a :class:`Learner`; neither imports an algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from waker.names import EXPLORER

__all__ = ["EXPLORER", "Credit", "Learner", "Player", "PlayerState"]

PlayerState = dict[str, Tensor]
"""What a player remembers of each slot's episode: tensors with leading n."""


class Player(Protocol):
    """One or more named policies that act in n slots at once."""

    @property
    def names(self) -> tuple[str, ...]:
        """The policies, tasks or ``"explorer"``; ``member`` of :meth:`act` indexes them."""

    def initial(self, n: int) -> PlayerState:
        """The state of n slots before their first observation. Draws nothing."""

    def act(
        self,
        observation: Mapping[str, NDArray[Any]],
        is_first: NDArray[np.bool_],
        state: PlayerState,
        member: NDArray[np.int64],
        deterministic: bool,
    ) -> tuple[NDArray[np.float32], PlayerState]:
        """Actions (n, A) of policy ``member[i]`` in slot i, and the next state.

        Args:
            observation: arrays by key with leading n.
            is_first: (n,), slots at an episode's first observation.
            member: (n,), index into :attr:`names`.
            deterministic: take modes.
        """


class Credit(Protocol):
    """One update's errors: for each of N states its θ (−1: none) and the disagreement credited to it."""

    @property
    def theta_id(self) -> Tensor:
        """(N,) integers."""

    @property
    def error(self) -> Tensor:
        """(N,) floats."""


class Learner(Protocol):
    """Learns from batches name → (B, T, …) and hands out players that follow its newest weights."""

    def update(self, batch: dict[str, Tensor]) -> tuple[Credit, dict[str, Tensor]]:
        """One update of everything; metrics are 0-dim tensors that stay on the device."""

    def adapt_update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One update of the task policies alone, in imagination."""

    def forget_adaptation(self) -> None:
        """Give up the task policies that were trained alone: there is more to explore first."""

    def explorer(self) -> Player:
        """The exploration policy."""

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, counters: nested dicts of tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`'s value."""
