"""``ncc``: weights over θ by projected ascent on a regularised score (Monette et al. 2025, arXiv 2505.20659).

y ∈ {y ≥ ε, Σ y = 1}, uniform at first; each step ascends Σ y·s − α·Σ y·log y and projects back; θ are drawn from the
weights of the step *before*; no staleness. With plain steps y tends to exp(s/α) / Σ. Published: ε 1e-5; MiniGrid lr
.005, α .032 with an adaptive step (TiAda, exponent .4, accumulator .1), every buffered level scored anew with fresh
rollouts at each step; the public code divides by the variance where the formula has it as such, and at its head
descends in two of three domains (both are not done here).

Score: generalised learnability, s = σ/√n · N(m; μ, v), m and σ of n returns of θ, μ and v the mean and variance of m
over θ; 0 where all m are alike.

Ours, reward-free: the returns are intrinsic ones of imagined rollouts (``sampled_returns``); or the PVL of imagined
rollouts. m and σ are of all returns of θ since the step before, of θ without any those of earlier; they are found, with
μ, v and s, once a step. n is the number of rollouts from one start state, the same for all θ: the published n is, and a
θ seen more often would else score less for it. A step is made every 5 updates (``every``; published: every one), which
gives a few start states of each of some twenty θ, and lets weights move in a run of a thousand updates. Weights are
over the θ that have a score; a θ that gets one enters with weight 1/(number of them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from waker.curriculum.api import UNCHANGED, Curriculum, Floats, Ints, Score, State
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.evidence import Evidence, needs
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.registry import finite, register_curriculum
from waker.curriculum.scores import advantages as formulas
from waker.curriculum.scores.credited import Credited
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.scores.quantities import OfAdvantages, given
from waker.curriculum.scores.return_moments import ReturnMoments
from waker.curriculum.scores.simplex import ascended, slope
from waker.curriculum.state import part, with_prefix
from waker.settings import Count, Positive, Settings
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class NccSettings(Settings, section="curriculum.ncc"):
    """Numbers of NCC; MiniGrid's."""

    score: Literal["learnability", "pvl"] = "learnability"
    """Generalised learnability of imagined intrinsic returns, or PVL of imagined rollouts."""
    rate: Positive = 0.005
    """Step size of the ascent."""
    entropy: Positive = 0.032
    """α."""
    least: Positive = 1e-5
    """ε, the smallest weight before normalising by the number of θ."""
    adaptive: bool = True
    """Divide the step by (0.1 + Σ ‖gradient‖²)^0.4."""
    every: Count = 5
    """Updates between two steps; ours."""


class Weights(Score):
    """The weights of the step before, NaN for θ without a score.

    Args:
        n_theta: M.
        settings: its numbers.
    """

    def __init__(self, n_theta: int, settings: NccSettings) -> None:
        self.settings = settings
        self._credited = Credited(n_theta, OfAdvantages(formulas.positive_value_loss), "imagined-last")
        pvl = self._credited.needs.update if settings.score == "pvl" else {"sampled_returns"}
        self.needs = needs(update=pvl)
        self._returns = ReturnMoments(n_theta)
        self._y, self._drawn = np.full((2, n_theta), np.nan)  # present weights; those of the step before
        self._updates, self._squares = 0, 0.1

    def learn(self, evidence: Evidence) -> Ints | None:
        """Score the θ of an update; make a step where it is time."""
        if self.settings.score == "pvl":
            self._credited.learn(evidence)
        elif evidence.sampled_returns is not None:
            returns, ids = given(evidence, "sampled_returns"), evidence.sampled_returns_id
            assert ids is not None, "returns come with the θ they are of"
            keep = (ids >= 0) & np.isfinite(returns).all(1)
            self._returns.add(ids[keep], returns[keep])
        self._updates += 1
        if self._updates % self.settings.every:
            return UNCHANGED
        self._step()
        return None

    def _step(self) -> None:
        s = self.settings
        scores = self._credited.score if s.score == "pvl" else self._returns.learnability()
        known = np.flatnonzero(~np.isnan(scores))
        if not len(known):
            return
        scores, y = scores[known], self._y[known]
        y = np.where(np.isnan(y), 1.0 / len(known), y)
        y /= y.sum()
        self._drawn[known] = y
        rate, gradient = s.rate, slope(y, scores, s.entropy)
        if s.adaptive:
            self._squares += float(gradient @ gradient)
            rate /= self._squares**0.4
        self._y[known] = ascended(y, gradient, rate, s.least)

    def values(self) -> Floats:
        """Shape (M,)."""
        return self._drawn.copy()

    def state_dict(self) -> State:
        """Both weights, the returns, the scores, and the step."""
        own: State = {"y": self._y.copy(), "drawn": self._drawn.copy()}
        own |= self._returns.state_dict() | {"updates": self._updates, "squares": self._squares}
        return own | with_prefix("credited", self._credited.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._y, self._drawn = np.array(state["y"], np.float64), np.array(state["drawn"], np.float64)
        self._updates, self._squares = int(state["updates"]), float(state["squares"])
        self._returns.load_state_dict(state)
        self._credited.load_state_dict(part("credited", state))


@register_curriculum("ncc", NccSettings)
def make_ncc(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: NccSettings,
) -> Curriculum:
    """θ by their weights, with a share of DR."""
    points = finite(space, "ncc")
    return ComposedCurriculum(
        "ncc",
        points,
        tracker=Magnitude(points.size, resolve_decay(config, points, samples_per_update)),
        score=Weights(points.size, settings),
        priority=Proportional(1.0, points.groups),
        mixture=Mixture(config.dr_share, 0.0, points.groups),
        rng=rng,
    )
