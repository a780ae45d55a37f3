"""Parameterised environments for reward-free curricula; usable from any gymnasium code, without torch.

Examples:
    >>> import gymnasium, waker_envs
    >>> env = gymnasium.make("waker/GridHazards-v0", task="green")
    >>> observation, info = env.reset(seed=0, options={"theta": [5, 0.2, 0.1]})
"""

from waker_envs.api import (
    BoxThetaSpace,
    FiniteThetaSpace,
    Parameter,
    ParametricEnv,
    Suite,
    ThetaError,
    ThetaSpace,
    Transition,
    UnknownTaskError,
)
from waker_envs.checker import EnvCheckError, check_parametric_env
from waker_envs.registry import (
    UnknownEnvError,
    gym_id,
    load_entry_points,
    make,
    register_built_in,
    register_family,
    registered_ids,
    resolve_id,
)
from waker_envs.successors import Successors
from waker_envs.tabular import TabularMDP

__all__ = [
    "BoxThetaSpace",
    "EnvCheckError",
    "FiniteThetaSpace",
    "Parameter",
    "ParametricEnv",
    "Successors",
    "Suite",
    "TabularMDP",
    "ThetaError",
    "ThetaSpace",
    "Transition",
    "UnknownEnvError",
    "UnknownTaskError",
    "check_parametric_env",
    "gym_id",
    "make",
    "register_family",
    "registered_ids",
    "resolve_id",
]

register_built_in()
load_entry_points()
