"""What a run's plug-ins are set to, defaults included: ``own`` in ``config.yaml``, for those who compare runs later.

The settings themselves hold only what differs from a plug-in's defaults, so that a default that is spelled out is the
same run; and a plug-in may be gone, or have other defaults, when its runs are compared.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from waker.config.saved import plain
from waker.config.schema import Config
from waker.curriculum.registry import curriculum_settings
from waker.exploration.registry import explorer_class
from waker.settings import from_plain
from waker_envs.registry import gym_id

_NO_SETTING = ("task", "render_mode")
"""Constructor arguments of every environment that say nothing of what it is."""


def own_settings(config: Config) -> dict[str, dict[str, Any]]:
    """The settings in force of the sampler (``curriculum``), the explorer (``explorer``) and the environment
    (``env_kwargs``), by name; those without any are left out.

    Raises:
        UserError: an unknown sampler or explorer, or settings that it does not have.
        UnknownEnvError: no such environment.
    """
    sampler = curriculum_settings(config.curriculum.sampler)
    explorer = explorer_class(config.explorer.name).Own
    found = {
        "curriculum": plain(from_plain(sampler, config.curriculum.settings)) if sampler else {},
        "explorer": plain(from_plain(explorer, config.explorer.settings)),
        "env_kwargs": {**_constructor_defaults(config.env), **config.env_kwargs},
    }
    return {section: values for section, values in found.items() if values}


def _constructor_defaults(env_id: str) -> dict[str, Any]:
    """The arguments of an environment's constructor whose defaults are plain values."""
    spec = gym.registry[gym_id(env_id)]
    entry = spec.entry_point
    creator: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    try:
        arguments = inspect.signature(creator).parameters
    except (TypeError, ValueError):  # of a callable that does not say
        return {}
    usual = {name: argument.default for name, argument in arguments.items()} | dict(spec.kwargs)
    return {name: value for name, value in usual.items() if name not in _NO_SETTING and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)
