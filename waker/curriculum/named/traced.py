"""``traced``: ACCEL by value loss, transition loss and co-learnability (Cho et al., ICLR 2026, arXiv 2506.19997).

D(θ) = PVL + a·ATPL, ATPL the mean one-step loss of a transition model along the episode. After each cycle of training,
CoL = mean over the θ scored in the cycle of (previous D − present D), 0 at a first visit; every θ *trained in the cycle
before* then has the priority score D + b·CoL until it is scored again. p ∝ 1/rank (β = 1), the paper's; its code has
β .3 in mazes, .1 for bipedal walkers, with p .8 or .9 and staleness .3 or .5. a = b = 1.

Ours: PVL of the exploration critic; the transition loss is the world model's KL(posterior ‖ prior) on the real episode,
no further network; both terms are divided by their spread over θ first (``scale`` = ``spread``: z-scores up to a
constant, which no rank sees), so that a weighs like with like, by a spread that is renewed when it is a twentieth away
(:mod:`waker.curriculum.scores.spreads`); a cycle is a number of trained episodes. The published
code adds up finished episodes without dividing by their steps; here a score is a mean over steps.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from waker.curriculum.api import UNCHANGED, Curriculum, Floats, Ints, Score, State
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence, needs
from waker.curriculum.level_replay.replay_settings import level_replay
from waker.curriculum.named.accel import Accel, AccelSettings
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores import advantages as formulas
from waker.curriculum.scores.credited import check_mode
from waker.curriculum.scores.quantities import OfAdvantages, PerStep
from waker.curriculum.scores.spreads import Spreads
from waker.settings import Count, NotNegative, Positive
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class TracedSettings(AccelSettings, section="curriculum.traced"):
    """Numbers of TRACED; those of ACCEL with β = 1. ``score`` and ``alpha`` are not used."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"score", "alpha"})
    beta: Positive = 1.0
    transition: NotNegative = 1.0
    """a: weight of the transition loss."""
    colearning: NotNegative = 1.0
    """b: weight of co-learnability."""
    cycle: Count = 8
    """Trained episodes in a cycle."""
    scale: Literal["spread", "raw"] = "spread"
    """Whether each term is divided by its standard deviation over θ."""


class TracedScore(Score):
    """D + b·CoL of M = ``n_theta`` θ; see the module."""

    ADDED = frozenset({"spreads"})

    def __init__(self, n_theta: int, settings: TracedSettings) -> None:
        self.settings = settings
        self._pvl, self._loss = OfAdvantages(formulas.positive_value_loss), PerStep("transition_loss")
        self.needs = needs(episode=self._pvl.episode | self._loss.episode)
        self.terms: Floats = np.full((2, n_theta), np.nan)  # PVL and ATPL, the newest
        self.before: Floats = np.full((2, n_theta), np.nan)  # those of the visit before
        self._bonus: Floats = np.zeros(n_theta)
        self._scored, self._trained, self._previous = np.zeros((3, n_theta), np.bool_)  # in this cycle; in the last
        self._episodes = 0  # trained in this cycle
        self._spreads = Spreads(2)

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """Score an episode; a trained one may end the cycle."""
        terms = np.array([self._pvl.of_episode(evidence), self._loss.of_episode(evidence)])
        if evidence.kind == "heldout" or not np.isfinite(terms).all():
            return UNCHANGED
        rescaled = self.scored(evidence.theta_id, terms)
        changed = np.array([evidence.theta_id])
        if evidence.kind == "trained":
            self._trained[evidence.theta_id] = True
            self._episodes += 1
            if self._episodes >= self.settings.cycle:
                changed = np.union1d(changed, self.end_cycle())
        return None if rescaled else changed

    def scored(self, theta_id: int, terms: Floats) -> bool:
        """PVL and ATPL of an episode, (2,); a bonus is gone with it. Whether the scale of all has changed."""
        self.before[:, theta_id] = self.terms[:, theta_id]
        self.terms[:, theta_id] = terms
        self._bonus[theta_id], self._scored[theta_id] = 0.0, True
        return self.settings.scale == "spread" and self._spreads.take(self.before[:, theta_id], self.terms, theta_id)

    def end_cycle(self) -> Ints:
        """Give CoL to the θ trained in the cycle before this one, whose ids are returned."""
        scored, previous = np.flatnonzero(self._scored), np.flatnonzero(self._previous)
        change = self._difficulty(self.before[:, scored]) - self._difficulty(self.terms[:, scored])
        learned = float(np.nan_to_num(change).mean()) if len(change) else 0.0
        self._bonus[previous] += self.settings.colearning * learned
        self._previous, self._trained = self._trained, np.zeros_like(self._trained)
        self._scored[:], self._episodes = False, 0
        return previous

    def _difficulty(self, terms: Floats) -> Floats:
        """D of terms (2, n), in the present scale of each term."""
        one, two = terms / self._spreads.scale[:, None]
        return np.asarray(one + self.settings.transition * two)

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self._difficulty(self.terms[:, theta_id]) + self._bonus[theta_id]

    def values(self) -> Floats:
        """Shape (M,)."""
        return self._difficulty(self.terms) + self._bonus

    def state_dict(self) -> State:
        """Terms, bonuses, the cycle and the scale."""
        flags = np.array([self._scored, self._trained, self._previous])
        own: State = {"terms": self.terms.copy(), "before": self.before.copy(), "bonus": self._bonus.copy()}
        return own | {"flags": flags, "episodes": self._episodes, "spreads": self._spreads.packed()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.terms, self.before = np.array(state["terms"], np.float64), np.array(state["before"], np.float64)
        self._bonus, self._episodes = np.array(state["bonus"], np.float64), int(state["episodes"])
        self._scored, self._trained, self._previous = np.array(state["flags"], np.bool_)
        self._spreads.unpack(state["spreads"], self.terms if self.settings.scale == "spread" else None)


@register_curriculum("traced", TracedSettings)
def make_traced(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: TracedSettings,
) -> Curriculum:
    """ACCEL with the score of this module."""
    check_mode("traced", settings.credit, "episode")
    return level_replay(
        "traced",
        space,
        config,
        rng,
        samples_per_update,
        settings,
        lambda points, decay: TracedScore(points.size, settings),
        staging=True,
        kind=functools.partial(Accel, settings=settings),
    )
