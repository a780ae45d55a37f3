"""``rest``: rollouts in imagination, the best of each start state cloned, in rounds; a head judges."""

from __future__ import annotations

from waker.agent.rest_policy import RestPolicy, RestSettings
from waker.training.adapt_direct import DirectMethod, GrowingAdaptation
from waker.training.preference_methods import register_method


@register_method("rest")
class Rest(DirectMethod):
    """See :mod:`waker.agent.rest_policy`."""

    Own = RestSettings
    Policy = RestPolicy
    Training = GrowingAdaptation
