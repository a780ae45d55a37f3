"""The truth about the current world model, one number for each θ, while a run goes on: for curricula that ask for it.

Made by :mod:`waker.assembly`; called by the session when a curriculum's measurement is due
(:class:`waker.curriculum.api.Informed`), and once before a run begins. A curriculum that is told the truth is a
control: it shows what an estimate of the same quantity could gain, and costs held-out episodes of every θ each time.

Metrics are those of :mod:`waker.evaluation.model_error`, measured as evaluations measure them. Episodes are the
measurement's own: fixed by the run's seed and the step, other ones each time, and none that an evaluation meets.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.config import EvalConfig
from waker.curriculum.api import Floats, Wanted
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.open_loop import Model
from waker.evaluation.ranking import steps_ahead
from waker.evaluation.rollouts import MakeEnv
from waker.evaluation.sources import RANDOM_ONLY, Source, pooled
from waker.seeding import seed_for
from waker.spaces import EnvSpec
from waker_envs.api import FiniteThetaSpace
from waker_envs.foreign import Failed


@dataclass(frozen=True)
class Truth:
    """Measures a run's model for its curriculum.

    Attributes:
        make_env, spec, space: the family.
        config: how an evaluation measures: samples; its number of episodes is not used.
        seed: the run's.
        device: the model's.
        sources: who acts in held-out episodes, as in evaluations.
    """

    make_env: MakeEnv
    spec: EnvSpec
    space: FiniteThetaSpace
    config: EvalConfig
    seed: int
    device: str = "cpu"
    sources: Sequence[Source] = RANDOM_ONLY

    def measure(self, model: Model, wanted: Wanted, step: int) -> Floats:
        """The first of the wanted metrics that most θ have, (M,).

        Of more than 200 θ that many are measured; the others take the value of the nearest that was. A θ without a
        value (NaN) has only episodes that end too soon, or no exact prediction.

        Raises:
            UserError: no θ has any of them; or an environment failed.
            Paused: a signal has come, and nothing has been measured.
        """
        ids = model_error.measured_ids(self.space)
        found = self._errors(model, wanted, ids, step)
        values = _first(found, wanted, ids)
        if values is None:
            raise UserError(
                f"the sampler asks for {' or '.join(map(repr, wanted.metrics))}, which cannot be measured in "
                f"{self.spec.env_id}; what can be is {', '.join(sorted(found))}"
            )
        return values[nearest(self.space, ids)]

    def check(self, model: Model, wanted: Wanted) -> None:
        """Measure a θ of each domain with whatever weights the model has, and all θ only if these have no value.

        Raises:
            UserError: no θ has any of the wanted metrics; or an environment failed.
        """
        domains = np.zeros(self.space.size, np.int64) if self.space.groups is None else self.space.groups
        _, ids = np.unique(domains, return_index=True)
        if _first(self._errors(model, wanted, ids, 0), wanted, ids) is None:
            self.measure(model, wanted, 0)

    def _errors(self, model: Model, wanted: Wanted, ids: NDArray[np.int64], step: int) -> dict[str, pd.Series]:
        """Metric → the model's error by θ's id."""
        ahead = {steps_ahead(metric) for metric in wanted.metrics}
        config = dataclasses.replace(self.config, model_episodes=wanted.episodes, horizon=max(ahead))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Failed)  # evaluations tell which exact methods fail
            rows = model_error.measure(
                model,
                self.make_env,
                self.spec,
                self.space,
                config,
                seed_for(self.seed, "oracle", step),
                device=self.device,
                sources=self.sources,
                ids=ids,
                steps=sorted(ahead),
            )
        means = pooled(pd.DataFrame(rows))
        return {str(metric): part.set_index("theta_id")["value"] for metric, part in means.groupby("metric")}


def _first(found: Mapping[str, pd.Series], wanted: Wanted, ids: NDArray[np.int64]) -> Floats | None:
    """Values (n,) of these θ, by the first metric that most of them have; None where none has any."""
    columns = [found[metric].reindex(ids).to_numpy(np.float64) for metric in wanted.metrics if metric in found]
    return max(columns, key=lambda values: np.isfinite(values).sum(), default=None)  # of equals, the first


def nearest(space: FiniteThetaSpace, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each θ of the space the place in ``ids`` of the one nearest to it in its own domain, (M,).

    Args:
        space: the θ space; distances are summed over coordinates, each scaled by its range.
        ids: different θ (n,), some of every domain.
    """
    scale = np.ptp(space.points, axis=0)
    unit = space.points / np.where(scale > 0, scale, 1.0)
    domains = np.zeros(space.size, np.int64) if space.groups is None else space.groups
    places = np.zeros(space.size, np.int64)
    for domain in np.unique(domains):
        members, known = np.flatnonzero(domains == domain), np.flatnonzero(domains[ids] == domain)
        distance = abs(unit[members, None] - unit[ids[known]][None]).sum(-1)  # (members, known)
        places[members] = known[distance.argmin(1)]
    return places
