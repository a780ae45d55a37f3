"""Level replay over a finite θ space: new θ or replayed ones, by score and staleness (Jiang et al. 2021, 2010.03934).

Made by the factories of ``plr``, ``robust-plr``, ``accel`` and others; a :class:`ComposedCurriculum` whose draws are
sequential: each changes the ages that the next one sees, inside one call of ``sample``, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Ints, Priority, Score, State
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.level_replay.staleness import Staleness
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.state import part, with_prefix
from waker_envs.api import FiniteThetaSpace


@dataclass(frozen=True)
class ReplayLaw:
    """When θ are replayed, and how.

    The published rule draws new levels until a buffer is full. In a finite space every θ is soon seen, and that rule
    would then always replay; so "new" here is a draw from DR over all θ, seen or not, with probability 1 − p (ours).
    Every method then has an exploration floor of the same kind as WAKER's.

    Attributes:
        share: p, the probability of replay.
        fill: no replay until this share of the θ that DR draws have a score.
        schedule: ``fixed``: replay with p; ``proportionate``: with min(filled share, p), dcd's default.
        staleness: ρ: of the replays, the share by age.
        staging: whether episodes of new θ are kept out of training (robust level replay, 2110.02439); not before there
            is something to replay, or the model would never see its first data (ours).
    """

    share: float = 0.5
    fill: float = 0.5
    schedule: Literal["fixed", "proportionate"] = "fixed"
    staleness: float = 0.3
    staging: bool = False


class LevelReplay(ComposedCurriculum):
    """With probability p, (1−ρ)·P_S + ρ·P_C over scored θ, else DR.

    Args:
        law: p, ρ and the rest. For the others see :class:`ComposedCurriculum`.
    """

    def __init__(
        self,
        name: str,
        space: FiniteThetaSpace,
        *,
        tracker: Magnitude,
        score: Score,
        priority: Priority,
        law: ReplayLaw,
        rng: np.random.Generator,
    ) -> None:
        mixture = Mixture(1.0 - law.share, 0.0, space.groups)
        super().__init__(name, space, tracker=tracker, score=score, priority=priority, mixture=mixture, rng=rng)
        self.law = law
        common = space.weights > 0  # what DR draws
        self.stale = Staleness(space.size, space.groups, common)
        self._commonly = int(np.count_nonzero(common))
        self._unmarked = False  # whether any θ may have got a score since the last draw
        self._staged = np.zeros(0, np.bool_)

    @property
    def staged(self) -> NDArray[np.bool_]:
        """See :class:`waker.curriculum.api.Staging`."""
        return self._staged.copy()

    def _changed(self, ids: Ints | None) -> None:
        super()._changed(ids)
        if ids is None:
            self._unmarked = True
        elif len(ids) and not self._unmarked:
            self._mark(ids, np.isfinite(self.score.at(ids)))

    def _mark(self, ids: Ints, seen: NDArray[np.bool_]) -> None:
        """Count who has a score."""
        self.stale.mark(ids, seen)

    def _settle(self) -> None:
        """Look at all scores where any may have changed."""
        if self._draws is not None:
            self._draws.settle(self.score.values)
        if self._unmarked:
            self._mark(np.arange(self.space.size), np.isfinite(self.score.values()))
            self._unmarked = False

    def _drawn(self, n: int) -> Ints:
        """n draws, one after the other."""
        self._settle()
        ids, staged = np.zeros(n, np.int64), np.zeros(n, np.bool_)
        for i in range(n):
            ids[i], staged[i] = self._next()
            self.stale.drawn(int(ids[i]))
        self._staged = staged
        return ids

    def _next(self) -> tuple[int, bool]:
        """The next θ, and whether its episode is staged."""
        share = self.replay_share()
        if self._rng.random() < share:
            return self._replayed(), False
        return self._dr.draw(self._rng), self.law.staging and share > 0

    def _replayed(self) -> int:
        """A draw from (1−ρ)·P_S + ρ·P_C; only where some θ has a score."""
        if self._rng.random() < self.law.staleness:
            return self.stale.draw(self._rng)
        if self._draws is None:
            target = self.priority.distribution(self.score.values())
            return int(self._rng.choice(self.space.size, p=target))
        found = self._draws.draw(self._rng)
        assert found is not None, "there is no replay without a score"
        return found

    def replay_share(self) -> float:
        """The probability that the next θ is replayed."""
        filled = self.stale.counted / self._commonly
        if filled == 0 or filled < self.law.fill:
            return 0.0
        return min(filled, self.law.share) if self.law.schedule == "proportionate" else self.law.share

    def replay_distribution(self) -> Floats | None:
        """P = (1−ρ)·P_S + ρ·P_C, (M,), the "replay support" of a level; None where no θ has a score."""
        self._settle()
        target, stale = self.priority.distribution(self.score.values()), self.stale.distribution()
        if target is None or stale is None:
            return None
        return (1.0 - self.law.staleness) * target + self.law.staleness * stale

    def probabilities(self) -> Floats:
        """The exact distribution of the next θ, shape (M,)."""
        target = self.replay_distribution()
        share = 0.0 if target is None else self.replay_share()
        return self.space.weights.copy() if target is None else (1 - share) * self.space.weights + share * target

    def state_dict(self) -> State:
        """See :class:`ComposedCurriculum`; the ages, too."""
        ages = with_prefix("stale", self.stale.state_dict())
        return super().state_dict() | ages | {"unmarked": self._unmarked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`ComposedCurriculum`."""
        super().load_state_dict(state)
        self.stale.load_state_dict(part("stale", state))
        self._unmarked = bool(state["unmarked"])
