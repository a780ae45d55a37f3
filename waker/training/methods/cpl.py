"""``cpl``: contrastive preference learning, and DPO for pairs that share their start; no reward between them."""

from __future__ import annotations

from typing import Any

from waker.agent.contrastive_policy import ContrastivePolicy, ContrastiveSettings
from waker.training.adapt_direct import DirectAdaptation, DirectMethod
from waker.training.preference_methods import register_method


class ContrastiveAdaptation(DirectAdaptation):
    """A policy being trained on pairs."""

    def _teach(self, policy: Any) -> None:
        length = self.loaded.config.train.length
        policy.teach(self.asked, self.lesson.answers, self.lesson.settings.error, length)
        shared = int(policy.shared.sum())
        if shared:
            self.progress.note(f"{shared} of {len(policy.shared)} pairs are learned by DPO, the others by CPL")


@register_method("cpl")
class Contrastive(DirectMethod):
    """See :mod:`waker.agent.contrastive_policy`."""

    Own = ContrastiveSettings
    Policy = ContrastivePolicy
    Training = ContrastiveAdaptation
    judged = False
