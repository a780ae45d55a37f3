"""ReST in imagination (Gulcehre et al. 2023, arXiv 2308.08998): grow rollouts, keep the best of each start, clone them.

Grow: the present policy acts in the world model, several times from each start state, and a learned head scores what
comes of it. Improve, a few times with rising thresholds and falling learning rates: −log π of the rollouts above the
threshold *of their start*. Then it grows anew. No critic, and no gradient through the model. Where steps are random the
luckiest rollouts are kept, not the best actions: the authors' own warning. Unlike theirs, what is grown is not mixed
with the data that was there before. Used by ``waker adapt --method rest``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from waker.agent.direct_policy import DirectSettings, log_probs
from waker.agent.growing_policy import GrowingPolicy, GrowingSettings
from waker.agent.grown import Grown
from waker.behaviour.filtering import Threshold, kept
from waker.errors import UserError
from waker.settings import Count, Settings, Share

Levels = tuple[Annotated[float, Interval(ge=0, le=100)], ...]


@dataclass(frozen=True)
class RestSettings(GrowingSettings, DirectSettings, Settings, section="method.rest"):
    """ReST."""

    rounds: Count = 8
    """Grows."""
    candidates: Count = 32
    """Rollouts from each start state."""
    threshold: Threshold = "percentile"
    """What is kept: rollouts above a percentile of their start's; above γ·max + (1 − γ)·mean of them (interpolated); or
    above a share of the way from the worst to the best of *all* (global), which keeps lucky starts."""
    levels: Levels = (70.0, 80.0, 90.0)
    """One for each improvement of a round: percentiles; γ or shares in [0, 1] for the other two."""
    steps: Count = 100
    """Updates of an improvement."""
    lower: Share = 0.5
    """What the learning rate is multiplied by from one improvement of a round to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels or (self.threshold != "percentile" and max(self.levels) > 1.0):
            raise UserError(
                "method.rest.levels: one number at least for each improvement of a round, percentiles up to 100, or "
                "shares up to 1 for the thresholds interpolated and global"
            )

    @property
    def per_round(self) -> int:
        """Updates of a round."""
        return self.steps * len(self.levels)


class RestPolicy(GrowingPolicy):
    """A policy that clones its own best rollouts."""

    settings: RestSettings

    def _rate(self, updates: int) -> float:
        c = self.settings
        improvement = max(0, updates - c.clone) % c.per_round // c.steps
        return float(c.lr * c.lower**improvement)

    def _improve(self, grown: Grown, number: int) -> dict[str, Tensor]:
        c, within = self.settings, number % self.settings.per_round
        if within and within % c.steps == 0:  # the reference stays what was grown from
            self.optimizer = self._optimizer()
        chosen = kept(grown.score, c.threshold, c.levels[within // c.steps], c.margin)
        found = {"kept_share": chosen.float().mean()}
        index = chosen.flatten().nonzero().squeeze(1)
        if not len(index):  # nothing earned more than anything else: nothing to learn
            return found
        drawn = torch.from_numpy(self._rng(number, 1).integers(len(index), size=c.batch)).to(index.device)
        at = index[drawn]
        feature, action, alive = (x.flatten(0, 1)[at] for x in grown[:3])
        with self.precision():
            likely = log_probs(self.policies, feature, action)
            loss = -(likely * alive).sum() / alive.sum().clamp_min(1e-6)
        self.optimizer.descend(loss)
        return {**found, "cloning_loss": loss}
