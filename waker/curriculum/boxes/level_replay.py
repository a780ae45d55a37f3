"""Level replay over a continuous space: a buffer of θ that were drawn and scored, and DR for new ones.

Made by the factories of ``plr``, ``robust-plr`` and ``accel`` where the space is no table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, State
from waker.curriculum.boxes.continuous import ContinuousCurriculum
from waker.curriculum.boxes.level_buffer import LevelBuffer
from waker.curriculum.evidence import EpisodeEvidence, Needs, needs
from waker.curriculum.level_replay.edits import moved
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings
from waker.curriculum.level_replay.table import ReplayLaw
from waker.curriculum.scores.credited import check_mode
from waker.curriculum.scores.quantities import Quantity, quantity
from waker.curriculum.state import part, with_prefix
from waker.errors import UserError
from waker_envs.api import BoxThetaSpace, ThetaSpace


class BoxReplay(ContinuousCurriculum):
    """With probability p a level of the buffer, by score and age; else a new θ from DR, or a replayed one's child.

    Args:
        name: the sampler's name, saved with its state.
        space: a box.
        buffer: of levels.
        score: of an episode.
        law: p, fill and staging; its ρ is the buffer's.
        edits: of a child; 0 = no children. Each replayed episode has one.
        rng: the curriculum's own generator.
    """

    def __init__(
        self,
        name: str,
        space: BoxThetaSpace,
        buffer: LevelBuffer,
        score: Quantity,
        law: ReplayLaw,
        edits: int,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(name, space, np.zeros((0, space.dim)), 1.0, rng)
        self.box, self.buffer, self.score, self.law, self.edits = space, buffer, score, law, edits
        self._children: list[list[float]] = []
        self._staged = np.zeros(0, np.bool_)

    @property
    def needs(self) -> Needs:
        """See :class:`waker.curriculum.api.Evident`."""
        return needs(episode=self.score.episode)

    @property
    def staged(self) -> NDArray[np.bool_]:
        """See :class:`waker.curriculum.api.Staging`."""
        return self._staged.copy()

    def _points(self, n: int) -> Floats:
        thetas, self._staged = np.zeros((n, self.box.dim)), np.zeros(n, np.bool_)
        for i in range(n):
            thetas[i], self._staged[i] = self._next()
        return thetas

    def _next(self) -> tuple[Floats, bool]:
        if self._children:
            return np.array(self._children.pop(0)), True
        share = self._replay_share()
        if self._rng.random() < share:
            return self.buffer.draw(self._rng), False
        return self.box.sample(self._rng, 1)[0], self.law.staging and share > 0

    def _replay_share(self) -> float:
        filled = self.buffer.filled
        if self.buffer.size == 0 or filled < self.law.fill:
            return 0.0
        return min(filled, self.law.share) if self.law.schedule == "proportionate" else self.law.share

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        """Insert a level that was staged or is new, or overwrite a replayed one's score; such a one has a child."""
        if evidence.kind == "heldout":
            return
        score, at = self.score.of_episode(evidence), self.buffer.slot(evidence.theta)
        if at < 0 or evidence.kind == "staged":  # a known one that is drawn anew is young again (the duplicate rule)
            self.buffer.insert(evidence.theta, score)
            return
        if np.isfinite(score):
            self.buffer.scores[at] = score
        if self.edits and evidence.kind == "trained":
            self._children.append(moved(self.box, evidence.theta, self.edits, self._rng).tolist())

    def learn(self, evidence: Any) -> None:
        """Scores are of episodes."""

    def state_dict(self) -> State:
        """The buffer and the children that wait, too."""
        own = with_prefix("buffer", self.buffer.state_dict()) | with_prefix("score", self.score.state_dict())
        return super().state_dict() | own | {"children": json.dumps(self._children)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`ContinuousCurriculum`."""
        super().load_state_dict(state)
        self.buffer.load_state_dict(part("buffer", state))
        self.score.load_state_dict(part("score", state))
        self._children = json.loads(state["children"])


def box_replay(
    name: str,
    space: ThetaSpace,
    rng: np.random.Generator,
    settings: LevelReplaySettings,
    *,
    staging: bool = False,
    edits: int = 0,
) -> BoxReplay:
    """Level replay over a box, by settings.

    Raises:
        UserError: no box; crediting of start states; or max-mc, whose best return is kept per θ of a table.
    """
    if not isinstance(space, BoxThetaSpace):
        raise UserError(f"sampler {name!r} needs a finite θ space or a box; for another choose 'dr'")
    check_mode(f"{name} on a continuous space", settings.credit, "episode")
    if settings.score == "max-mc":
        raise UserError(f"sampler {name!r}: score max-mc needs a finite θ space; choose pvl or l1")
    scale = space.high - space.low
    buffer = LevelBuffer(
        space.dim, settings.capacity, settings.rule(None), settings.staleness, settings.bandwidth, scale
    )
    return BoxReplay(name, space, buffer, quantity(settings.score, 0), settings.law(staging), edits, rng)
