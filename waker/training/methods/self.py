"""``self``: rollouts in imagination, the best against the worst of each start state, in rounds; a head judges."""

from __future__ import annotations

from waker.agent.self_policy import SelfPolicy, SelfSettings
from waker.training.adapt_direct import DirectMethod, GrowingAdaptation
from waker.training.preference_methods import register_method


@register_method("self")
class SelfRewarding(DirectMethod):
    """See :mod:`waker.agent.self_policy`."""

    Own = SelfSettings
    Policy = SelfPolicy
    Training = GrowingAdaptation
