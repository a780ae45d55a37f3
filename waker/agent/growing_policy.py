"""Rounds of a policy that learns from its own rollouts in imagination: what ReST and self-rewarding have in common.

A round begins with the policy as it is for a reference, from which candidates are grown; they are made again, bit for
bit, where a run goes on in the middle of a round.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from waker.agent.direct_policy import DirectPolicy, DirectSettings
from waker.agent.grown import Grown, grow, replay_starts
from waker.behaviour.imagination import Trajectory
from waker.behaviour.policy_learner import RewardFunction
from waker.behaviour.starts import Starts
from waker.behaviour.task_rewards import task_rewards
from waker.replay.ring import Replay
from waker.seeding import torch_seed
from waker.settings import Count, NotNegative, Settings


@dataclass(frozen=True)
class GrowingSettings(DirectSettings, Settings, section="method"):
    """What methods with rounds have."""

    rounds: Count = 1
    """Rounds."""
    starts: Count = 64
    """States of the replay that rollouts of a round begin in."""
    candidates: Count = 8
    """Rollouts from each."""
    horizon: Count = 15
    """Steps of a rollout."""
    margin: NotNegative = 0.1
    """Rewards that a rollout must earn beyond the mean of its start's (by a global threshold: beyond the least of all;
    `self`: the best beyond the worst) to teach
    anything; the best states pay about 1."""

    @property
    def per_round(self) -> int:
        """Updates of a round."""
        raise NotImplementedError

    @property
    def total(self) -> int:
        """With the cloning."""
        return self.clone + self.rounds * self.per_round


class GrowingPolicy(DirectPolicy):
    """A policy that is improved round by round; :meth:`teach` says where rollouts begin."""

    settings: GrowingSettings
    _known: tuple[int, Grown] | None = None

    def teach(self, replay: Replay, window: int, rewards: RewardFunction | None = None) -> None:
        """Let rollouts begin in the states of a replay.

        Args:
            window: records of the windows that the model filters.
            rewards: that judge; None = the head's.
        """

        def starts(number: int) -> Starts:
            with torch_seed(self._seed_of(number, 0)):
                return replay_starts(self.model, replay, self.settings.starts, window, self._rng(number, 2))

        self.teach_from(starts, rewards or self._rewards)

    def teach_from(self, starts: Callable[[int], Starts], rewards: RewardFunction) -> None:
        """Let rollouts begin elsewhere, or be judged by something else.

        Args:
            starts: the start states of round ``number``, a function.
            rewards: of a trajectory, (H+1, 1, N·C).
        """
        self._starts, self._judge = starts, rewards

    def _rewards(self, trajectory: Trajectory) -> Tensor:
        assert self.heads is not None
        return task_rewards(self.heads, trajectory)

    def _learn(self, number: int) -> dict[str, Tensor]:
        at, within = divmod(number, self.settings.per_round)
        if not within:
            self._stage()
        grown = self.grown(at)
        return {"proxy": grown.score.mean(), **self._improve(grown, number)}

    @abstractmethod
    def _improve(self, grown: Grown, number: int) -> dict[str, Tensor]:
        """One update from a round's candidates; metrics, 0-dim."""

    @torch.no_grad()
    def grown(self, number: int) -> Grown:
        """The candidates of a round, from the reference."""
        if self._known is None or self._known[0] != number:
            c = self.settings
            with self.precision():
                starts = self._starts(number)
                made = grow(
                    self.model, self.reference, starts, self._judge, c.candidates, c.horizon, self._seed_of(number, 1)
                )
            self._known = number, made
        return self._known[1]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; the round's candidates are grown again."""
        super().load_state_dict(state)
        self._known = None

    def _seed_of(self, number: int, purpose: int) -> int:
        return int(self._rng(number, 3, purpose).integers(2**31))
