"""``model-loss``, ``excess-loss`` and ``heldout-loss``: ``waker-m`` by the world model's own loss, not by disagreement.

``model-loss`` credits the loss of every replayed step to its θ (held-in). ``heldout-loss`` keeps a share of episodes
out of training and measures the model on them in rounds: the honest oracle of what WAKER's disagreement estimates, at
the price of those episodes. It is DR until half of the θ have a score (``fill``, as in level replay), and gives the
others the mean from then on. Both chase aleatoric noise: the loss of a θ whose dynamics are dice stays high. Where all
θ are alike the z-score makes large differences of small ones, as waker-m's does. ``excess-loss`` credits what the prior
did not expect of itself, CE(posterior, prior) − H(prior) of every replayed step: an error against reality, as the loss
is, that a θ of known dice does not keep. All are ours; priority, temperature and DR share are waker-m's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import Curriculum, Floats, Ints
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.named.waker import priority_of
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.registry import finite, register_curriculum
from waker.curriculum.scores.credited import Credited, Mode, check_mode
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.scores.quantities import PerStep
from waker.settings import Count, Settings, Share
from waker_envs.api import FiniteThetaSpace, ThetaSpace


@dataclass(frozen=True)
class ModelLossSettings(Settings, section="curriculum.model-loss"):
    """Numbers of model-loss and excess-loss."""

    credit: Mode = "imagined"
    """imagined (the running average of every replayed step, as waker-m), imagined-last or episode."""


@dataclass(frozen=True)
class HeldoutLossSettings(Settings, section="curriculum.heldout-loss"):
    """Numbers of heldout-loss."""

    share: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    """Of episodes, kept out of training: θ with fewer stored ones come first."""
    every: Count = 10_000
    """Agent steps between two rounds, in which all that are stored are measured."""
    ring: Count = 4
    """Episodes of each θ that are stored, the newest ones; a θ's score is their mean in the newest round."""
    fill: Share = 0.5
    """DR alone before this share of the θ that it draws have a score."""


class HeldoutLoss(Credited):
    """The model's loss on held-out episodes of each θ; no scores at all before enough θ have one.

    The first θ with a score would else get all but DR's share of the episodes, its own held-out ones included. Then θ
    of DR that are still without one take the mean of the others (ours; elsewhere only DR draws such θ, but here they
    wait for a rare kind of episode).

    Args:
        space: whose θ are scored.
        settings: its numbers.
    """

    def __init__(self, space: FiniteThetaSpace, settings: HeldoutLossSettings) -> None:
        s = settings
        super().__init__(
            space.size, PerStep("loss"), "heldout", ring=s.ring, heldout=s.share, heldout_every=s.every
        )  # fmt: skip
        self._common, self._fill = space.weights > 0, s.fill

    @property
    def filled(self) -> bool:
        """Whether enough θ have a score."""
        return bool((~np.isnan(self.score))[self._common].mean() >= self._fill)

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """A measurement; while some θ take the mean, all of those change with it."""
        alone = self.filled and not np.isnan(self.score).any()
        changed = super().learn_episode(evidence)
        return changed if alone or changed is None or not len(changed) else None

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self.values()[theta_id]

    def values(self) -> Floats:
        """Shape (M,)."""
        if not self.filled:
            return np.full(len(self.score), np.nan)
        return np.where(self._common & np.isnan(self.score), np.nanmean(self.score), self.score)


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

        return _as_waker_m(name, space, config, rng, samples_per_update, score)


_held_in("model-loss", "loss")
_held_in("excess-loss", "excess")


@register_curriculum("heldout-loss", HeldoutLossSettings)
def make_heldout_loss(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: HeldoutLossSettings,
) -> Curriculum:
    """θ in proportion to exp(z-score of the model's loss on held-out episodes / 1.0), with a share of DR."""

    def score(points: FiniteThetaSpace, decay: float | Floats) -> Credited:
        return HeldoutLoss(points, settings)

    return _as_waker_m("heldout-loss", space, config, rng, samples_per_update, score)


def _as_waker_m(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    score: Callable[[FiniteThetaSpace, float | Floats], Credited],
) -> Curriculum:
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
