"""Held-out scores that are used only once enough θ have one; of ``heldout-loss`` and ``learning-progress``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from waker.curriculum.api import Floats, Ints
from waker.curriculum.evidence import EpisodeEvidence
from waker.curriculum.scores.credited import Credited, Mode
from waker.curriculum.scores.quantities import Quantity
from waker_envs.api import FiniteThetaSpace


class Filled(Credited):
    """:class:`Credited` that in mode ``heldout`` has no scores at all before enough θ have one.

    The first θ with a score would else get all but DR's share of the episodes, its own held-out ones included. Then θ
    of DR that are still without one take the mean of the others (ours; elsewhere only DR draws such θ, but here they
    wait for a rare kind of episode). In other modes it is :class:`Credited`.

    Args:
        space: whose θ are scored.
        quantity, mode: of :class:`Credited`, as all further numbers are.
        fill: the share of the θ that DR draws.
    """

    def __init__(
        self, space: FiniteThetaSpace, quantity: Quantity, mode: Mode, *, fill: float = 0.5, **numbers: Any
    ) -> None:
        super().__init__(space.size, quantity, mode, **numbers)
        self._common, self._fill = space.weights > 0, fill
        self._missing, self._commonly = space.size, int(np.count_nonzero(self._common))
        self._scored = 0  # of those that DR draws

    @property
    def filled(self) -> bool:
        """Whether enough θ have a score."""
        return self._scored >= self._fill * self._commonly

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """A measurement; while some θ take the mean, all of those change with it."""
        if self.mode != "heldout":
            return super().learn_episode(evidence)
        theta_id, alone = evidence.theta_id, self.filled and not self._missing
        unknown = bool(np.isnan(self.score[theta_id]))
        changed = super().learn_episode(evidence)
        if unknown and not np.isnan(self.score[theta_id]):
            self._missing -= 1
            self._scored += int(self._common[theta_id])
        return changed if alone or changed is None or not len(changed) else None

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self.values()[theta_id] if self.mode == "heldout" else super().at(theta_id)

    def values(self) -> Floats:
        """Shape (M,)."""
        if self.mode != "heldout":
            return super().values()
        if not self.filled or self._missing == len(self.score):
            return np.full(len(self.score), np.nan)
        return np.where(self._common & np.isnan(self.score), np.nanmean(self.score), self.score)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore scores; who has one is counted anew."""
        super().load_state_dict(state)
        known = ~np.isnan(self.score)
        self._missing, self._scored = int((~known).sum()), int((known & self._common).sum())
