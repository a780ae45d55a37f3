"""What uniform random actions are worth exactly, in a family that knows all its tables: the reward at zero compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from waker.collection.family import Family
from waker.evaluation.exact import Exact
from waker.names import DR_SUITE
from waker.storage.tables import Row
from waker_envs.api import FiniteThetaSpace
from waker_envs.successors import Floats, ahead
from waker_envs.tabular import TabularMDP, optimal_policy


def random_values(table: TabularMDP) -> Floats:
    """Expected sums of rewards under uniform random actions, for each task and first state, (K, S)."""
    value = np.zeros((table.reward.shape[0], table.reward.shape[2]))
    for _ in range(table.length):
        value = (table.reward + ahead(table.move, value)).mean(1)
    return value


def _optimal_values(table: TabularMDP) -> Floats:
    return optimal_policy(table.move, table.reward, table.length)[1]


def random_rows(family: Family) -> list[Row]:
    """One row for each θ of a finite space and each task: ``return`` of random actions and ``optimal_return``.

    Expectations over all tables and starts of θ; none where the family does not tell them (``beginnings``).

    Raises:
        UserError: an environment that cannot be made.
    """
    space, rows = family.space, list[Row]()
    if not isinstance(space, FiniteThetaSpace) or not family.spec.action.discrete:
        return rows
    with Exact(family) as exact:
        for theta in space.points:
            episode = family.episode(theta, 0, DR_SUITE)
            begun = exact.beginnings(episode)
            if not begun:
                return []
            earned = np.sum([random_values(one.table) @ one.chance for one in begun], 0)  # (K,)
            best = np.sum([_optimal_values(one.table) @ one.chance for one in begun], 0)
            about = family.columns(replace(episode, seed=-1))
            rows += [
                {"task": task, **about, "return": float(earned[k]), "optimal_return": float(best[k])}
                for k, task in enumerate(family.spec.tasks)
            ]
    return rows
