"""``model-loss`` and ``excess-loss``: ``waker-m`` by the world model's own loss, not by disagreement.

``model-loss`` credits the loss of every replayed step to its θ (held-in). It chases aleatoric noise: the loss of a θ
whose dynamics are dice stays high. Where all θ are alike the z-score makes large differences of small ones, as
waker-m's does. ``excess-loss`` credits what the prior did not expect of itself, CE(posterior, prior) − H(prior) of
every replayed step: an error against reality, as the loss is, that a θ of known dice does not keep. Both are ours;
priority, temperature and DR share are waker-m's. Held-out episodes are ``heldout-loss``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from waker.curriculum.api import Curriculum, Floats
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.named.waker import as_waker_m
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores.credited import Credited, Mode, check_mode
from waker.curriculum.scores.quantities import PerStep
from waker.settings import Settings
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@dataclass(frozen=True)
class ModelLossSettings(Settings, section="curriculum.model-loss"):
    """Numbers of model-loss and excess-loss."""

    credit: Mode = "imagined"
    """imagined (the running average of every replayed step, as waker-m), imagined-last or episode."""


def _held_in(name: str, field: Literal["loss", "excess"]) -> None:
    """Register a sampler: θ in proportion to exp(z-score of a number of replayed steps / 1.0), with a share of DR."""

    @register_curriculum(name, ModelLossSettings)
    def make(
        space: ThetaSpace,
        config: CurriculumConfig,
        rng: np.random.Generator,
        samples_per_update: int,
        settings: ModelLossSettings,
    ) -> Curriculum:
        check_mode(name, settings.credit, "imagined", "imagined-last", "episode")

        def score(points: FiniteThetaSpace, decay: float | Floats) -> Credited:
            return Credited(points.size, PerStep(field), settings.credit, decay=decay)

        return as_waker_m(name, space, config, rng, samples_per_update, score)


_held_in("model-loss", "loss")
_held_in("excess-loss", "excess")
