"""``pace``: level replay by how much a θ would move the model (Yuan et al., ICML 2026, arXiv 2605.01358).

Published (from the abstract; no code seen, optimiser, transform and buffer not verified): the value of a level is the
squared norm of the policy's parameter change in a local update on it, since the first-order gain is about η·‖∇J‖².

Ours, reward-free: s(θ) = ‖∇ mean loss‖² of the *world model's* loss on θ's steps in the batch, over a fixed set of its
parameters; a gradient and no optimiser's step, as Adam's normalisation erases magnitudes. E‖ĝ‖² = ‖g‖² + tr(Σ)/n is too
large for noisy θ and for few steps, so by default ĝ₁·ĝ₂ of two halves, which is unbiased and may be negative. Halves
are of whole sequences, as steps of one err alike; a θ that is in one sequence of the batch alone is not scored.
Replay: rank, β .3, ρ .3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from waker.curriculum.api import Curriculum, Floats, Ints
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import Evidence, needs
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings, level_replay
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores.credited import Credited
from waker.curriculum.scores.quantities import PerStep, given
from waker.settings import Count
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class PaceSettings(LevelReplaySettings, section="curriculum.pace"):
    """Numbers of PACE; those of level replay. ``score`` and ``credit`` are not used."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"score", "credit"})
    halves: bool = True
    """The unbiased product of two halves' gradients; else the squared norm of their mean."""
    every: Count = 10
    """Updates between two measurements of gradients."""


def squared_norms(gradients: Floats, halves: bool = True) -> Floats:
    """‖g‖² of each θ, (G,), from its two half-batch gradients, (G, 2, P)."""
    if halves:
        return np.asarray((gradients[:, 0] * gradients[:, 1]).sum(-1))
    return np.asarray((gradients.mean(1) ** 2).sum(-1))


class GradientNorm(Credited):
    """The newest squared gradient norm of each θ.

    Args:
        n_theta: M.
        settings: the estimate, and how often.
    """

    def __init__(self, n_theta: int, settings: PaceSettings) -> None:
        super().__init__(n_theta, PerStep("loss"), "imagined-last", alpha=settings.alpha)
        self.needs = needs(update=("gradients",), every=settings.every)
        self._halves = settings.halves

    def learn(self, evidence: Evidence) -> Ints:
        """Take the gradients of the θ of an update, each named once."""
        if evidence.gradients is None:  # an update without a measurement
            return np.zeros(0, np.int64)
        norms, ids = squared_norms(given(evidence, "gradients"), self._halves), evidence.gradients_id
        assert ids is not None, "gradients come with the θ they are of"
        keep = (ids >= 0) & np.isfinite(norms)
        return self.take(ids[keep], norms[keep])


@register_curriculum("pace", PaceSettings)
def make_pace(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: PaceSettings,
) -> Curriculum:
    """Level replay by the squared norm of the model's gradient."""
    return level_replay(
        "pace",
        space,
        config,
        rng,
        samples_per_update,
        settings,
        lambda points, decay: GradientNorm(points.size, settings),
    )
