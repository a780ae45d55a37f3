"""What only an evaluation would meet, tried once before a training begins: hours later it is too late.

Called by :func:`waker.training.build.train_run` for a new run. Suites are made, reset and stepped once, and the
family's exact methods are asked once.
"""

from __future__ import annotations

import warnings

import numpy as np

from waker.collection.episode import Episode
from waker.collection.family import Family
from waker.collection.slot_group import slot_group
from waker.config.schema import EvalConfig
from waker.errors import UserError
from waker.evaluation.exact import Exact
from waker.evaluation.plan import plan_episodes
from waker.names import DR_SUITE
from waker_envs.foreign import Told


def rehearse(family: Family, config: EvalConfig, seed: int = 0) -> None:
    """Try what an evaluation of this family will do.

    Warns of exact methods that fail: all else can be measured without them.

    Raises:
        UserError: a suite without θ, or whose environments cannot be made or played as those of training are.
    """
    spec = family.spec
    for name, suite in family.space.suites.items():
        if not len(suite.thetas):
            raise UserError(f"{spec.env_id} cannot be evaluated: its suite {name!r} has no θ")
    tried: set[str] = set()
    exact = Exact(family)
    try:
        for domain in sorted({spec.domain_of(task) for task in spec.tasks}, key=str):
            for episode in plan_episodes(family, config, seed, domain):
                what = episode.suite if episode.suite != DR_SUITE else f"{DR_SUITE} {domain}"
                if what not in tried:
                    tried.add(what)
                    _try(family, episode, exact, domain)
    finally:
        exact.close()
    for line in exact.failures:
        warnings.warn(f"{line}; told before training, so that you can fix it", Told, stacklevel=2)


def _try(family: Family, episode: Episode, exact: Exact, domain: int | None) -> None:
    """One reset and one step of an episode, and for DR the exact methods."""
    spec = family.spec
    action = spec.action.random(np.random.default_rng(episode.seed), 1)[0]
    try:
        with slot_group(family, 1, env_kwargs=episode.env_kwargs, raw=True) as slots:
            observation = slots.advance({0: episode}, {})[0].raw
            slots.advance({}, {0: action})
    except UserError as error:
        raise UserError(f"suite {episode.suite!r} cannot be evaluated: {error}") from error
    if episode.suite == DR_SUITE:
        for task in spec.tasks:
            if spec.domain_of(task) in (None, domain):
                exact.optimal_return(task, episode)
        exact.tabular(episode)
        exact.deterministic(episode)
        exact.predict(episode, observation, action[None])
