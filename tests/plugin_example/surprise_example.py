"""A sampler for WAKER in one file: the θ that surprise the world model most, in held-out episodes, come most often."""

from __future__ import annotations

import numpy as np

from waker.curriculum import ComposedCurriculum, CurriculumConfig, Magnitude, Measured, Mixture, Rank, Wanted
from waker_envs import FiniteThetaSpace


def make(
    space: FiniteThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
) -> ComposedCurriculum:
    """``samples_per_update`` would scale the memory of an estimate from credited errors; this one has none."""
    wanted = Wanted(metrics=("latent_kl_1",), every=config.oracle_interval, episodes=2)
    return ComposedCurriculum(
        "surprise-first",
        space,
        tracker=Magnitude(space.size),
        score=Measured(space.size, wanted),
        priority=Rank(beta=1.0),
        mixture=Mixture(dr=config.dr_share),
        rng=rng,
    )
