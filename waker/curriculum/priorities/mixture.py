"""The mixture: how much of the next θ is the priority's choice, how much is staleness, how much is DR.

Used by :class:`waker.curriculum.composed.ComposedCurriculum`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from waker.curriculum.api import Floats, Ints
from waker.curriculum.priorities.rules import Groups, each_domain_alike


@dataclass(frozen=True)
class Mixture:
    """q = dr·w + (1 − dr)·((1 − ρ)·p + ρ·p_stale), w the DR distribution and p the priority's.

    Attributes:
        dr: share of domain randomisation.
        staleness: ρ of level replay (PLR, Jiang et al. 2021, arXiv 2010.03934): p_stale ∝ the number of
            episodes since a θ was last sampled, over the θ that the priority may choose.
        groups: the domain of each θ, (M,); p_stale then gives each domain the same share. None = one domain.
    """

    dr: float = 0.2
    staleness: float = 0.0
    groups: Groups = field(default=None, compare=False)

    def mix(self, target: Floats | None, weights: Floats, age: Ints) -> Floats:
        """The distribution of the next θ.

        Args:
            target: p, shape (M,), or None where no θ has a score yet: the answer is then w.
            weights: w, shape (M,), sum 1.
            age: episodes since each θ was last sampled, shape (M,), ≥ 0.

        Returns:
            q, shape (M,), sum 1.
        """
        if target is None:
            return weights.copy()
        if self.staleness > 0:
            stale = each_domain_alike(np.where(target > 0, age, 0).astype(np.float64), self.groups)
            if stale is not None:
                target = (1.0 - self.staleness) * target + self.staleness * stale
        q = self.dr * weights + (1.0 - self.dr) * target
        return np.asarray(q / q.sum())

    def chooses_dr(self, rng: np.random.Generator) -> bool:
        """For a draw in two steps: whether it comes from w and not from the target (without staleness)."""
        return bool(rng.random() < self.dr)
