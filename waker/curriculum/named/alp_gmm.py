"""``alp-gmm``: absolute learning progress by Gaussian mixtures, for continuous θ (Portelas et al. 2019, 1910.07224).

After each episode (θ, y): ALP = |y − y_nn| with the nearest earlier θ's, 0 while at most 5 episodes are known. After
every 250 episodes a mixture with full covariances is fitted to the last 250 vectors (θ, ALP), K = 2 … 10 by the lowest
AIC. The first 250 θ and later 20 % are from DR; else a Gaussian in proportion to its mean ALP (uniform if all are 0),
a draw of it, ALP dropped, clipped to the box. Numbers as published.

Ours: y is the world model's mean loss in the episode, not its return; θ is scaled to [0, 1] for the distance and the
mixture, which the published code leaves to the user; EM begins at k-means++ centres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from waker.curriculum.api import Curriculum, Floats, State
from waker.curriculum.boxes.continuous import ContinuousCurriculum
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence, Evidence, Needs, needs
from waker.curriculum.registry import register_curriculum, takes_boxes
from waker.curriculum.scores.gaussians import Gaussians, best_by_aic
from waker.curriculum.scores.quantities import PerStepName, per_step
from waker.errors import UserError
from waker.settings import Settings, Several, Share
from waker_envs.api import BoxThetaSpace, ThetaSpace

FEW = 5
"""Episodes up to which there is no progress."""


@dataclass(frozen=True)
class AlpGmmSettings(Settings, section="curriculum.alp-gmm"):
    """Numbers of ALP-GMM, as published."""

    of: PerStepName = "loss"
    """What progresses: a mean over an episode's steps."""
    window: Several = 250
    """Episodes between two fits, and in each."""
    components: Several = 10
    """Gaussians, at most."""
    random: Share = 0.2
    """Share of DR after the first window."""
    memory: Several = 10_000
    """Episodes among which the nearest θ is looked for, the newest ones."""


class AlpGmm(ContinuousCurriculum):
    """The sampler; see the module.

    Args:
        space: a box.
        settings: its numbers.
        rng: the curriculum's own generator: draws, and the starts of fits.
    """

    def __init__(self, space: BoxThetaSpace, settings: AlpGmmSettings, rng: np.random.Generator) -> None:
        super().__init__("alp-gmm", space, np.zeros((0, space.dim)), 1.0, rng)
        self.box, self.settings, self._quantity = space, settings, per_step(settings.of)
        self.episodes = 0
        self._rows: Floats = np.full((settings.memory, space.dim + 2), np.nan)  # θ in [0, 1], y, ALP
        k, d = settings.components, space.dim + 1
        self._fit = Gaussians(np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)))  # padded; no weight = no fit yet

    @property
    def needs(self) -> Needs:
        """See :class:`waker.curriculum.api.Evident`."""
        return needs(episode=self._quantity.episode)

    def learn(self, evidence: Evidence) -> None:
        """Progress is of episodes."""

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        """Note the progress; fit where a window is full. An episode without a finite number is left out."""
        y = self._quantity.of_episode(evidence)
        if evidence.kind == "heldout" or not np.isfinite(y):
            return
        theta = (evidence.theta - self.box.low) / (self.box.high - self.box.low)
        d, known = self.box.dim, self._rows[: min(self.episodes, len(self._rows))]
        progress = 0.0
        if self.episodes > FEW:
            nearest = int(np.argmin(((known[:, :d] - theta) ** 2).sum(1)))
            progress = abs(y - known[nearest, d])
        self._rows[self.episodes % len(self._rows)] = [*theta, y, progress]
        self.episodes += 1
        if self.episodes % self.settings.window == 0:
            self._refit()

    def _refit(self) -> None:
        n = min(self.settings.window, len(self._rows))
        rows = self._rows[np.arange(self.episodes - n, self.episodes) % len(self._rows)]
        x = np.delete(rows, self.box.dim, axis=1)
        fit = best_by_aic(x, range(2, self.settings.components + 1), self._rng)
        for padded, found in zip(vars(self._fit).values(), vars(fit).values(), strict=True):
            padded[:] = 0.0
            padded[: len(found)] = found

    def choice(self) -> Floats:
        """Probability of each Gaussian, (components,), where one is drawn from; all 0 before the first fit."""
        real = self._fit.weights > 0
        progress = np.where(real, np.maximum(self._fit.means[:, -1], 0.0), 0.0)
        chances = progress if progress.any() else real.astype(np.float64)
        return chances / max(1e-300, chances.sum())

    def _points(self, n: int) -> Floats:
        return np.array([self._one() for _ in range(n)]).reshape(n, self.box.dim)

    def _one(self) -> Floats:
        chances = self.choice()
        if not chances.any() or self._rng.random() < self.settings.random:
            return self.box.sample(self._rng, 1)[0]
        k = int(self._rng.choice(len(chances), p=chances))
        unit = self._rng.multivariate_normal(self._fit.means[k], self._fit.covariances[k])[:-1]
        return np.clip(self.box.low + unit * (self.box.high - self.box.low), self.box.low, self.box.high)

    def state_dict(self) -> State:
        """Episodes and the fit, too."""
        fit = {f"fit.{name}": value.copy() for name, value in vars(self._fit).items()}
        return super().state_dict() | fit | {"episodes": self.episodes, "rows": self._rows.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`ContinuousCurriculum`."""
        super().load_state_dict(state)
        self.episodes, self._rows = int(state["episodes"]), np.array(state["rows"], np.float64)
        self._fit = Gaussians(*(np.array(state[f"fit.{name}"], np.float64) for name in vars(self._fit)))


@register_curriculum("alp-gmm", AlpGmmSettings)
@takes_boxes
def make_alp_gmm(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: AlpGmmSettings,
) -> Curriculum:
    """θ where the model's loss changes most, in a box.

    Raises:
        UserError: the space is no box.
    """
    if not isinstance(space, BoxThetaSpace):
        raise UserError("sampler 'alp-gmm' needs a box of θ; for a finite θ space choose learning-progress")
    return AlpGmm(space, settings, rng)
