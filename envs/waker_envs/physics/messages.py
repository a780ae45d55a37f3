"""MuJoCo's warnings go to Python's ``logging``; left alone it writes them to a file in whatever folder one is in.

Called by :mod:`waker_envs.physics.simulator`.
"""

from __future__ import annotations

import logging

import mujoco

_LOGGER = logging.getLogger("waker_envs.physics")


def to_logging() -> None:
    """Send MuJoCo's warnings to the logger ``waker_envs.physics``, unless the program has a handler of its own."""
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_LOGGER.warning)
