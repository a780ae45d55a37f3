"""``accel``: robust level replay with edited children of replayed levels (Parker-Holder et al. 2022, 2203.01302).

After each batch of replayed episodes, with probability q, parents are chosen among them, each child is its parent
after a few edits, is collected without training, scored, and joins what may be replayed.

Published: 5 edits in mazes (dcd, jaxued), 3 for bipedal walkers, 20 in minimax; q 1, p .8 (mazes) or .9; parents are
the whole batch (jaxued, minimax) or "easy" (see :func:`~waker.curriculum.level_replay.edits.parents` for what that
was in fact). Starting from the simplest levels, as in the maze results, has no counterpart here.

Ours: an edit is a step of a random walk on a finite space's neighbours (one step, for spaces of a few parameters), or
U(−σ, σ) on one coordinate of a box; a child that has a score already is visited again (the duplicate rule); regret is
the score.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from waker.curriculum.api import Curriculum, Ints, State
from waker.curriculum.boxes.level_replay import box_replay
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.level_replay.edits import Parents, parents, walked
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings, level_replay
from waker.curriculum.level_replay.table import LevelReplay
from waker.curriculum.registry import register_curriculum, takes_boxes
from waker.curriculum.scores.credited import check_mode
from waker.settings import Count, Share
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class AccelSettings(LevelReplaySettings, section="curriculum.accel"):
    """Numbers of ACCEL; those of level replay with p = 0.8."""

    replay: Share = 0.8
    edits: Count = 1
    """Edits that make a child of its parent."""
    edit_probability: Share = 1.0
    """q: probability that a batch of replayed episodes has children."""
    batch: Count = 1
    """Replayed episodes after which children are made."""
    parents: Parents = "batch"
    """batch: each once; lowest-regret, highest-regret: four of the batch share its children."""

    def unused(self, finite: bool) -> frozenset[str]:
        """On a box each replayed level has one child."""
        return super().unused(finite) | (frozenset() if finite else {"edit_probability", "batch", "parents"})


class Accel(LevelReplay):
    """:class:`LevelReplay` with children of replayed θ, which come next and are staged.

    Args:
        settings: edits and parents. For the others see :class:`LevelReplay`.
    """

    def __init__(self, *args: Any, settings: AccelSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self._batch: list[int] = []  # replayed θ since children were last made
        self._children: list[int] = []
        self._awaited: Ints = np.zeros(self.space.size, np.int64)  # replayed episodes that have not ended

    @property
    def _comes_next(self) -> bool:
        """Whether a child comes next: not while nothing is replayed, when all is trained on."""
        return bool(self._children) and self.replay_share() > 0

    def _next(self) -> tuple[int, bool]:
        return (self._children.pop(0), True) if self._comes_next else super()._next()

    def _replayed(self) -> int:
        theta_id = super()._replayed()
        self._awaited[theta_id] += 1
        return theta_id

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        """Take the score; a replayed θ may become a parent, and no other: DR's are trained on, too, at first."""
        super().learn_episode(evidence)
        if evidence.kind != "trained" or evidence.theta_id < 0 or not self._awaited[evidence.theta_id]:
            return
        self._awaited[evidence.theta_id] -= 1
        if np.isnan(self.score.at(np.array([evidence.theta_id]))[0]):
            return  # a θ without a score is nobody's parent
        self._batch.append(evidence.theta_id)
        if len(self._batch) < self.settings.batch:
            return
        batch, self._batch = np.array(self._batch), []
        if self._rng.random() < self.settings.edit_probability:
            chosen = batch[parents(self.score.at(batch), self.settings.parents)]
            self._children += [walked(self.space, int(i), self.settings.edits, self._rng) for i in chosen]

    def probabilities(self) -> Any:
        """Exact, shape (M,): the next child for certain, where there is one."""
        if not self._comes_next:
            return super().probabilities()
        return np.eye(1, self.space.size, self._children[0])[0]

    def state_dict(self) -> State:
        """See :class:`LevelReplay`; parents and children that wait, too."""
        own = {"waiting": json.dumps([self._batch, self._children]), "awaited": self._awaited.copy()}
        return super().state_dict() | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`LevelReplay`."""
        super().load_state_dict(state)
        self._batch, self._children = json.loads(state["waiting"])
        self._awaited = np.array(state["awaited"], np.int64)


@register_curriculum("accel", AccelSettings)
@takes_boxes
def make_accel(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: AccelSettings,
) -> Curriculum:
    """Robust level replay with edited children.

    Raises:
        UserError: ``credit`` is not ``episode``.
    """
    check_mode("accel", settings.credit, "episode")
    if space.size is None:
        return box_replay("accel", space, rng, settings, staging=True, edits=settings.edits)
    return level_replay(
        "accel",
        space,
        config,
        rng,
        samples_per_update,
        settings,
        settings.credited,
        staging=True,
        kind=functools.partial(Accel, settings=settings),
    )
