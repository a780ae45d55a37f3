"""WAKER: reward-free curricula for robust world models.

The package holds the learner and the curriculum; the environments live in :mod:`waker_envs`, which can be used
without this package and without torch. Importing ``waker`` imports nothing heavy: take what you need from its modules.
"""

__version__ = "0.1.0"
