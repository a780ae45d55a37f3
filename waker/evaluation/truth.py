"""The truth about the current world model, one number for each θ, while a run goes on: for curricula that ask for it.

Made by :mod:`waker.training.measuring`; called by the session when a curriculum's measurement is due
(:class:`waker.curriculum.api.Informed`), and once before a run begins. A curriculum that is told the truth is a
control: it shows what an estimate of the same quantity could gain, and costs held-out episodes of every θ each time.

Metrics are those of :mod:`waker.evaluation.model_error`, measured as evaluations measure them, and
``planned_regret_mean`` and ``planned_regret_worst``: the regret of plans that are optimal in the model
(:mod:`waker.evaluation.planned`), over tasks, in families with exact tables. Episodes are the measurement's own: fixed
by the run's seed and the step, other ones each time, and none that an evaluation meets.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.ranking import steps_ahead
from waker.analysis.sources import pooled
from waker.config.schema import EvalConfig
from waker.curriculum.api import Floats, Wanted
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.learned_table import PlannedModel
from waker.evaluation.model_error import held_out_episodes
from waker.evaluation.open_loop import Model
from waker.evaluation.planned import planned_rows
from waker.evaluation.rollouts import MakeEnv
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.seeding import seed_for
from waker.specs import EnvSpec
from waker_envs.api import FiniteThetaSpace
from waker_envs.foreign import Failed

REGRETS = ("planned_regret_mean", "planned_regret_worst")
"""Over tasks."""


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

    def measure(self, model: PlannedModel, wanted: Wanted, step: int) -> Floats:
        """The first of the wanted metrics that most θ have, (M,).

        Of more than 200 θ that many are measured; the others take the value of the nearest that was. A θ without a
        value (NaN) has only episodes that end too soon, or no exact prediction.

        Raises:
            UserError: no θ has any of them; or an environment failed.
            Paused: a signal has come, and nothing has been measured.
        """
        ids = model_error.measured_ids(self.space)
        found = self._found(model, wanted, ids, step)
        values = _first(found, wanted, ids)
        if values is None:
            asked = f"the sampler asks for {' or '.join(map(repr, wanted.metrics))}, which"
            if not found:
                raise UserError(f"{asked} needs exact tables ('tabular'), and {self.spec.env_id} offers none")
            raise UserError(f"{asked} cannot be measured in {self.spec.env_id}; {', '.join(sorted(found))} can")
        return values[nearest(self.space, ids)]

    def check(self, model: PlannedModel, wanted: Wanted) -> None:
        """Measure a θ of each domain with whatever weights the model has, and all θ only if these have no value.

        Raises:
            UserError: no θ has any of the wanted metrics; or an environment failed.
        """
        domains = np.zeros(self.space.size, np.int64) if self.space.groups is None else self.space.groups
        _, ids = np.unique(domains, return_index=True)
        if _first(self._found(model, wanted, ids, 0), wanted, ids) is None:
            self.measure(model, wanted, 0)

    def _found(self, model: PlannedModel, wanted: Wanted, ids: NDArray[np.int64], step: int) -> dict[str, pd.Series]:
        """Metric → values by θ's id: the wanted ones, and others that come with them."""
        seed, errors = seed_for(self.seed, "oracle", step), [m for m in wanted.metrics if m not in REGRETS]
        config = dataclasses.replace(self.config, model_episodes=wanted.episodes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Failed)  # evaluations tell which exact methods fail
            found = self._errors(model, config, {steps_ahead(metric) for metric in errors}, ids, seed) if errors else {}
            return found | (self._regrets(model, config, ids, seed) if len(errors) < len(wanted.metrics) else {})

    def _errors(
        self, model: Model, config: EvalConfig, ahead: set[int], ids: NDArray[np.int64], seed: int
    ) -> dict[str, pd.Series]:
        rows = model_error.measure(
            model,
            self.make_env,
            self.spec,
            self.space,
            dataclasses.replace(config, horizon=max(ahead)),
            seed,
            device=self.device,
            sources=self.sources,
            ids=ids,
            steps=sorted(ahead),
        )
        means = pooled(pd.DataFrame(rows))
        return {str(metric): part.set_index("theta_id")["value"] for metric, part in means.groupby("metric")}

    def _regrets(
        self, model: PlannedModel, config: EvalConfig, ids: NDArray[np.int64], seed: int
    ) -> dict[str, pd.Series]:
        episodes = held_out_episodes(self.space, config, seed, ids=ids)
        rows = planned_rows(
            model, self.make_env, self.spec, self.space, episodes, config.samples, device=self.device, seed=seed
        )
        if not rows:
            return {}
        played = pd.DataFrame(rows)
        regret = (played["optimal_return"] - played["return"]).groupby([played["theta_id"], played["task"]]).mean()
        over_tasks = regret.groupby("theta_id")
        return {REGRETS[0]: over_tasks.mean(), REGRETS[1]: over_tasks.max()}


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
