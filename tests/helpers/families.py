"""Families of test environments, from their factories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from waker.collection.family import Family
from waker.collection.spec_of import spec_of
from waker_envs.api import ThetaSpace
from waker_envs.testing import HardTheta


def family_of(make: Callable[..., Any], **changes: Any) -> Family:
    """The family that a factory makes; ``changes`` go to its spec."""
    env = make()
    return Family(make, replace(spec_of(env), **changes), env.theta_space)


def family_over(space: ThetaSpace) -> Family:
    """A family with another θ space than its environments', for what only looks at the space."""
    return replace(family_of(HardTheta), space=space)
