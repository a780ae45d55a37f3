"""``error-oracle`` and ``regret-oracle``: the positive controls, which see the truth that a curriculum has to estimate.

Both are ``waker-m`` with another score: the same priority, temperature and mixture, but of what is measured of the
current model for each θ every ``oracle_interval`` agent steps. If even they do not help, no estimate of the same
quantity will. Measuring takes held-out episodes of every θ, which nobody has in practice; their steps are not agent
steps and teach the model nothing.
"""

from __future__ import annotations

import numpy as np

from waker.curriculum.api import Curriculum, Wanted
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.named.waker import priority_of
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.registry import finite, privileged, register_curriculum
from waker.curriculum.scores.error_estimate import Magnitude, Measured
from waker_envs.api import ThetaSpace

ERRORS = ("one_step_tv", "observation_nll_1")
"""The model's error where no metric is named: exact where the family predicts exactly."""


@register_curriculum("error-oracle")
@privileged
def make_error_oracle(
    space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> Curriculum:
    """θ in proportion to exp(z-score of the model's true held-out error / 1.0), with a share of DR."""
    metrics = (config.oracle_error,) if config.oracle_error else ERRORS
    return _oracle("error-oracle", metrics, space, config, rng, samples_per_update)


@register_curriculum("regret-oracle")
@privileged
def make_regret_oracle(
    space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> Curriculum:
    """θ in proportion to exp(z-score of the true regret of planning in the model / 1.0), with a share of DR."""
    metrics = (f"planned_regret_{config.oracle_regret}",)
    return _oracle("regret-oracle", metrics, space, config, rng, samples_per_update)


def _oracle(
    name: str,
    metrics: tuple[str, ...],
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
) -> Curriculum:
    points = finite(space, name)
    return ComposedCurriculum(
        name,
        points,
        tracker=Magnitude(points.size, resolve_decay(config, points, samples_per_update)),
        score=Measured(points.size, Wanted(metrics, config.oracle_interval, config.oracle_episodes)),
        priority=priority_of(config, 1.0, "zscore", points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )
