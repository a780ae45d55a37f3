"""Which windows are trained on by how much they surprised, and how seldom they were seen: Curious Replay.

Kauvar et al., ICML 2023, arXiv 2306.15934: p_i = c·β^v_i + (|L_i| + ε)^α, with v_i how often step i has been trained on
and L_i the model's loss there when it last was; new steps have a p above all others; windows are drawn in proportion to
it, without importance weights; what is not drawn keeps the p it has. c = 1e4, β = .7, α = .7, ε = .01, new 1e5.

An item is the step that a window begins at (as in the authors' DreamerV2); all T steps of a window that has been drawn
are counted and get their own losses. v is counted before p is computed (as in their DreamerV3; in their DreamerV2
after). A step that is twice in a batch counts twice (numpy's ``v[i] += 1`` counts once), and keeps its last loss.

It chooses what is *trained on*, and a sampler of θ what is *collected*: ``dr`` with it is the control for whether data
or emphasis makes the difference. A θ's credit is then a mean over its surprising steps more than over others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waker.config.replay_choice import ReplayConfig
from waker.errors import UserError
from waker.replay.ring import Replay

Numbers = NDArray[np.float64]


class Drawn(NamedTuple):
    """Windows: their slots (B,) and first ticks (B,)."""

    slot: NDArray[np.int64]
    start: NDArray[np.int64]


class Curious:
    """Priorities of a replay's steps, kept up to date as it fills and as batches are trained on.

    Args:
        replay: whose windows are drawn.
        length: T.
        config: c, β, α, ε and the priority of new steps.
    """

    def __init__(self, replay: Replay, length: int, config: ReplayConfig) -> None:
        self.replay, self.length, self.config = replay, length, config
        self._priority: Numbers = np.zeros((replay.slots, replay.size))  # of each record of the ring
        self._visits: NDArray[np.int32] = np.zeros((replay.slots, replay.size), np.int32)
        self._known = 0  # ticks whose records have a priority
        self._drawn = Drawn(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def draw(self, rng: np.random.Generator, batch: int) -> Drawn:
        """B windows of T records, each in proportion to the priority of its first step, with replacement.

        Raises:
            UserError: no slot holds T records.
        """
        self._meet()
        mass = np.where(self._may_begin(), self._priority, 0.0)
        sums = mass.sum(1)
        if not sums.any():
            raise UserError(f"a window of {self.length} steps does not fit into what the replay holds")
        slots = _find(sums.cumsum(), rng.random(batch))
        within = np.empty(batch, np.int64)
        for slot in np.unique(slots):
            here = slots == slot
            within[here] = _find(mass[slot].cumsum(), rng.random(int(here.sum())))
        self._drawn = Drawn(slots, self._ticks()[within])
        return self._drawn

    def visited(self, losses: NDArray[Any]) -> None:
        """Take the model's losses (B, T) of the steps of the windows drawn last, of the weights before the update."""
        slot, start = self._drawn
        place = (start[:, None] + np.arange(self.length)) % self.replay.size  # (B, T)
        rows = np.broadcast_to(slot[:, None], place.shape)
        np.add.at(self._visits, (rows, place), 1)
        self._priority[rows, place] = priority(self._visits[rows, place], losses, self.config)

    def _ticks(self) -> NDArray[np.int64]:
        """The tick whose record lies at each place of the ring, (L,); that of places never filled has no meaning."""
        size, ticks = self.replay.size, self.replay.ticks
        place = np.arange(size)
        newest = ticks - 1 - (ticks - 1 - place) % size
        return np.asarray(newest)

    def _meet(self) -> None:
        """Give steps that have come since the last draw the priority of new ones."""
        first = max(self._known, self.replay.first)
        fresh = np.arange(first, self.replay.ticks) % self.replay.size
        self._priority[:, fresh], self._visits[:, fresh] = self.config.new_priority, 0
        self._known = self.replay.ticks

    def _may_begin(self) -> NDArray[np.bool_]:
        """Whether a window may begin at each place of the ring, (L,)."""
        ticks, found = self._ticks(), np.zeros(self.replay.size, np.bool_)
        for start, stop in self.replay.spans:
            found |= (ticks >= start) & (ticks + self.length <= stop)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Priorities and visits of the steps that the replay holds."""
        self._meet()
        at = np.arange(self.replay.first, self.replay.ticks) % self.replay.size
        return {"known": self._known, "priority": self._priority[:, at], "visits": self._visits[:, at]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, once the replay has been restored."""
        self._known = int(state["known"])
        priorities = np.asarray(state["priority"])
        at = np.arange(self._known - priorities.shape[1], self._known) % self.replay.size
        self._priority[:, at], self._visits[:, at] = priorities, np.asarray(state["visits"])


def priority(visits: NDArray[np.integer[Any]], losses: NDArray[Any], config: ReplayConfig) -> Numbers:
    """p of steps that have been trained on, of any shape; ``new_priority`` where visits are 0.

    A loss that is not finite counts as none: training has diverged, and says so itself.
    """
    size = np.nan_to_num(abs(np.asarray(losses, np.float64)), nan=0.0, posinf=0.0)
    counted = config.visit_weight * config.visit_decay ** np.asarray(visits, np.float64)
    found = counted + (size + config.loss_offset) ** config.loss_power
    return np.asarray(np.where(visits > 0, found, config.new_priority))


def _find(sums: Numbers, u: Numbers) -> NDArray[np.int64]:
    """Places by running sums (n,): of weights above 0 alone, for u (B,) uniform in [0, 1)."""
    places = sums.searchsorted(u * sums[-1], "right")
    last = int(sums.searchsorted(sums[-1], "left"))  # where the product was rounded up to the total
    return np.minimum(places, last)
