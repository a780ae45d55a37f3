"""Settings of level replay, and how its curricula are put together from them; shared by all samplers that replay θ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import Floats, Priority, Score
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.level_replay.table import LevelReplay, ReplayLaw
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.priorities.rules import Groups, Rank
from waker.curriculum.registry import finite
from waker.curriculum.scores.credited import Credited, Mode
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.scores.quantities import QuantityName, quantity
from waker.settings import Count, NotNegative, Positive, Settings, Share
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@dataclass(frozen=True)
class LevelReplaySettings(Settings, section="curriculum.plr"):
    """Numbers of level replay."""

    score: QuantityName = "pvl"
    """pvl, l1, td, max-mc, mna (of intrinsic rewards), loss, transition-loss, excess (of the world model), or
    disagreement."""
    credit: Mode = "episode"
    """imagined, imagined-last, episode (as published) or heldout; robust-plr can only have episode."""
    priority: Literal["rank", "proportional"] = "rank"
    """p ∝ rank^(−1/β), or ∝ max(score, 0)^(1/β)."""
    beta: Positive = 0.3
    """β, the temperature."""
    staleness: Share = 0.3
    """ρ, the share of replays by age."""
    replay: Share = 0.5
    """p, the probability of replay; 1 − p is the share of DR."""
    fill: Share = 0.5
    """No replay before this share of the θ has a score."""
    schedule: Literal["fixed", "proportionate"] = "fixed"
    """Replay with p, or with min(share of θ that have a score, p)."""
    alpha: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Weight of the newest score of a θ; 1 overwrites."""
    max_mc_decay: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """max-mc: what is left of a θ's best return at each visit; 1 as published, 0.9 against fossils."""
    capacity: Count = 256
    """Levels in the buffer of a continuous space (published: 4,000, with some thousand times as many episodes)."""
    bandwidth: NotNegative = 0.0
    """Of a continuous space: width of the kernel that smooths scores over neighbours, in ranges of θ; 0 = none."""

    FIXED: ClassVar[frozenset[str]] = frozenset()
    """Settings that a sampler with a score of its own has no use for."""

    def unused(self, finite: bool) -> frozenset[str]:
        """See :class:`waker.curriculum.unused.Sparing`."""
        idle = set(self.FIXED) | ({"capacity", "bandwidth"} if finite else {"alpha"})
        if "score" in idle or self.score != "max-mc":
            idle.add("max_mc_decay")
        if self.credit == "imagined" and "credit" not in idle:
            idle.add("alpha")  # a running average has a rate of its own
        return frozenset(idle)

    def rule(self, groups: Groups) -> Priority:
        """Scores → P_S."""
        return Rank(self.beta, groups) if self.priority == "rank" else Proportional(self.beta, groups)

    def law(self, staging: bool) -> ReplayLaw:
        """When and how θ are replayed."""
        return ReplayLaw(self.replay, self.fill, self.schedule, self.staleness, staging)

    def credited(self, space: FiniteThetaSpace, decay: float | Floats) -> Credited:
        """The score."""
        credited = quantity(self.score, space.size, self.max_mc_decay)
        return Credited(space.size, credited, self.credit, decay=decay, alpha=self.alpha)


def level_replay(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: LevelReplaySettings,
    score: Callable[[FiniteThetaSpace, float | Floats], Score],
    *,
    staging: bool = False,
    kind: Callable[..., LevelReplay] = LevelReplay,
) -> LevelReplay:
    """A curriculum of level replay over a finite space.

    Args:
        score: makes the score for the space and the tracker's γ per credited sample.
        staging: see :class:`ReplayLaw`.
        kind: :class:`LevelReplay`, or what makes a subclass of it. The others: see
            :func:`waker.curriculum.registry.make_curriculum`.

    Raises:
        UserError: the space is continuous.
    """
    points = finite(space, name)
    decay = resolve_decay(config, points, samples_per_update)
    return kind(
        name,
        points,
        tracker=Magnitude(points.size, decay),
        score=score(points, decay),
        priority=settings.rule(points.groups),
        law=settings.law(staging),
        rng=rng,
    )
