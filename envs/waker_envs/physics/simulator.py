"""The ``mujoco`` module, for every module that simulates: ``from waker_envs.physics.simulator import mujoco``.

Imported here so that it works without a screen, and so that its warnings go to ``logging``.
"""

from __future__ import annotations

import os

from waker_envs.physics import gl

# With MUJOCO_GL=osmesa (or egl) and no such library MuJoCo cannot even be imported; without pictures it is not needed.
_hidden = None if gl.importable() else os.environ.pop("MUJOCO_GL")

import mujoco  # noqa: E402

if _hidden is not None:
    os.environ["MUJOCO_GL"] = _hidden

from waker_envs.physics.messages import to_logging  # noqa: E402

to_logging()

__all__ = ["mujoco"]
