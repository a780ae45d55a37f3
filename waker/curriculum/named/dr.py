"""``dr``: domain randomisation, the baseline to beat. Finite and continuous θ spaces."""

from __future__ import annotations

import numpy as np

from waker.curriculum.api import Curriculum
from waker.curriculum.boxes.continuous import ContinuousCurriculum
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import Fixed
from waker.curriculum.registry import register_curriculum, takes_boxes
from waker.curriculum.scores.error_estimate import Magnitude
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@register_curriculum("dr")
@takes_boxes
def make_dr(
    space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> Curriculum:
    """Every θ from the DR distribution; the error is tracked all the same (``config.dr_share`` is not used)."""
    if not isinstance(space, FiniteThetaSpace):
        return ContinuousCurriculum("dr", space, np.zeros((0, space.dim)), dr_share=1.0, rng=rng)
    tracker = Magnitude(space.size, resolve_decay(config, space, samples_per_update))
    priority = Fixed(space.weights)
    return ComposedCurriculum(
        "dr", space, tracker=tracker, score=tracker, priority=priority, mixture=Mixture(dr=1.0), rng=rng
    )
