"""``sfl`` and ``sfl-int``: sampling for learnability (Rutherford et al. 2024, arXiv 2408.15099).

At each refresh the K levels of highest learnability p(1−p), p the success rate, replace those of before; a share ρ_s of
episodes is drawn uniformly from them, the rest from DR; no staleness. Published: MiniGrid N 25,000, K 1,000, every 100
updates, ρ_s .5; JaxNav K 100, every 50. (The paper's table is said to differ: ρ_s 1.)

``sfl`` is *not reward-free*: it reads whether an episode solved its task (``solved``, ours). ``sfl-int`` is ours: the
standard deviation of intrinsic returns over independent imagined rollouts from one start state, averaged over a θ's
start states.

Ours: rates are of the episodes collected since the last refresh; of those the unbiased n/(n−1)·p(1−p) by default. A θ
without a finished episode has no score (in the published code its NaN is sorted among the best). Where fewer than K θ
are learnable the set is filled with zeros, mastered or impossible ones: column ``score`` of the table tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import UNCHANGED, Curriculum, Floats, Ints, Score, State
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.evidence import EpisodeEvidence, Evidence, needs
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import TopK
from waker.curriculum.registry import finite, privileged, register_curriculum
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.scores.quantities import given
from waker.curriculum.scores.simplex import learnability
from waker.settings import Count, Settings, Share
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class SflSettings(Settings, section="curriculum.sfl"):
    """Numbers of SFL."""

    best: Count = 10
    """K, the θ that are replayed between two refreshes."""
    replay: Share = 0.5
    """ρ_s, their share; the rest is DR."""
    every: Count = 10_000
    """Agent steps between two refreshes."""
    solved: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """An episode is a success where ``info["completion"]``, which may be a fraction, reaches this; sfl alone."""
    unbiased: bool = True
    """n/(n−1)·p(1−p) of n episodes (0 of a single one); else p(1−p); sfl alone."""


@dataclass(frozen=True)
class SflIntSettings(SflSettings, section="curriculum.sfl-int"):
    """Numbers of sfl-int: those of SFL but for what is of success."""

    def unused(self, finite: bool) -> frozenset[str]:
        """See :class:`waker.curriculum.unused.Sparing`."""
        return frozenset({"solved", "unbiased"})


class Learnability(Score):
    """The scores of the last refresh.

    Args:
        n_theta: M.
        settings: interval and estimate.
        intrinsic: spread of imagined intrinsic returns in place of success.
    """

    def __init__(self, n_theta: int, settings: SflSettings, intrinsic: bool = False) -> None:
        self.settings, self.intrinsic = settings, intrinsic
        self.needs = needs(update=("sampled_returns",)) if intrinsic else needs(episode=("success",))
        self.newest: Floats = np.full(n_theta, np.nan)
        self._sums: Floats = np.zeros((2, n_theta))  # successes or spreads; episodes or start states
        self.next_mark = settings.every

    def learn(self, evidence: Evidence) -> Ints | None:
        """Add an update's spreads of returns."""
        if not self.intrinsic or evidence.sampled_returns is None:
            return UNCHANGED
        spread, ids = given(evidence, "sampled_returns").std(1), evidence.sampled_returns_id
        assert ids is not None, "returns come with the θ they are of"
        keep = (ids >= 0) & np.isfinite(spread)
        np.add.at(self._sums[0], ids[keep], spread[keep])
        np.add.at(self._sums[1], ids[keep], 1.0)
        return self._refresh(evidence.step)

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """Add an episode's success, if it ended."""
        if self.intrinsic:
            return UNCHANGED
        if evidence.success is not None and np.isfinite(evidence.success):
            self._sums[:, evidence.theta_id] += (float(evidence.success >= self.settings.solved), 1.0)
        return self._refresh(evidence.step)

    def _refresh(self, step: int) -> Ints | None:
        if step < self.next_mark:
            return UNCHANGED
        self.next_mark += self.settings.every * ((step - self.next_mark) // self.settings.every + 1)
        total, count = self._sums
        if self.intrinsic:
            self.newest = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
        else:
            self.newest = learnability(total, count, self.settings.unbiased)
        self._sums = np.zeros_like(self._sums)
        return None

    def values(self) -> Floats:
        """Shape (M,)."""
        return self.newest.copy()

    def state_dict(self) -> State:
        """Scores, sums and the next refresh."""
        return {"newest": self.newest.copy(), "sums": self._sums.copy(), "next_mark": self.next_mark}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.newest, self._sums = np.array(state["newest"], np.float64), np.array(state["sums"], np.float64)
        self.next_mark = int(state["next_mark"])


def _make(intrinsic: bool, name: str) -> Any:
    def make(
        space: ThetaSpace,
        config: CurriculumConfig,
        rng: np.random.Generator,
        samples_per_update: int,
        settings: SflSettings,
    ) -> Curriculum:
        points = finite(space, name)
        return ComposedCurriculum(
            name,
            points,
            tracker=Magnitude(points.size, resolve_decay(config, points, samples_per_update)),
            score=Learnability(points.size, settings, intrinsic),
            priority=TopK(settings.best, points.groups),
            mixture=Mixture(1.0 - settings.replay, 0.0, points.groups),
            rng=rng,
        )

    register = register_curriculum(name, SflIntSettings if intrinsic else SflSettings)
    return register(make if intrinsic else privileged(make))


make_sfl = _make(False, "sfl")
make_sfl_int = _make(True, "sfl-int")
