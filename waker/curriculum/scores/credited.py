"""Crediting: from one number per start state or per episode to one score per θ, in four modes.

Every rule that scores θ by what the learner measured is a ``Quantity``
(:mod:`waker.curriculum.scores.quantities`) in a mode:

``imagined``
    the start states of every update, as the running average that WAKER keeps: e ← γ·e + (1−γ)·x per start state, in
    batch order, the first sets it. All replayed θ stay fresh.
``imagined-last``
    the mean over the θ's start states in the newest update that has any.
``episode``
    the episode just collected in θ, whether it is trained on or staged: the timing of level replay. A score changes
    only when θ is visited.
``heldout``
    episodes kept out of training, the last ``ring`` of each θ: the mean over them in a round, in which the present
    model measures all of them.

The modes are ours; the published rules have ``episode`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from waker.curriculum.api import UNCHANGED, Floats, Ints, Score, State
from waker.curriculum.evidence import EpisodeEvidence, EpisodeKind, Evidence, needs
from waker.curriculum.scores.batches import means_of
from waker.curriculum.scores.error_estimate import credit
from waker.curriculum.scores.quantities import Quantity
from waker.curriculum.state import part, with_prefix
from waker.errors import UserError

Mode = Literal["imagined", "imagined-last", "episode", "heldout"]
MODES: tuple[Mode, ...] = ("imagined", "imagined-last", "episode", "heldout")


class Credited(Score):
    """A quantity, credited to θ.

    A number that is not finite is never taken: neither NaN (a level without a finished episode) nor −∞ may be chosen or
    evict another.

    Args:
        n_theta: M.
        quantity: what is credited.
        mode: see the module.
        decay: γ of ``imagined``, per start state; one for all or each θ's own, (M,).
        alpha: in the other modes S ← (1 − α)·S + α·s; 1 overwrites, as published.
        ring: episodes of a θ that are stored and averaged, in mode ``heldout``.
        heldout: share of episodes kept out of training, in mode ``heldout``.
        heldout_every: agent steps between two rounds.
    """

    def __init__(
        self,
        n_theta: int,
        quantity: Quantity,
        mode: Mode = "episode",
        *,
        decay: float | Floats = 0.9999,
        alpha: float = 1.0,
        ring: int = 4,
        heldout: float = 0.05,
        heldout_every: int = 10_000,
    ) -> None:
        self.quantity, self.mode, self.decay, self.alpha = quantity, mode, decay, alpha
        self.score: Floats = np.full(n_theta, np.nan)
        self._imagines = mode in ("imagined", "imagined-last")
        self._round: Floats = np.zeros((2, n_theta if mode == "heldout" else 0))  # Σ and number in this round
        if self._imagines:
            self.needs = needs(update=quantity.update)
        elif mode == "heldout":
            kinds: frozenset[EpisodeKind] = frozenset({"heldout"})
            numbers: dict[str, Any] = {"heldout": heldout, "heldout_every": heldout_every, "heldout_each": ring}
            self.needs = needs(episode=quantity.episode, kinds=kinds, **numbers)
        else:
            self.needs = needs(episode=quantity.episode)

    def learn(self, evidence: Evidence) -> Ints:
        """Credit an update's start states."""
        if not self._imagines:
            return UNCHANGED
        x, ids = self.quantity.of_update(evidence), evidence.theta_id
        keep = (ids >= 0) & np.isfinite(x)
        if not keep.all():
            x, ids = x[keep], ids[keep]
        if self.mode == "imagined":
            changed, fresh, _ = credit(self.score, ids, x, self.decay)
            self.score[changed] = fresh
            return changed
        changed, means = means_of(ids, x)
        return self.take(changed, means)

    def learn_episode(self, evidence: EpisodeEvidence) -> Ints | None:
        """Credit an episode; a held-out one when the last of its θ in a round is there."""
        if self._imagines or (evidence.kind == "heldout") != (self.mode == "heldout"):
            return UNCHANGED
        value, theta_id = self.quantity.of_episode(evidence), evidence.theta_id
        if self.mode == "heldout":
            if np.isfinite(value):
                self._round[:, theta_id] += (value, 1.0)
            if evidence.left > 0:
                return UNCHANGED
            total, count = self._round[:, theta_id]
            self._round[:, theta_id] = 0.0
            value = total / count if count else np.nan
        if not np.isfinite(value):
            return UNCHANGED
        return self.take(np.array([theta_id]), np.array([value]))

    def take(self, ids: Ints, values: Floats) -> Ints:
        """New values (n,) of different θ (n,), one visit of each; returns those whose scores have changed."""
        old = self.score[ids]
        self.score[ids] = np.where(np.isnan(old), values, (1.0 - self.alpha) * old + self.alpha * values)
        return ids

    def at(self, theta_id: Ints) -> Floats:
        """Of these θ."""
        return self.score[theta_id]

    def values(self) -> Floats:
        """Shape (M,)."""
        return self.score.copy()

    def state_dict(self) -> State:
        """Scores, sums of a round under way, and the quantity's own memory."""
        own: State = {"score": self.score.copy()}
        if self.mode == "heldout":
            own["round"] = self._round.copy()
        return own | with_prefix("quantity", self.quantity.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.score = np.array(state["score"], np.float64)
        if self.mode == "heldout":
            self._round = np.array(state["round"], np.float64)
        self.quantity.load_state_dict(part("quantity", state))


def check_mode(sampler: str, mode: str, *allowed: Mode) -> None:
    """Refuse a crediting mode that a rule cannot have.

    Raises:
        UserError: it is not among ``allowed`` (default: all).
    """
    valid = allowed or MODES
    if mode not in valid:
        raise UserError(f"sampler {sampler!r} has credit = {mode!r}; it must be {' or '.join(valid)}")
