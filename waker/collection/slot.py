"""One environment slot: an environment and its episode under way. Imports no torch.

Used by :mod:`waker.collection.slot_group`, in this process or in workers. Every environment of a training run or an
evaluation is reset and stepped here, and here alone.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from waker.collection.checks import checked_observation, checked_rewards
from waker.collection.episode import Episode, Play
from waker.specs import EnvSpec, completion_of
from waker.torch_globals import torch_unchanged
from waker_envs.copies import detached
from waker_envs.foreign import Told, foreign


class Step(NamedTuple):
    """A checked step: observation by key, task rewards (K,), both ends, and ``completion`` (K,), None at a reset.

    ``cut``: truncated here, as the environment had not ended it within :attr:`~waker.specs.EnvSpec.longest` steps.
    ``raw``: a copy of the environment's own observation, where the slot keeps it.
    """

    observation: dict[str, NDArray[Any]]
    rewards: NDArray[np.float32]
    terminated: bool = False
    truncated: bool = False
    completion: NDArray[np.float64] | None = None
    cut: bool = False
    raw: Any = None

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


class Slot:
    """An environment and its episode.

    Args:
        env: the environment.
        spec: what it promises.
        raw: keep the environment's own observations as well.

    Raises:
        EnvironmentFailed: from all methods but the constructor: the environment raised or broke its promises.
    """

    def __init__(self, env: gym.Env[Any, Any], spec: EnvSpec, raw: bool = False) -> None:
        self.env, self.spec, self._raw = env, spec, raw
        self.play = Play(spec)
        self._foreign = foreign(self.play.what, self.play.raised)

    def reset(self, episode: Episode) -> Step:
        """Begin an episode."""
        self.play.begin(episode)
        with torch_unchanged(f"a reset of {self.spec.env_id}"), self._foreign:
            observation, _ = self.env.reset(seed=episode.seed, options={"theta": np.array(episode.theta)})
            raw = detached(observation) if self._raw else None
            return Step(
                checked_observation(self.spec, observation), np.zeros(len(self.spec.tasks), np.float32), raw=raw
            )

    def step(self, action: NDArray[np.float32]) -> Step:
        """Make one step with the agent's vector (A,)."""
        play, spec = self.play, self.spec
        play.actions.append(action.copy())
        with torch_unchanged(f"a step of {spec.env_id}", whole=len(play.actions) == 1), self._foreign:
            observation, _, terminated, truncated, info = self.env.step(spec.action.to_env(action))
            raw = detached(observation) if self._raw else None
            rewards = checked_rewards(spec, info)
            play.returns += rewards
            completion = completion_of(info, spec.task_labels)
            cut = not (terminated or truncated) and len(play.actions) >= spec.longest > 0
            seen = checked_observation(spec, observation)
            return Step(seen, rewards, bool(terminated), bool(truncated) or cut, completion, cut, raw)


def warn_cut(spec: EnvSpec, episode: Episode) -> None:
    """Warn that an episode without an end was cut."""
    warnings.warn(
        f"{spec.env_id} has episodes that do not end: that of seed {episode.seed}, θ = {episode.theta.tolist()} was "
        f"cut after {spec.longest:,} steps, as all such are (longest_episode)",
        Told,
        stacklevel=2,
    )
