"""Settings that must go together, whoever made the configuration: the command line or a script.

Called by :mod:`waker.cli.settings` and :func:`waker.training.build.train_run`. What one section alone decides is
checked when it is made (:mod:`waker.settings`).
"""

from __future__ import annotations

from waker.config.schema import Config
from waker.curriculum.registry import curriculum_names
from waker.errors import UserError, unknown
from waker_envs.file_source import is_source


def check(config: Config) -> None:
    """Check names and numbers that depend on each other.

    Raises:
        UserError: a sampler that does not exist, or a replay or prefill that cannot hold a first batch.
    """
    sampler = config.curriculum.sampler
    if not is_source(sampler) and not sampler.endswith(".py") and sampler not in curriculum_names():
        raise unknown("sampler", sampler, curriculum_names())
    train = config.train
    needed = train.envs * train.length
    if train.replay < needed:
        raise UserError(
            f"train.replay = {train.replay} holds fewer than {train.length} steps for each of {train.envs} slots; "
            f"give at least {needed}"
        )
    if train.prefill < needed:
        raise UserError(
            f"train.prefill = {train.prefill} leaves fewer than {train.length} steps in each of {train.envs} slots for "
            f"the first batch; give at least {needed}"
        )
