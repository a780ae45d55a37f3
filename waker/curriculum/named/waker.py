"""``waker-m`` and ``waker-r``: weighted acquisition of knowledge across environments.

Rigter et al. 2024, arXiv 2306.09205. Both fall back to domain randomisation until some θ has a score. In a space of
several domains scores are normalised inside each, and each domain gets the same total weight. On a box, estimates are
generalised to θ never visited by a kernel (ours).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from waker.curriculum.api import Curriculum, Floats, Priority, Score
from waker.curriculum.boxes.kernel_scores import KernelSettings, kernel_curriculum
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import Boltzmann, Groups, Normalise, Rank, TopK
from waker.curriculum.registry import finite, register_curriculum, takes_boxes
from waker.curriculum.scores.error_estimate import Magnitude, Reduction
from waker_envs.api import FiniteThetaSpace, ThetaSpace


def priority_of(config: CurriculumConfig, temperature: float, normalise: Normalise, groups: Groups) -> Priority:
    """The priority that the settings name; ``temperature`` is the Boltzmann distribution's where they leave it open."""
    if config.priority == "rank":
        return Rank(config.rank_temperature, groups)
    if config.priority == "top-k":
        return TopK(config.top_k, groups)
    return Boltzmann(temperature if config.temperature is None else config.temperature, normalise, groups)


@register_curriculum("waker-m", KernelSettings)
@takes_boxes
def make_waker_m(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: KernelSettings,
) -> Curriculum:
    """θ in proportion to exp(z-score of the error's magnitude / 1.0), with a share of DR."""
    if space.size is None:
        return kernel_curriculum("waker-m", space, config, rng, settings, priority_of(config, 1.0, "zscore", None))
    points = finite(space, "waker-m")
    tracker = Magnitude(points.size, resolve_decay(config, points, samples_per_update))
    return ComposedCurriculum(
        "waker-m",
        points,
        tracker=tracker,
        score=tracker,
        priority=priority_of(config, 1.0, "zscore", points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )


@register_curriculum("waker-r", KernelSettings)
@takes_boxes
def make_waker_r(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: KernelSettings,
) -> Curriculum:
    """θ in proportion to exp(rate of the error's reduction, over its mean absolute value / 0.5), with a share of DR."""

    def reduction(tracker: Magnitude) -> Reduction:
        return Reduction(tracker, config.reduction_interval, config.reduction_start, config.reduction_rate)

    if space.size is None:
        priority = priority_of(config, 0.5, "mean-abs", None)
        return kernel_curriculum("waker-r", space, config, rng, settings, priority, reduction)
    points = finite(space, "waker-r")
    tracker = Magnitude(points.size, resolve_decay(config, points, samples_per_update))
    return ComposedCurriculum(
        "waker-r",
        points,
        tracker=tracker,
        score=reduction(tracker),
        priority=priority_of(config, 0.5, "mean-abs", points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )


def as_waker_m(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    score: Callable[[FiniteThetaSpace, float | Floats], Score],
) -> Curriculum:
    """``waker-m`` over a finite space by another score: priority, temperature, normalisation and DR share are its own.

    Args:
        score: makes it for the space and the tracker's γ per credited sample. The others: see
            :func:`waker.curriculum.registry.make_curriculum`.

    Raises:
        UserError: the space is continuous.
    """
    points = finite(space, name)
    decay = resolve_decay(config, points, samples_per_update)
    return ComposedCurriculum(
        name,
        points,
        tracker=Magnitude(points.size, decay),
        score=score(points, decay),
        priority=priority_of(config, 1.0, "zscore", points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )
