"""``diplr``: level replay by how different a θ's episodes are from all others' (Li, Varakantham, Li 2023, 2301.08025).

The distance of two levels is the Wasserstein distance between their state–action samples under the present policy; the
diversity of a level is its distance to the nearest other one in the buffer. (From the authors' README and the abstract;
that it is the nearest, and how it is mixed with staleness or regret, is from memory and not verified.)

Ours: samples are [deterministic state; action] of the posterior; the distance is sliced, the mean of W1 over 64 fixed
random directions, of 32 evenly spaced steps an episode; the memory holds the newest episode of the 128 θ visited last,
as all pairs are compared (128 × 64 × 32 numbers, 2 MB of every checkpoint); β .3, ρ .3. Latents of different ages are
of different models, and lie apart for that, too; ``state = observation`` compares what was observed, which does not
move. The two nearest levels always tie: the lower id is ranked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import UNCHANGED, Curriculum, Floats, Ints, Score, State
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence, needs
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings, level_replay
from waker.curriculum.registry import register_curriculum
from waker.curriculum.scores.novelty import FIELDS, FOLDED, StateName, folded, met, spaced
from waker.settings import Count, Several, Share
from waker_envs.api import ThetaSpace


@dataclass(frozen=True)
class DiplrSettings(LevelReplaySettings, section="curriculum.diplr"):
    """Numbers of DIPLR; those of level replay. ``score``, ``credit`` and ``alpha`` are not used."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"score", "credit", "alpha"})
    state: StateName = "latent"
    """What x_t is of: the model's state, which moves as it learns, or what was observed, which does not."""
    fill: Share = 0.0
    memory: Several = 128
    """θ whose newest episode is kept; the others have no score."""
    steps: Count = 32
    """Steps of an episode, evenly spaced."""
    directions: Count = 64
    """Of the sliced distance."""


def quantiles(features: Floats, steps: int, directions: Floats) -> Floats:
    """Sorted projections of evenly spaced rows: (T, F) features, (F, P) directions → (P, steps)."""
    return np.sort((spaced(features, steps) @ directions).T, axis=1)


def distance(one: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]) -> Floats:
    """Mean over directions of W1: (P, n) sorted against (m, P, n) → (m,)."""
    return np.asarray(abs(others - one).mean((1, 2)))


class Diversity(Score):
    """Distance to the nearest other θ in the memory.

    Args:
        n_theta: M.
        settings: its numbers.
    """

    def __init__(self, n_theta: int, settings: DiplrSettings) -> None:
        self.settings, self.needs = settings, needs(episode={FIELDS[settings.state]})
        draws = np.random.default_rng(0).normal(size=(FOLDED, settings.directions))
        self._directions = draws / np.linalg.norm(draws, axis=0)
        m = settings.memory
        self._ids: Ints = np.full(m, -1)
        self._when: Ints = np.zeros(m, np.int64)
        self._sorted = np.zeros((m, settings.directions, settings.steps), np.float32)
        self._distances: Floats = np.full((m, m), np.inf)
        self._episodes = 0
        self._scores: Floats = np.full(n_theta, np.nan)

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints:
        """Keep the episode in place of the θ's earlier one, of a free place, or of the θ visited longest ago."""
        features = met(evidence, self.settings.state)
        if features is None:
            return UNCHANGED
        known = np.flatnonzero(self._ids == evidence.theta_id)
        at = int(known[0]) if len(known) else int(np.argmin(np.where(self._ids < 0, -1, self._when)))
        self._episodes += 1
        gone, self._ids[at], self._when[at] = int(self._ids[at]), evidence.theta_id, self._episodes
        self._sorted[at] = quantiles(folded(features), self.settings.steps, self._directions)
        here = np.flatnonzero(self._ids >= 0)
        d = np.full(len(self._ids), np.inf)
        d[here] = distance(self._sorted[at], self._sorted[: here[-1] + 1])[here]
        d[at] = np.inf
        self._distances[at] = self._distances[:, at] = d
        if gone >= 0:
            self._scores[gone] = np.nan
        self._look()
        return np.unique([*self._ids[here], gone] if gone >= 0 else self._ids[here])

    def _look(self) -> None:
        """Score the θ of the memory; none while there is only one."""
        here = self._ids >= 0
        nearest = self._distances.min(1)[here]
        self._scores[self._ids[here]] = np.where(np.isfinite(nearest), nearest, np.nan)

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self._scores[theta_id]

    def values(self) -> Floats:
        """Shape (M,)."""
        return self._scores.copy()

    def state_dict(self) -> State:
        """The memory; distances and scores follow from it."""
        own: State = {"ids": self._ids.copy(), "when": self._when.copy(), "sorted": self._sorted.copy()}
        return own | {"distances": self._distances.copy(), "episodes": self._episodes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self._ids, self._when = np.array(state["ids"], np.int64), np.array(state["when"], np.int64)
        self._sorted = np.array(state["sorted"], np.float32)
        self._distances = np.array(state["distances"], np.float64)
        self._episodes = int(state["episodes"])
        self._scores[:] = np.nan
        self._look()


@register_curriculum("diplr", DiplrSettings)
def make_diplr(
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int,
    settings: DiplrSettings,
) -> Curriculum:
    """Level replay by diversity of what is met."""
    return level_replay(
        "diplr", space, config, rng, samples_per_update, settings,
        lambda points, decay: Diversity(points.size, settings),
    )  # fmt: skip
