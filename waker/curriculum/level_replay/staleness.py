"""Staleness of level replay: how many draws ago each θ was last drawn, and draws in proportion to it.

Used by :class:`waker.curriculum.level_replay.table.LevelReplay`. Every draw of any θ adds 1 to every age and zeroes the
drawn one's, within a call of several draws, too; a θ that gets its first score enters with age 0. (minimax lets the
slot of a new level keep the age of the one it replaces.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Ints, State
from waker.curriculum.priorities.draws import find
from waker.curriculum.priorities.rules import Groups, each_domain_alike


class Staleness:
    """P_C(θ) ∝ age over the θ that have been seen; uniform over them where all ages are 0.

    Blocks of about √M θ of one domain keep how many are seen and the sum of when they were last drawn, so that a draw
    and a change cost O(√M) whatever the ages are. All numbers are integers: nothing drifts.

    Args:
        size: M.
        groups: the domain of each θ, (M,); each domain with a seen θ has the same share.
        among: which θ are counted, (M,); None = all.

    Attributes:
        counted: how many of those have been seen.
    """

    def __init__(self, size: int, groups: Groups = None, among: NDArray[np.bool_] | None = None) -> None:
        self._among = np.ones(size, np.bool_) if among is None else among
        self.counted = 0
        self.clock = 0
        self.last: Ints = np.zeros(size, np.int64)
        self.seen = np.zeros(size, np.bool_)
        self._groups = groups
        width = max(1, math.isqrt(size))
        domain = np.zeros(size, np.int64) if groups is None else np.asarray(groups, np.int64)
        order = np.argsort(domain, kind="stable")
        within = np.arange(size) - np.searchsorted(domain[order], domain[order], "left")
        key = domain[order] * (size + 1) + within // width
        self._block: Ints = np.zeros(size, np.int64)  # of each θ
        names, self._block[order] = np.unique(key, return_inverse=True)
        self._members = np.split(order, np.searchsorted(key, names)[1:])
        self._domain = np.array([domain[members[0]] for members in self._members])  # of each block
        self._counts, self._sums = np.zeros((2, len(names)), np.int64)

    def mark(self, ids: Ints, seen: Any) -> None:
        """Say of different θ (n,) whether they have a score, (n,) booleans."""
        moved = self.seen[ids] != seen
        if not moved.any():
            return
        ids, sign = ids[moved], np.where(self.seen[ids[moved]], -1, 1)
        self.last[ids] = np.where(sign > 0, self.clock, self.last[ids])
        self.seen[ids] = sign > 0
        self.counted += int(sign[self._among[ids]].sum())
        np.add.at(self._counts, self._block[ids], sign)
        np.add.at(self._sums, self._block[ids], sign * self.last[ids])

    def drawn(self, theta_id: int) -> None:
        """A θ has been drawn, in whatever way."""
        self.clock += 1
        if self.seen[theta_id]:
            self._sums[self._block[theta_id]] += self.clock - self.last[theta_id]
        self.last[theta_id] = self.clock

    def ages(self) -> Ints:
        """Draws since each θ was last drawn, (M,); of those not seen it has no meaning."""
        return self.clock - self.last

    def distribution(self) -> Floats | None:
        """P_C, (M,); None where no θ has been seen."""
        ages = np.where(self.seen, self.ages(), 0)
        domain = np.zeros(len(ages), np.int64) if self._groups is None else self._groups
        fresh = np.bincount(domain, weights=ages) == 0
        return each_domain_alike(np.where(fresh[domain], self.seen, ages).astype(np.float64), self._groups)

    def draw(self, rng: np.random.Generator) -> int:
        """One θ from :meth:`distribution`; only where some has been seen. It is not yet counted as drawn."""
        counts = self._counts
        present = np.unique(self._domain[counts > 0])
        at = present[int(rng.random() * len(present))] if len(present) > 1 else present[0]
        here = self._domain == at
        weights = np.where(here, counts * self.clock - self._sums, 0)
        aged = bool(weights.any())
        block = find((weights if aged else np.where(here, counts, 0)).cumsum(), rng)
        members = self._members[block]
        ages = self.clock - self.last[members] if aged else 1
        return int(members[find((self.seen[members] * ages).cumsum(), rng)])

    def state_dict(self) -> State:
        """The clock, when each θ was last drawn, and which have been seen."""
        return {"clock": self.clock, "last": self.last.copy(), "seen": self.seen.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.clock = int(state["clock"])
        self.last, self.seen = np.array(state["last"], np.int64), np.array(state["seen"], np.bool_)
        self.counted = int(np.count_nonzero(self.seen & self._among))
        self._counts = np.bincount(self._block, weights=self.seen, minlength=len(self._counts)).astype(np.int64)
        self._sums = np.bincount(self._block, weights=self.seen * self.last, minlength=len(self._counts))
        self._sums = self._sums.astype(np.int64)
