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

from waker.collection.slot import checked_observation, checked_rewards
from waker.evaluation.failures import guarded
from waker.evaluation.plan import Episode
from waker.protocols import EXPLORER, Player
from waker.specs import EnvSpec
from waker.torch_globals import torch_unchanged
from waker_envs.api import ParametricEnv
from waker_envs.copies import detached


@dataclass(frozen=True)
class Trajectory:
    """One episode of L steps.

    Attributes:
        episode: its θ and seed.
        raw: the environment's own observations, copied, L + 1 of them.
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
        return len(self.raw) - 1


def collect(
    player: Player,
    envs: Sequence[ParametricEnv],
    spec: EnvSpec,
    episodes: Sequence[Episode],
    *,
    longest: int,
    tick: Callable[[], None] = lambda: None,
    members: NDArray[np.int64] | None = None,
) -> list[Trajectory]:
    """Play one episode in each environment, all stepped together.

    Args:
        player: acts stochastically (a held-out trajectory should wander as training's do).
        envs: at least as many as ``episodes``.
        longest: steps after which an episode is cut.
        tick: called before every step; may raise to stop here.
        members: of the player, who acts in each episode; None = :func:`member` in all.

    Raises:
        UserError: an environment that raises, or returns what it must not.
    """
    n = len(episodes)
    begun = [_reset(env, spec, episode) for env, episode in zip(envs, episodes, strict=False)]
    raw, split = [[first[0]] for first in begun], [[first[1]] for first in begun]
    actions = [[np.zeros(spec.action.dim, np.float32)] for _ in episodes]
    running, terminated = np.ones(n, bool), np.zeros(n, bool)
    state, first = player.initial(n), np.ones(n, bool)
    members = np.full(n, member(player), np.int64) if members is None else members
    for _ in range(longest):
        if not running.any():
            break
        tick()
        batch = {k.name: np.stack([seen[-1][k.name] for seen in split]) for k in spec.observation}
        chosen, state = player.act(batch, first, state, members, False)
        first = np.zeros(n, bool)
        for i in np.flatnonzero(running).tolist():
            actions[i].append(chosen[i].copy())
            observation, arrays, ended, cut = _step(envs[i], spec, episodes[i], actions[i][1:])
            raw[i].append(observation)
            split[i].append(arrays)
            running[i], terminated[i] = not (ended or cut), ended
    return [
        Trajectory(
            episodes[i],
            tuple(raw[i]),
            {k.name: np.stack([o[k.name] for o in split[i]]) for k in spec.observation},
            np.stack(actions[i]),
            bool(terminated[i]),
        )
        for i in range(n)
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


def _reset(env: ParametricEnv, spec: EnvSpec, episode: Episode) -> tuple[Any, dict[str, NDArray[Any]]]:
    with torch_unchanged(f"a reset of {spec.env_id}"), guarded(spec, episode, ()):
        observation, _ = env.reset(seed=episode.seed, options={"theta": episode.theta.copy()})
        return detached(observation), checked_observation(spec, observation)


def _step(
    env: ParametricEnv, spec: EnvSpec, episode: Episode, actions: Sequence[NDArray[np.float32]]
) -> tuple[Any, dict[str, NDArray[Any]], bool, bool]:
    """One step with the last of ``actions``."""
    watched = torch_unchanged(f"a step of {spec.env_id}", whole=len(actions) == 1)
    with watched, guarded(spec, episode, actions):
        observation, _, terminated, truncated, info = env.step(spec.action.to_env(actions[-1]))
        checked_rewards(spec, info)
        return detached(observation), checked_observation(spec, observation), bool(terminated), bool(truncated)
