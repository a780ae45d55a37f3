"""``bidirectional-lp``: learning progress of success rates, up or down (Kanitscheider et al. 2021, arXiv 2106.14876).

*Not reward-free.* At each evaluation, with success rates p: the first sets the baseline b = min(p, .75);
p̃ = max(p − b, 0)/(1 − b), which is the first f and s; f ← α·p̃ + (1−α)·f, then s ← α·f + (1−α)·s of the *new* f, α =
.1; with g(x) = (1−c)·x/(x + c·(1−2x)), c = .1, progress is |g(f) − g(s)|. θ with progress or a success so far have p ∝
sigmoid(z-score of progress); the others 0; where there is no such θ all are alike. Rules and numbers as in Syllabus,
which OMNI shares; that the paper centres the sigmoid at the 90 % quantile is not verified.

Traps, kept: a θ never solved has probability 0 but for the DR share, and after the first evaluation progress is 0
everywhere. Ours: an evaluation is of the episodes of the last ``every`` agent steps; θ without one keep their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from waker.curriculum.api import UNCHANGED, Curriculum, Floats, Ints, Score, State
from waker.curriculum.composed import ComposedCurriculum
from waker.curriculum.config import CurriculumConfig, resolve_decay
from waker.curriculum.evidence import EpisodeEvidence, needs
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.registry import finite, privileged, register_curriculum
from waker.curriculum.scores.error_estimate import Magnitude
from waker.settings import Count, Settings
from waker_envs.api import ThetaSpace

HIGHEST_BASELINE = 0.75


@dataclass(frozen=True)
class BidirectionalSettings(Settings, section="curriculum.bidirectional-lp"):
    """Numbers of bidirectional learning progress."""

    every: Count = 10_000
    """Agent steps between two evaluations."""
    solved: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """An episode is a success where ``info["completion"]``, which may be a fraction, reaches this (ours)."""
    rate: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """α of both averages."""
    emphasis: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """c: below 0.5, small rates count for more."""


class BidirectionalProgress(Score):
    """The weights sigmoid(z), 0 for θ that are left out, NaN before the first evaluation.

    Args:
        n_theta: M.
        settings: α, c and the interval.
    """

    needs = needs(episode=("success",))

    def __init__(self, n_theta: int, settings: BidirectionalSettings) -> None:
        self.settings = settings
        self.next_mark = settings.every
        self._numbers: Floats = np.zeros((6, n_theta))  # baseline, fast, slow, Σ p, successes, episodes
        self._numbers[0] = np.nan

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """Count it; evaluate where it is time. An episode without an end counts as none."""
        if evidence.success is not None and np.isfinite(evidence.success):
            self._numbers[4:, evidence.theta_id] += (float(evidence.success >= self.settings.solved), 1.0)
        if evidence.step < self.next_mark:
            return UNCHANGED
        self.next_mark += self.settings.every * ((evidence.step - self.next_mark) // self.settings.every + 1)
        successes, episodes = self._numbers[4:]
        with np.errstate(invalid="ignore"):
            rates = np.where(episodes > 0, successes / episodes, np.nan)
        self._numbers[4:] = 0.0
        self.evaluated(rates)
        return None

    def evaluated(self, rates: Floats) -> None:
        """Success rates of an evaluation, (M,), NaN where there is none."""
        baseline, fast, slow, solved = self._numbers[:4]
        here, a, first = ~np.isnan(rates), self.settings.rate, np.isnan(baseline)
        baseline[:] = np.where(first, np.minimum(rates, HIGHEST_BASELINE), baseline)
        better = np.maximum(rates - baseline, 0.0) / (1.0 - baseline)
        fast[here & first] = slow[here & first] = better[here & first]
        fast[here] = a * better[here] + (1.0 - a) * fast[here]
        slow[here] = a * fast[here] + (1.0 - a) * slow[here]
        solved[here] += rates[here]

    def progress(self) -> Floats:
        """|g(f) − g(s)|, (M,)."""
        c = self.settings.emphasis
        g = [(1 - c) * x / (x + c * (1 - 2 * x)) for x in self._numbers[1:3]]
        return np.asarray(abs(g[0] - g[1]))

    def values(self) -> Floats:
        """Shape (M,)."""
        known, progress = ~np.isnan(self._numbers[0]), self.progress()
        kept = known & ((progress > 0) | (self._numbers[3] > 0))
        if not kept.any():
            return np.where(known, 1.0, np.nan)
        spread = progress[kept].std()
        z = (progress - progress[kept].mean()) / (spread if spread > 0 else 1.0)
        return np.where(kept, 1.0 / (1.0 + np.exp(-z)), np.where(known, 0.0, np.nan))

    def state_dict(self) -> State:
        """All numbers of each θ, and when the next evaluation is."""
        return {"numbers": self._numbers.copy(), "next_mark": self.next_mark}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._numbers, self.next_mark = np.array(state["numbers"], np.float64), int(state["next_mark"])


@register_curriculum("bidirectional-lp", BidirectionalSettings)
@privileged
def make_bidirectional_lp(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: BidirectionalSettings,
) -> Curriculum:
    """θ whose success rate changes, with a share of DR. Not reward-free."""
    points = finite(space, "bidirectional-lp")
    return ComposedCurriculum(
        "bidirectional-lp",
        points,
        tracker=Magnitude(points.size, resolve_decay(config, points, samples_per_update)),
        score=BidirectionalProgress(points.size, settings),
        priority=Proportional(1.0, points.groups),
        mixture=Mixture(config.dr_share, config.staleness, points.groups),
        rng=rng,
    )
