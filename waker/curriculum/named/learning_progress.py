"""``learning-progress``: θ whose model loss is falling, by a fast and a slow average (or changing either way).

Ours, after Kanitscheider et al. 2021 (arXiv 2106.14876), who follow success rates (``bidirectional-lp``): at each visit
of θ with loss L, f ← f + a·(L − f) and s ← s + b·(L − s), both from the first L; progress is max(s − f, 0), or |s − f|
(``both``, which also sees forgetting); p ∝ progress^(1/β) among θ with a loss, uniform over them where none progresses,
with a share of DR. Relation: waker-r is this on disagreement, with differences over intervals and a Boltzmann priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import Curriculum, Floats, Ints, State
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.registry import finite, register_curriculum
from waker.curriculum.scores.credited import Mode, check_mode
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.scores.filled import Filled
from waker.curriculum.scores.quantities import PerStepName, Quantity, per_step
from waker.settings import Positive, Settings, Share
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@dataclass(frozen=True)
class LearningProgressSettings(Settings, section="curriculum.learning-progress"):
    """Numbers of learning-progress."""

    of: PerStepName = "loss"
    """What is followed: the model's loss, its KL, what of that is not known dice, or the ensemble's disagreement."""
    credit: Mode = "imagined-last"
    """What a visit is: an update with steps of θ (imagined-last), an episode, or a round of held-out episodes."""
    direction: Literal["improving", "both"] = "improving"
    """max(slow − fast, 0), or |slow − fast|."""
    fast: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """Weight of the newest loss in the fast average."""
    slow: Annotated[float, Interval(gt=0, le=1)] = 0.01
    """Weight of the newest loss in the slow average."""
    beta: Positive = 1.0
    """p ∝ progress^(1/β)."""
    fill: Share = 0.5
    """With credit heldout: DR alone before this share of the θ that it draws have been measured."""

    def unused(self, finite: bool) -> frozenset[str]:
        """See :class:`waker.curriculum.unused.Sparing`."""
        return frozenset() if self.credit == "heldout" else frozenset({"fill"})


class Progress(Filled):
    """Fast minus slow averages of a quantity.

    Args:
        space: whose θ are scored.
        quantity: what is followed.
        settings: rates, direction and what a visit is.
    """

    def __init__(self, space: FiniteThetaSpace, quantity: Quantity, settings: LearningProgressSettings) -> None:
        super().__init__(space, quantity, settings.credit, fill=settings.fill)
        self.settings, n_theta = settings, space.size
        self.fast: Floats = np.full(n_theta, np.nan)
        self.slow: Floats = np.full(n_theta, np.nan)

    def take(self, ids: Ints, values: Floats) -> Ints:
        """One visit of each of these θ (n,), with losses (n,)."""
        for average, rate in ((self.fast, self.settings.fast), (self.slow, self.settings.slow)):
            old = np.where(np.isnan(average[ids]), values, average[ids])
            average[ids] = old + rate * (values - old)
        progress = self.slow[ids] - self.fast[ids]
        self.score[ids] = abs(progress) if self.settings.direction == "both" else np.maximum(progress, 0.0)
        return ids

    def state_dict(self) -> State:
        """Both averages, too."""
        return super().state_dict() | {"fast": self.fast.copy(), "slow": self.slow.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        super().load_state_dict(state)
        self.fast, self.slow = np.array(state["fast"], np.float64), np.array(state["slow"], np.float64)


@register_curriculum("learning-progress", LearningProgressSettings)
def make_learning_progress(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: LearningProgressSettings,
) -> Curriculum:
    """θ in proportion to the progress of the model there, with a share of DR."""
    check_mode("learning-progress", settings.credit, "imagined-last", "episode", "heldout")
    points = finite(space, "learning-progress")
    return ComposedCurriculum(
        "learning-progress",
        points,
        tracker=Magnitude(points.size, resolve_decay(config, points, samples_per_update)),
        score=Progress(points, per_step(settings.of), settings),
        priority=Proportional(settings.beta, points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )
