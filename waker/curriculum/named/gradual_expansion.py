"""``gradual-expansion`` (GE): mostly the θ already visited, now and then a new one (a baseline of arXiv 2306.09205)."""

from __future__ import annotations

import numpy as np

from waker.curriculum.api import Curriculum
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import Restrict
from waker.curriculum.registry import finite, register_curriculum
from waker.curriculum.scores.error_estimate import Magnitude, Visits
from waker_envs.api import ThetaSpace


@register_curriculum("gradual-expansion")
def make_gradual_expansion(
    space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> Curriculum:
    """With probability 1 − ``dr_share`` DR restricted to θ sampled before (or seen in an episode), else DR."""
    points = finite(space, "gradual-expansion")
    return ComposedCurriculum(
        "gradual-expansion",
        points,
        tracker=Magnitude(points.size, resolve_decay(config, points, samples_per_update)),
        score=Visits(points.size),
        priority=Restrict(points.weights, points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )
