"""Held-out trajectories for measuring the world model: whole episodes with everything that is needed to replay them.

Called by :mod:`waker.evaluation.model_error` and :mod:`waker.evaluation.filmstrip`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.collection.episode import Episode
from waker.collection.slot_group import SlotGroup
from waker.protocols import EXPLORER, Player


@dataclass(frozen=True)
class Trajectory:
    """One episode of L steps.

    Attributes:
        episode: its θ and seed.
        raw: the environment's own observations, L + 1 of them (None where the slots do not keep them).
        observations: the same by key, each (L + 1, ...).
        actions: (L + 1, A); row t led into observation t, row 0 is zero.
        terminated: whether the episode truly ended (nothing can happen after it).
    """

    episode: Episode
    raw: tuple[Any, ...]
    observations: dict[str, NDArray[Any]]
    actions: NDArray[np.float32]
    terminated: bool

    @property
    def length(self) -> int:
        """L."""
        return len(self.actions) - 1


def collect(
    player: Player,
    slots: SlotGroup,
    episodes: Sequence[Episode],
    *,
    tick: Callable[[], None] = lambda: None,
    members: NDArray[np.int64] | None = None,
) -> list[Trajectory]:
    """Play one episode in each slot, all stepped together.

    Args:
        player: acts stochastically (a held-out trajectory should wander as training's do).
        slots: at least as many as ``episodes``; their spec says after how many steps an episode is cut.
        tick: called before every step; may raise to stop here.
        members: of the player, who acts in each episode; None = :func:`member` in all.

    Raises:
        EnvironmentFailed: an environment that raises, or returns what it must not.
    """
    n = len(episodes)
    steps = [[step] for step in slots.advance(dict(enumerate(episodes)), {}).values()]
    actions = [[np.zeros(slots.plays[0].spec.action.dim, np.float32)] for _ in episodes]
    state, first = player.initial(n), np.ones(n, bool)
    members = np.full(n, member(player), np.int64) if members is None else members
    while running := [i for i in range(n) if not steps[i][-1].ended]:
        tick()
        batch = {key: np.stack([played[-1].observation[key] for played in steps]) for key in steps[0][0].observation}
        chosen, state = player.act(batch, first, state, members, False)
        first = np.zeros(n, bool)
        for i, step in slots.advance({}, {i: chosen[i] for i in running}).items():
            actions[i].append(chosen[i].copy())
            steps[i].append(step)
    return [
        Trajectory(
            episode,
            tuple(step.raw for step in played),
            {key: np.stack([step.observation[key] for step in played]) for key in played[0].observation},
            np.stack(acted),
            played[-1].terminated,
        )
        for episode, played, acted in zip(episodes, steps, actions, strict=True)
    ]


def member(player: Player) -> int:
    """Who acts in held-out trajectories: the explorer if the stack has one, else its first policy."""
    return player.names.index(EXPLORER) if EXPLORER in player.names else 0


def as_batch(trajectories: Sequence[Trajectory], device: torch.device) -> dict[str, Tensor]:
    """Trajectories as a batch (B, T) for ``WorldModel.observe``; past its end an episode repeats its last record."""
    longest = max(t.length for t in trajectories) + 1
    steps = [np.minimum(np.arange(longest), t.length) for t in trajectories]
    batch = {
        name: torch.from_numpy(np.stack([t.observations[name][at] for t, at in zip(trajectories, steps, strict=True)]))
        for name in trajectories[0].observations
    }
    batch["action"] = torch.from_numpy(np.stack([t.actions[at] for t, at in zip(trajectories, steps, strict=True)]))
    batch["is_first"] = torch.zeros(len(trajectories), longest, dtype=torch.bool)
    batch["is_first"][:, 0] = True
    return {name: value.to(device) for name, value in batch.items()}
