"""Plan2Explore (Sekar et al. 2020, arXiv 2005.05960): go where one-step predictors of the next state disagree."""

from __future__ import annotations

from waker.exploration.api import Explorer
from waker.exploration.registry import register_explorer


@register_explorer("plan2explore")
class Plan2Explore(Explorer):
    """The disagreement of the error estimate's ensemble is the reward; ``explorer.target`` says of what."""
