"""``hardest-oracle`` (HE) and ``reweighting-oracle`` (RW): an expert's knowledge of what is hard.

The knowledge is the θ space's (``hardest``, ``hard``); both also work on a continuous space.
Baselines of arXiv 2306.09205.
"""

from __future__ import annotations

import numpy as np

from waker.curriculum.api import Curriculum, Floats
from waker.curriculum.boxes.continuous import ContinuousCurriculum
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import Fixed, each_domain_alike
from waker.curriculum.registry import privileged, register_curriculum, takes_boxes
from waker.curriculum.scores.error_estimate import Magnitude
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@register_curriculum("hardest-oracle")
@takes_boxes
@privileged
def make_hardest_oracle(
    space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> Curriculum:
    """Always the hardest θ (``config.dr_share`` is not used).

    Raises:
        UserError: the space names none.
    """
    if space.hardest is None:
        raise UserError("sampler 'hardest-oracle' needs a θ space that names its hardest θ; choose 'dr' for this one")
    return _expert("hardest-oracle", space, space.hardest[None], Mixture(dr=0.0), config, rng, samples_per_update)


@register_curriculum("reweighting-oracle")
@takes_boxes
@privileged
def make_reweighting_oracle(
    space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> Curriculum:
    """With probability 1 − ``dr_share`` uniform over the set of hard θ (each domain with the same share), else DR.

    Raises:
        UserError: the space names no hard θ.
    """
    if not len(space.hard):
        raise UserError("sampler 'reweighting-oracle' needs a θ space that names its hard θ; choose 'dr' for this one")
    mixture = Mixture(config.dr_share, config.staleness, space.groups)
    return _expert("reweighting-oracle", space, space.hard, mixture, config, rng, samples_per_update)


def _expert(
    name: str,
    space: ThetaSpace,
    points: Floats,
    mixture: Mixture,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
) -> Curriculum:
    """A sampler uniform over ``points`` (n, D) of each domain, of which a repeated one counts once."""
    points = np.unique(points, axis=0)
    if not isinstance(space, FiniteThetaSpace):
        return ContinuousCurriculum(name, space, points, mixture.dr, rng)
    weights = np.zeros(space.size)
    weights[[space.index(theta) for theta in points]] = 1.0
    weights = np.asarray(each_domain_alike(weights, space.groups))  # never None: there are points
    tracker = Magnitude(space.size, resolve_decay(config, space, samples_per_update))
    return ComposedCurriculum(
        name, space, tracker=tracker, score=tracker, priority=Fixed(weights), mixture=mixture, rng=rng
    )
