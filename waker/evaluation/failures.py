"""What an evaluation says when an environment fails: one line that reproduces it.

Called by :mod:`waker.evaluation.rollouts` and :mod:`waker.evaluation.trajectories`; what an environment returns is
checked as strictly as while training (:mod:`waker.collection.slot`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from waker.collection.slot import fault_of
from waker.errors import UserError
from waker.evaluation.plan import Episode
from waker.specs import EnvSpec
from waker_envs.foreign import foreign


def guarded(spec: EnvSpec, episode: Episode, actions: Sequence[NDArray[np.float32]]) -> foreign:
    """A block that calls an environment in an episode; see :func:`failed` for the arguments."""

    def what() -> str:
        where = f"step {len(actions)}" if actions else "the reset"
        return f"{where} of {spec.env_id}, an evaluation's episode of seed {episode.seed}, θ = {episode.theta.tolist()}"

    return foreign(what, lambda error: failed(spec, episode, actions, error))


def failed(spec: EnvSpec, episode: Episode, actions: Sequence[NDArray[np.float32]], error: BaseException) -> UserError:
    """The error to raise: what happened, and the constructor's arguments, reset and actions that lead there.

    Args:
        spec, episode: whose they are.
        actions: the agent's vectors (A,) since the reset; the last one failed, none if the reset did.
        error: what the environment or a check of it raised.
    """
    given = dict(episode.env_kwargs)
    made = f" made with {given}" if given else ""
    where = f"at step {len(actions)}" if actions else "at reset"
    taken = [np.asarray(spec.action.to_env(action)).tolist() for action in actions]
    return UserError(
        f"environment {spec.env_id}{made} failed in evaluation {where} of an episode: {fault_of(error)}; "
        f"reproduce it with reset(seed={episode.seed}, options={{'theta': {episode.theta.tolist()}}}) and "
        + (f"the actions {taken}" if taken else "no action")
    )
