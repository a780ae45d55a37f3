"""A run's environments as one thing: the factory, what the learner knows of them, and their θ."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import waker_envs
from waker.collection.episode import Episode
from waker.collection.make_env import MakeEnv, close, construct, made
from waker.collection.spec_of import spec_of
from waker.config.schema import Config
from waker.errors import UserError
from waker.names import theta_column
from waker.specs import EnvSpec
from waker.storage.run_folder import canonical, read_record
from waker_envs.api import ThetaSpace
from waker_envs.foreign import foreign, reason_of


def environment(config: Config) -> MakeEnv:
    """The factory of a run's environments; arguments given to it go before those of ``config.env_kwargs``.

    Raises:
        UserError: an argument that the environment's constructor does not take, or a constructor that fails.
        UnknownEnvError: no such environment.
    """
    close(construct(config.env, config.env_kwargs), config.env)
    # A partial, because it can be sent to environment processes, which a function made here cannot.
    return functools.partial(waker_envs.make, config.env, **config.env_kwargs)


@dataclasses.dataclass(frozen=True)
class Family:
    """A run's environments: the factory, what the learner knows of them, and their θ."""

    make: MakeEnv
    spec: EnvSpec
    space: ThetaSpace

    @classmethod
    def of(cls, config: Config) -> Family:
        """The family of a configuration.

        Raises:
            UserError: see :func:`environment`; or spaces the learner has no encoder or policy for.
        """
        config = canonical(config)
        make = environment(config)
        env = made(make, config.env)

        def failed(error: BaseException) -> UserError:
            return UserError(f"{config.env} does not say what it is: {reason_of(error)}")

        try:
            with foreign(f"the attributes of {config.env}", failed, (UserError,)):
                spec, space = spec_of(env), env.theta_space
        finally:
            close(env, config.env)
        return cls(make, dataclasses.replace(spec, env_id=config.env, longest=config.longest_episode), space)

    def with_longest(self, longest: int) -> Family:
        """The same family with episodes cut after ``longest`` steps."""
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, longest=longest))

    def episode(
        self, theta: NDArray[np.float64], seed: int, suite: str, env_kwargs: Mapping[str, Any] | None = None
    ) -> Episode:
        """An episode of θ (D,), with θ's id looked up."""
        return Episode(theta, self.space.index(theta), seed, suite, env_kwargs or {})

    def domain_of(self, theta_id: int) -> int | None:
        """The domain that a θ belongs to; None where the family has one alone, or θ lies outside the space."""
        return None if self.space.groups is None or theta_id < 0 else int(self.space.groups[theta_id])

    def columns(self, episode: Episode) -> dict[str, Any]:
        """An episode's columns in a row: ``theta_id``, ``theta_<name>``… and ``episode_seed``."""
        theta = {theta_column(n): float(v) for n, v in zip(self.space.names, episode.theta, strict=True)}
        return {"theta_id": episode.theta_id, **theta, "episode_seed": episode.seed}

    @property
    def spaces(self) -> dict[str, str]:
        """Observation keys and actions in one line each: what weights and replay of a run are shaped by."""
        kinds = {
            k.name: f"{k.kind} {'×'.join(map(str, k.shape))} {list(k.classes) or k.dtype}"
            for k in self.spec.observation
        }
        action = self.spec.action
        range_ = "" if action.discrete else f", {list(action.low)} to {list(action.high)}"
        return {**kinds, "action": f"{'discrete' if action.discrete else 'continuous'} {action.dim}{range_}"}

    def check_unchanged(self, folder: Path) -> None:
        """Compare with what a run folder was made with.

        Raises:
            UserError: tasks, θ or spaces have changed since; the message has the first difference.
        """
        record = read_record(folder)
        for what, now in (("tasks", self.spec.task_labels), ("theta", self.space.names)):
            then = record.get(what)
            if isinstance(then, list) and then != list(now):
                name = "θ" if what == "theta" else what
                raise UserError(
                    f"{folder} was trained with {name} {', '.join(map(str, then))}; {self.spec.env_id} now has "
                    f"{', '.join(now)}"
                )
        spaces = record.get("spaces")
        if isinstance(spaces, dict) and spaces:
            for key in [*self.spaces, *(k for k in spaces if k not in self.spaces)]:
                if spaces.get(key) != self.spaces.get(key):
                    raise UserError(
                        f"{folder} was trained with {key} = {spaces.get(key, 'nothing')}; {self.spec.env_id} now has "
                        f"{self.spaces.get(key, 'nothing')}"
                    )
