"""Contrastive preference learning: a policy from answers alone, with no reward and no imagination between them.

Pairs whose segments share their start are learned by DPO against the cloned policy, others by CPL
(:mod:`waker.behaviour.contrastive`). It sees nothing but the segments asked about: what lies between them, a head and
imagination find. Used by ``waker adapt --method cpl``.

Shapes: n pairs, S draws of latents, L steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from waker.agent.direct_policy import DirectPolicy, DirectSettings, log_probs
from waker.agent.segment_features import SegmentFeatures, drawn_features
from waker.behaviour.contrastive import cpl_loss, dpo_loss, ipo_loss, segment_score
from waker.preferences.segments import joined, shared_starts
from waker.preferences.table import Answers
from waker.replay.ring import Replay
from waker.settings import Count, NotNegative, Positive, Settings, Share


@dataclass(frozen=True)
class ContrastiveSettings(DirectSettings, Settings, section="method.cpl"):
    """Contrastive preference learning."""

    updates: Count = 2_000
    """Updates after the cloning."""
    alpha: Positive = 0.1
    """α (β of DPO): what log π counts, against how sure answers are."""
    bias: Share = 0.5
    """λ on the loser of a pair; below 1 both segments cannot become unlikely together."""
    gamma: Share = 1.0
    """A step that is k steps behind the segment's first counts γ^k."""
    reference: Literal["uniform", "cloned"] = "uniform"
    """What CPL compares π with: a uniform policy, that is nothing; or the cloned one, as DPO always does."""
    form: Literal["auto", "cpl", "dpo"] = "auto"
    """auto: DPO for pairs that share their start, CPL for others. cpl, dpo: one of them for all; DPO is then wrong for
    pairs that do not share it, and is there to be compared."""
    loss: Literal["sigmoid", "robust", "ipo"] = "sigmoid"
    """Of DPO. `sigmoid` (smoothed by --error: conservative), `robust` (unbiased under --error), `ipo` (a square)."""
    imitate: NotNegative = 0.0
    """Weight of −log π on segments that won, beside the loss (1 with --method.cpl.bias 1 is the authors' CPL-BC)."""
    draws: Count = 4
    """Latents drawn for each segment; fewer where they would take more than a gigabyte."""

    @property
    def total(self) -> int:
        """With the cloning."""
        return self.clone + self.updates


class ContrastivePolicy(DirectPolicy):
    """A policy that prefers what was preferred; :meth:`teach` gives it the pairs."""

    settings: ContrastiveSettings

    def teach(self, replay: Replay, answers: Answers, error: float, context: int) -> None:
        """Filter the pairs.

        Args:
            replay: that the segments lie in.
            answers: what was answered.
            error: share of answers taken to be a coin's: half of them are turned round. CPL's labels are smoothed by
                that half, as conservative DPO's are.
            context: records that the model sees before a segment, at most.
        """
        n = len(answers.label)
        both = joined(list(answers.pairs))
        drawn = drawn_features(self.model, replay, both, context, self.settings.draws, self.seed)
        self._sides = [[of.at(slice(start, start + n)) for of in drawn] for start in (0, n)]  # side, draw
        self._label = torch.tensor(answers.label, dtype=torch.float32, device=self.device)
        shared = shared_starts(replay, answers.pairs, context)
        form = self.settings.form
        self.shared = shared if form == "auto" else np.full(n, form == "dpo")
        self._shared = torch.from_numpy(self.shared).to(self.device)
        self._flips = error / 2.0

    def _learn(self, number: int) -> dict[str, Tensor]:
        if not number:
            self._stage()
        rng = self._rng(number)
        size, draw = min(self.settings.batch, len(self._label)), int(rng.integers(len(self._sides[0])))
        at = torch.from_numpy(rng.choice(len(self._label), size, replace=False)).to(self.device)
        found = self.losses([side[draw].at(at) for side in self._sides], self._label[at], self._shared[at])
        self.optimizer.descend(found["preference_loss"] + self.settings.imitate * found["imitation_loss"])
        return found

    def losses(self, sides: list[SegmentFeatures], label: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """Losses and accuracy of some pairs, 0-dim.

        Args:
            sides: both segments of each.
            label: (n,).
            shared: which are DPO's, (n,) bool.
        """
        with self.precision():
            own = [log_probs(self.policies, one.feature[:, :-1], one.action) for one in sides]
            with torch.no_grad():
                of_reference = [log_probs(self.reference, one.feature[:, :-1], one.action) for one in sides]
        c, inside = self.settings, [one.inside for one in sides]
        ratio = [x - y for x, y in zip(own, of_reference, strict=True)]
        score = [
            c.alpha * segment_score(x, i, c.gamma)
            for x, i in zip(own if c.reference == "uniform" else ratio, inside, strict=True)
        ]
        contrastive = cpl_loss(score[0], score[1], label, c.bias, self._flips)
        direct = self._direct(ratio, inside, label)
        won = torch.stack([label, 1.0 - label], 1)
        likely = torch.stack([segment_score(x, i) / i.sum(1) for x, i in zip(own, inside, strict=True)], 1)
        right = (((score[0] > score[1]) == (label > 0.5)) & (label != 0.5)).float().sum()
        return {
            "preference_loss": torch.where(shared, direct, contrastive).mean(),
            "imitation_loss": -(won * likely).sum(1).mean(),
            "preference_accuracy": right / (label != 0.5).float().sum().clamp_min(1.0),
        }

    def _direct(self, ratio: list[Tensor], inside: list[Tensor], label: Tensor) -> Tensor:
        c = self.settings
        if c.loss == "ipo":
            means = [segment_score(x, i) / i.sum(1) for x, i in zip(ratio, inside, strict=True)]
            return ipo_loss(means[0] - means[1], label, c.alpha)
        sums = [segment_score(x, i) for x, i in zip(ratio, inside, strict=True)]
        return dpo_loss(c.alpha * (sums[0] - sums[1]), label, self._flips, c.loss)
