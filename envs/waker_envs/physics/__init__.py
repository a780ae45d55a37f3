"""What all MuJoCo families share: a working renderer, pictures, checked actions, MuJoCo's warnings to ``logging``."""

from waker_envs.physics.messages import to_logging

to_logging()
