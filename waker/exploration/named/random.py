"""Uniform random actions: the baseline that every exploration reward must beat."""

from __future__ import annotations

from waker.exploration.api import Explorer
from waker.exploration.registry import register_explorer


@register_explorer("random")
class Random(Explorer):
    """Learns nothing; what is imagined under it is still rewarded by the error estimate, for credit and metrics."""

    acts_at_random = True
