"""``prowl``: level replay by the model's error against reality and its change (after Güzel et al. 2026, 2605.18803).

Published, for trajectories τ of an adversary's buffer: z(regret) + λ·z(AFS) + Δregret, with the latent L2 error of a
trajectory, an optical-flow error, and the signed change of the first since the last rescoring; z over the buffer;
λ .1; 256 trajectories (from two notes that agree; no code seen).

Ours, for θ and without an adversary: S(θ) = z(ℓ) + (ℓ_k − ℓ_{k−1})/spread, ℓ the world model's loss on held-out
episodes of θ, measured again every 10,000 agent steps; a θ whose error falls loses priority. Rank, β .3, ρ .3. The
change is in units of the present spread of ℓ, as z is (``raw_change``: as published, in ℓ's own units).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import Curriculum, Floats, Ints, State
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings, level_replay
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores.credited import Credited
from waker.curriculum.scores.quantities import PerStep
from waker.settings import Count
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class ProwlSettings(LevelReplaySettings, section="curriculum.prowl"):
    """Numbers of prowl; those of level replay. ``score``, ``credit`` and ``alpha`` are not used."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"score", "credit", "alpha"})
    share: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    """Of episodes, kept out of training."""
    every: Count = 10_000
    """Agent steps between two rounds, in which all that are stored are measured."""
    ring: Count = 4
    """Episodes of each θ that are stored, the newest ones; a θ's loss of a round is their mean."""
    of: Literal["loss", "excess"] = "loss"
    """Whose z-score and change: the model's loss, or what of it is not known dice (as ``excess-loss``)."""
    raw_change: bool = False
    """The change in the loss's own units, not in spreads of it."""


def adversarial_score(error: Floats, change: Floats, flow: Floats | None = None, weight: float = 0.1) -> Floats:
    """z(error) + weight·z(flow) + change where there is an error, (n,), NaN elsewhere; without spread z is 0."""
    known = ~np.isnan(error)

    def z(x: Floats) -> Floats:
        spread = x[known].std() if known.any() else 0.0
        return np.asarray((x - x[known].mean()) / spread if spread > 0 else np.where(known, 0.0, np.nan))

    scores = z(error) + np.where(np.isnan(change), 0.0, change)
    return scores if flow is None else scores + weight * z(flow)


class ErrorAndChange(Credited):
    """Held-out loss of each θ with its change between the last two rounds of measuring.

    Rounds, and the loss of θ in one, are :class:`Credited`'s.

    Args:
        n_theta: M.
        settings: share, interval, and the unit of the change.
    """

    def __init__(self, n_theta: int, settings: ProwlSettings) -> None:
        s = settings
        super().__init__(n_theta, PerStep(s.of), "heldout", ring=s.ring, heldout=s.share, heldout_every=s.every)
        self._raw = settings.raw_change
        self._before: Floats = np.full(n_theta, np.nan)  # loss of the round before

    def learn_episode(self, evidence: EpisodeEvidence) -> Any:
        """A measurement; all z-scores change with a new loss."""
        changed = super().learn_episode(evidence)
        return None if changed is None or len(changed) else changed

    def take(self, ids: Ints, values: Floats) -> Ints:
        """Losses (n,) of different θ (n,) in a round."""
        self._before[ids], self.score[ids] = self.score[ids], values
        return ids

    def values(self) -> Floats:
        """Shape (M,)."""
        change = self.score - self._before
        spread = float(np.nanstd(self.score)) if not np.isnan(self.score).all() else 0.0
        if not self._raw:
            change = change / spread if spread > 0 else np.zeros_like(change)
        return adversarial_score(self.score, change)

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self.values()[theta_id]

    def state_dict(self) -> State:
        """The round before, too."""
        return super().state_dict() | {"before": self._before.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        super().load_state_dict(state)
        self._before = np.array(state["before"], np.float64)


@register_curriculum("prowl", ProwlSettings)
def make_prowl(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: ProwlSettings,
) -> Curriculum:
    """Level replay by held-out loss and its change."""
    return level_replay(
        "prowl", space, config, rng, samples_per_update, settings,
        lambda points, decay: ErrorAndChange(points.size, settings),
    )  # fmt: skip
