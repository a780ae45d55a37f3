"""The buffer of levels of published level replay: for continuous spaces, where there is no table of all θ.

Rules as in dcd, minimax and jaxued, with their known faults left out; each is a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from waker.curriculum.api import Floats, Priority, State
from waker.curriculum.boxes.kernel import regress
from waker.curriculum.priorities.draws import find
from waker_envs.api import Theta


class LevelBuffer:
    """At most ``capacity`` levels with scores and ages.

    P = (1−ρ)·P_S + ρ·P_C. A candidate takes a free place, or that of the level of *smallest P* (which a stale level is
    protected by, whatever its score) if its own score is at least that level's; it enters with age 0. The clock counts
    draws and insertion attempts, accepted or not (jaxued). Equal levels are one: a second insertion updates score and
    age. A score that is not finite is never inserted.

    Args:
        dim: D.
        capacity: at least 1.
        priority: scores → P_S.
        staleness: ρ.
        bandwidth: scores are smoothed over neighbours by a kernel of this width first (ours); 0 = not.
        scale: range of each coordinate, (D,), for the kernel.
    """

    def __init__(
        self,
        dim: int,
        capacity: int,
        priority: Priority,
        staleness: float,
        bandwidth: float = 0.0,
        scale: Floats | None = None,
    ) -> None:
        self.priority, self.staleness, self.bandwidth = priority, staleness, bandwidth
        self.scale = np.ones(dim) if scale is None else scale
        self.thetas: Floats = np.full((capacity, dim), np.nan)
        self.scores: Floats = np.full(capacity, np.nan)
        self.stamps = np.zeros(capacity, np.int64)
        self.clock, self.size = 0, 0
        self._slots: dict[bytes, int] = {}

    @property
    def filled(self) -> float:
        """Share of places that are taken."""
        return self.size / len(self.scores)

    def slot(self, theta: Theta) -> int:
        """The place of a level; −1: it is not here."""
        return self._slots.get(np.ascontiguousarray(theta, np.float64).tobytes(), -1)

    def distribution(self) -> Floats:
        """P over the levels, (size,); only where there are some."""
        scores = self.scores[: self.size]
        if self.bandwidth > 0:
            thetas = self.thetas[: self.size]
            scores = regress(thetas, thetas, scores, self.bandwidth, self.scale).mean
        target = self.priority.distribution(scores)
        assert target is not None, "every level has a score"
        ages = (self.clock - self.stamps[: self.size]).astype(np.float64)
        stale = ages / ages.sum() if ages.any() else np.full(self.size, 1.0 / self.size)
        return (1.0 - self.staleness) * target + self.staleness * stale

    def draw(self, rng: np.random.Generator) -> Theta:
        """A level by P, (D,); it is young again."""
        at = find(self.distribution().cumsum(), rng)
        self.touch(at)
        return self.thetas[at].copy()

    def touch(self, slot: int) -> None:
        """Count a level as drawn."""
        self.clock += 1
        self.stamps[slot] = self.clock

    def insert(self, theta: Theta, score: float) -> int:
        """Offer a level; its place, or −1 where it is refused."""
        self.clock += 1
        at = self.slot(theta)
        if not np.isfinite(score):
            return -1
        if at < 0:
            at = self._place(score)
            if at < 0:
                return -1
            if at < self.size:
                del self._slots[self.thetas[at].tobytes()]
            self.size = max(self.size, at + 1)
            self.thetas[at] = theta
            self._slots[self.thetas[at].tobytes()] = at
        self.scores[at], self.stamps[at] = score, self.clock
        return at

    def _place(self, score: float) -> int:
        if self.size < len(self.scores):
            return self.size
        weakest = int(np.argmin(self.distribution()))
        return weakest if score >= self.scores[weakest] else -1

    def state_dict(self) -> State:
        """Levels, scores, ages."""
        return {
            "thetas": self.thetas.copy(),
            "scores": self.scores.copy(),
            "stamps": self.stamps.copy(),
            "clock": self.clock,
            "size": self.size,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.thetas, self.scores = np.array(state["thetas"], np.float64), np.array(state["scores"], np.float64)
        self.stamps = np.array(state["stamps"], np.int64)
        self.clock, self.size = int(state["clock"]), int(state["size"])
        self._slots = {self.thetas[i].tobytes(): i for i in range(self.size)}
