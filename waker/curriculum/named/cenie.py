"""``cenie``: level replay by novelty of what is met in a θ (Teoh, Li, Varakantham, NeurIPS 2024, arXiv 2502.05726).

A Gaussian mixture is fitted to the (state, action) pairs of a window of past episodes; novelty(θ) = −mean_t log p(x_t)
of θ's episode; P_replay = α·P_novelty + (1−α)·P_regret, each by ranks, α .5; α = 1 is the novelty-only variant, the
default here, reward-free. From the abstract, notes and two re-implementations; the paper's settings and whether it has
staleness are not verified.

Ours: x_t = [deterministic state; action] of the posterior, standardised with the window and reduced to 16 dimensions by
PCA; the window is the last 200 episodes, 32 evenly spaced steps of each; K = 10 diagonal Gaussians, variances + 1e-4, 3
EM iterations from the fit before at every 100th episode; an episode is scored by the fit made *before* it is added, and
keeps its score until θ is visited again. β .3, ρ .3.

Their reasons: a window of 200 × 32 × 64 numbers is 3 MB of every checkpoint (1,000 episodes of 64 steps would be 33),
and a laptop's run has some hundred episodes, of which 1,000 would forget none; K and the floor of the variances are the
re-implementations'.

Drift. A latent state is of the model that made it: the window holds those of up to 200 episodes ago, the fit is up to
100 episodes old, a score as old as its θ's last visit, so that a θ also looks novel because the model has moved. The
published rule has a window of pairs as they were met, which bounds this and does not undo it; encoding the window's
observations anew at each fit would need their pixels in every state. ``state = observation`` takes what was observed
with the action in place of the latent, as published outside of mazes: that does not move. The likelihood is unbounded,
which ranks make harmless; noise in observations is novel forever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waker.curriculum.api import UNCHANGED, Curriculum, Floats, Ints, Score, State
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence, needs
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings, level_replay
from waker.curriculum.priorities.rules import Rank
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores import advantages as formulas
from waker.curriculum.scores.novelty import FIELDS, Novelty, StateName, met
from waker.curriculum.scores.quantities import OfAdvantages
from waker.curriculum.state import pack_rng, part, unpack_rng, with_prefix
from waker.settings import Count, Share
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class CenieSettings(LevelReplaySettings, section="curriculum.cenie"):
    """Numbers of CENIE; those of level replay. ``score``, ``credit``, ``priority`` and ``alpha`` are not used."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"score", "credit", "priority", "alpha"})
    novelty: Share = 1.0
    """α: share of novelty in P_replay; the rest is PVL of intrinsic rewards."""
    state: StateName = "latent"
    """What x_t is of: the model's state, which moves as it learns, or what was observed, which does not."""
    window: Count = 200
    """Episodes that the mixture is fitted to."""
    steps: Count = 32
    """Steps of an episode, evenly spaced."""
    refit: Count = 100
    """Episodes between two fits."""
    components: Count = 10
    """Gaussians."""
    dimensions: Count = 16
    """Of the principal components."""


def mixed(novelty: Floats, regret: Floats, share: float, beta: float, groups: Any = None) -> Floats:
    """α·P_novelty + (1−α)·P_regret by ranks, (M,), NaN where a θ has no score."""
    rank = Rank(beta, groups)
    laws = [(share, rank.distribution(novelty)), (1.0 - share, rank.distribution(regret))]
    total = sum((weight * law for weight, law in laws if weight > 0 and law is not None), np.zeros(len(novelty)))
    return np.where(np.isnan(novelty), np.nan, total)


class CenieScore(Score):
    """P_replay itself, to be drawn in proportion to; where novelty alone counts, novelty, to be drawn by rank.

    Args:
        n_theta: M.
        groups: the domain of each θ, (M,), or None.
        settings: its numbers.
        rng: begins the fits.
    """

    def __init__(self, n_theta: int, groups: Any, settings: CenieSettings, rng: np.random.Generator) -> None:
        self.settings, self._groups, self._rng = settings, groups, rng
        self._pvl = OfAdvantages(formulas.positive_value_loss)
        regret = self._pvl.episode if settings.novelty < 1.0 else frozenset[str]()
        self.needs = needs(episode={FIELDS[settings.state]} | regret)
        s = settings
        self._model = Novelty(s.window, s.steps, s.refit, s.components, s.dimensions)
        self.novelty: Floats = np.full(n_theta, np.nan)
        self.regret: Floats = np.full(n_theta, np.nan)

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """Score the episode by the fit of before; then add it to the window."""
        features = met(evidence, self.settings.state)
        if features is None:
            return UNCHANGED
        found = self._model.of(features)
        self._model.add(features, self._rng)
        if found is None:  # no fit yet
            return UNCHANGED
        self.novelty[evidence.theta_id] = found
        if self.settings.novelty == 1.0:
            return np.array([evidence.theta_id])
        self.regret[evidence.theta_id] = self._pvl.of_episode(evidence)
        return None

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self.novelty[theta_id] if self.settings.novelty == 1.0 else self.values()[theta_id]

    def values(self) -> Floats:
        """Shape (M,)."""
        if self.settings.novelty == 1.0:
            return self.novelty.copy()
        return mixed(self.novelty, self.regret, self.settings.novelty, self.settings.beta, self._groups)

    def state_dict(self) -> State:
        """Scores, the window and the fit."""
        own: State = {"novelty": self.novelty.copy(), "regret": self.regret.copy(), "rng": pack_rng(self._rng)}
        return own | with_prefix("model", self._model.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.novelty, self.regret = np.array(state["novelty"], np.float64), np.array(state["regret"], np.float64)
        unpack_rng(self._rng, state["rng"])
        self._model.load_state_dict(part("model", state))


@register_curriculum("cenie", CenieSettings)
def make_cenie(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: CenieSettings,
) -> Curriculum:
    """Level replay by novelty, or by novelty and intrinsic PVL."""
    own = rng.spawn(1)[0]
    law = dataclasses.replace(settings, priority="rank")
    if settings.novelty < 1.0:  # the score is P_replay already
        law = dataclasses.replace(settings, priority="proportional", beta=1.0)
    return level_replay(
        "cenie", space, config, rng, samples_per_update, law,
        lambda points, decay: CenieScore(points.size, points.groups, settings, own),
    )  # fmt: skip
