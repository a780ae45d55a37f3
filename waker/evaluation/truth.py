"""The true error or regret of the current world model for each θ, during a run: for curricula that ask for it.

Made by :mod:`waker.training.measuring`; called by the session when a curriculum's measurement is due
(:class:`waker.curriculum.api.Informed`), and once before a run begins. A curriculum that gets the truth is a
control: it shows what an estimate of the same quantity could gain, and costs held-out episodes of every θ each time.

Metrics are those of :mod:`waker.evaluation.model_error`, measured as evaluations measure them, and
``planned_regret_mean`` and ``planned_regret_worst``: the regret of plans that are optimal in the model
(:mod:`waker.evaluation.planned`), over tasks, in families with exact tables. Episodes are the measurement's own: fixed
by the run's seed and the step, other ones each time, and none that an evaluation meets.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.ranking import steps_ahead
from waker.analysis.source_means import pooled
from waker.curriculum.api import Floats, Wanted
from waker.curriculum.registry import finite
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.learned_table import PlannedModel
from waker.evaluation.model_error import held_out_episodes
from waker.evaluation.open_loop import Model
from waker.evaluation.planned import planned_rows
from waker.evaluation.setup import Setup
from waker.seeding import seed_for
from waker_envs.api import FiniteThetaSpace
from waker_envs.foreign import Failed

REGRETS = ("planned_regret_mean", "planned_regret_worst")
"""Over tasks."""


class Truth:
    """Measures a run's model for its curriculum.

    Args:
        setup: how an evaluation measures; its number of episodes, seed and processes are not used.
        seed: the run's.

    Raises:
        UserError: the θ space is continuous: there is no truth of each θ.
    """

    def __init__(self, setup: Setup, seed: int, sampler: str = "oracle") -> None:
        self._setup, self._seed, self.space = setup, seed, finite(setup.family.space, sampler)

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
            env_id = self._setup.family.spec.env_id
            asked = f"the sampler asks for {' or '.join(map(repr, wanted.metrics))}, which"
            if not found:
                raise UserError(f"{asked} needs exact tables ('tabular'), and {env_id} offers none")
            raise UserError(f"{asked} cannot be measured in {env_id}; {', '.join(sorted(found))} can")
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
        errors, config = [m for m in wanted.metrics if m not in REGRETS], self._setup.config
        config = dataclasses.replace(config, model_episodes=wanted.episodes)
        # In this process: a measurement is short, and starting others would take longer in most families.
        seed = seed_for(self._seed, "oracle", step)
        setup = dataclasses.replace(self._setup, config=config, seed=seed, processes=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Failed)  # evaluations tell which exact methods fail
            found = _errors(setup, model, {steps_ahead(metric) for metric in errors}, ids) if errors else {}
            return found | (_regrets(setup, model, ids) if len(errors) < len(wanted.metrics) else {})


def _errors(setup: Setup, model: Model, ahead: set[int], ids: NDArray[np.int64]) -> dict[str, pd.Series]:
    setup = dataclasses.replace(setup, config=dataclasses.replace(setup.config, horizon=max(ahead)))
    means = pooled(pd.DataFrame(model_error.measure(setup, model, ids=ids, steps=sorted(ahead))))
    return {str(metric): part.set_index("theta_id")["value"] for metric, part in means.groupby("metric")}


def _regrets(setup: Setup, model: PlannedModel, ids: NDArray[np.int64]) -> dict[str, pd.Series]:
    rows = planned_rows(setup, model, held_out_episodes(setup, ids=ids), setup.config.samples)
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
