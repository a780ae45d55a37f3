"""Self-rewarding rounds in imagination (Yuan et al. 2024, arXiv 2401.10020), a learned head for a judge.

Each round the policy acts in the world model, several times from each start state; the judge scores the rollouts; the
best and the worst of a start are a pair, dropped where they are equal; and some updates of DPO follow, against the
policy as it was when the round began. Rounds are short, with fresh pairs: many updates on few pairs destroy a policy
even when the judge is right. Where the source has the policy judge itself, and another judge say when to stop, the
judge here is the head that was fitted to the answers, and the number of rounds is given. Used by ``waker adapt --method
self``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from waker.agent.direct_policy import DirectSettings, log_probs
from waker.agent.growing_policy import GrowingPolicy, GrowingSettings
from waker.agent.grown import Grown
from waker.behaviour.contrastive import dpo_loss, segment_score
from waker.behaviour.filtering import best_and_worst
from waker.settings import Count, Positive, Settings


@dataclass(frozen=True)
class SelfSettings(GrowingSettings, DirectSettings, Settings, section="method.self"):
    """Self-rewarding rounds."""

    rounds: Count = 10
    """Rounds."""
    candidates: Count = 8
    """Rollouts from each start state."""
    steps: Count = 20
    """Updates of a round."""
    beta: Positive = 0.1
    """β of DPO: how much a policy is held to that of the round before."""

    @property
    def per_round(self) -> int:
        """Updates of a round."""
        return self.steps


class SelfPolicy(GrowingPolicy):
    """A policy that learns from the best and the worst of its own rollouts."""

    settings: SelfSettings

    def _improve(self, grown: Grown, number: int) -> dict[str, Tensor]:
        best, worst, differ = best_and_worst(grown.score, self.settings.margin)
        found = {"kept_share": differ.float().mean()}
        start = differ.nonzero().squeeze(1)
        if not len(start):
            return found
        drawn = torch.from_numpy(self._rng(number, 1).integers(len(start), size=self.settings.batch))
        at = start[drawn.to(start.device)]
        gap = self._ratio(grown, at, best[at]) - self._ratio(grown, at, worst[at])
        loss = dpo_loss(self.settings.beta * gap, torch.ones_like(gap)).mean()
        self.optimizer.descend(loss)
        return {**found, "preference_loss": loss, "preference_accuracy": (gap > 0).float().mean()}

    def _ratio(self, grown: Grown, start: Tensor, candidate: Tensor) -> Tensor:
        """Σ log(π/π_ref) of a candidate of each start, steps by the probability that they are made, (n,)."""
        feature, action, alive = (x[start, candidate] for x in grown[:3])
        with self.precision():
            own = log_probs(self.policies, feature, action)
            with torch.no_grad():
                of_reference = log_probs(self.reference, feature, action)
        return segment_score(own - of_reference, alive)
