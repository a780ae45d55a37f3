"""``heldout-loss``: ``waker-m`` by the world model's loss on episodes that are kept out of training.

A share of episodes is kept out and the model measured on them in rounds: the honest oracle of what WAKER's disagreement
estimates, at the price of those episodes. It is DR until half of the θ have a score (``fill``, as in level replay), and
gives the others the mean from then on. It chases aleatoric noise: the loss of a θ whose dynamics are dice stays high.
Ours; priority, temperature and DR share are waker-m's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import Curriculum, Floats
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.named.waker import as_waker_m
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores.filled import Filled
from waker.curriculum.scores.quantities import PerStep
from waker.settings import Count, Settings, Share
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@dataclass(frozen=True)
class HeldoutLossSettings(Settings, section="curriculum.heldout-loss"):
    """Numbers of heldout-loss."""

    share: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    """Of episodes, kept out of training: θ with fewer stored ones come first."""
    every: Count = 10_000
    """Agent steps between two rounds, in which all that are stored are measured."""
    ring: Count = 4
    """Episodes of each θ that are stored, the newest ones; a θ's score is their mean in the newest round."""
    of: Literal["loss", "excess"] = "loss"
    """The model's loss, or what of it is not known dice (as ``excess-loss``): then no θ of dice stays high."""
    fill: Share = 0.5
    """DR alone before this share of the θ that it draws have a score."""


@register_curriculum("heldout-loss", HeldoutLossSettings)
def make_heldout_loss(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: HeldoutLossSettings,
) -> Curriculum:
    """θ in proportion to exp(z-score of the model's loss on held-out episodes / 1.0), with a share of DR."""

    def score(points: FiniteThetaSpace, decay: float | Floats) -> Filled:
        s = settings
        numbers = {"ring": s.ring, "heldout": s.share, "heldout_every": s.every}
        return Filled(points, PerStep(s.of), "heldout", fill=s.fill, **numbers)

    return as_waker_m("heldout-loss", space, config, rng, samples_per_update, score)
