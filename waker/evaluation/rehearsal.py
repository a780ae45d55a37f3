"""What only an evaluation would meet, tried once before a training begins: hours later it is too late.

Called by :func:`waker.training.build.train_run` for a new run. Suites are made, reset and stepped once, and the
family's exact methods are asked once.
"""

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any

import numpy as np

from waker.collection.make_env import close, made
from waker.collection.slot import checked_observation, checked_rewards
from waker.config.schema import EvalConfig
from waker.errors import UserError
from waker.evaluation.exact import Exact
from waker.evaluation.failures import guarded
from waker.evaluation.plan import Episode, plan_episodes
from waker.evaluation.rollouts import MakeEnv
from waker.names import DR_SUITE
from waker.specs import EnvSpec, completion_of
from waker_envs.api import ThetaSpace
from waker_envs.foreign import Told


def rehearse(make_env: MakeEnv, spec: EnvSpec, space: ThetaSpace, config: EvalConfig, seed: int = 0) -> None:
    """Try what an evaluation of this family will do.

    Exact methods that fail are told in a warning: all else can be measured without them.

    Raises:
        UserError: a suite without θ, or whose environments cannot be made or played as those of training are.
    """
    for name, suite in space.suites.items():
        if not len(suite.thetas):
            raise UserError(f"{spec.env_id} cannot be evaluated: its suite {name!r} has no θ")
    tried: set[str] = set()
    exact = Exact(spec)
    for group in sorted({spec.domain_of(task) for task in spec.tasks}, key=str):
        for episode in plan_episodes(space, config, seed, group):
            what = episode.suite if episode.suite != DR_SUITE else f"{DR_SUITE} {group}"
            if what not in tried:
                tried.add(what)
                _try(make_env, spec, episode, exact, group)
    for line in exact.failures:
        warnings.warn(f"{line}; told before training, so that you can mend it", Told, stacklevel=2)


def _try(make_env: MakeEnv, spec: EnvSpec, episode: Episode, exact: Exact, group: int | None) -> None:
    """One reset and one step of an episode, and for DR the exact methods."""
    try:
        env = made(functools.partial(make_env, **episode.env_kwargs), spec.env_id, episode.env_kwargs)
        try:
            observation, action = _played(env, spec, episode)
            if episode.suite == DR_SUITE:
                for task in spec.tasks:
                    if spec.domain_of(task) in (None, group):
                        exact.optimal_return(env, task, episode)
                exact.tabular(env, episode)
                exact.deterministic(env, episode)
                exact.predict(env, episode, observation, action[None])
        finally:
            close(env, spec.env_id)
    except UserError as error:
        raise UserError(f"suite {episode.suite!r} cannot be evaluated: {error}") from error


def _played(env: Any, spec: EnvSpec, episode: Episode) -> tuple[Any, Any]:
    """The first observation, and the action that was taken there."""
    action = spec.action.random(np.random.default_rng(episode.seed), 1)[0]
    with guarded(spec, episode, ()):
        observation, _ = env.reset(seed=episode.seed, options={"theta": episode.theta.copy()})
        checked_observation(spec, observation)
        observation = copy.deepcopy(observation)  # some environments hand out one array, and write over it
    with guarded(spec, episode, [action]):
        after, _, _, _, info = env.step(spec.action.to_env(action))
        checked_observation(spec, after)
        checked_rewards(spec, info)
        completion_of(info, spec.task_labels)
    return observation, action
