"""Regret from rows, where the environment gives the exact optimum (minimax regret; arXiv 2306.09205).

Rows are what the evaluation saves: a pandas DataFrame or a list of dicts, with the columns ``return``,
``optimal_return``, ``theta_id`` and, where there are any, ``theta_<name>`` …, ``task``, ``episode_seed`` and
``exact_value``. Called by the tables, figures and ``waker compare``. Select the rows (run, tasks, suite) first. A mean
is over all rows given; a worst case is over conditions: a θ, or where rows are of several tasks a pair of task and θ.

A row's regret is ``optimal_return − return``, or ``optimal_return − exact_value`` where that is known: the expected
return of the policy in that very episode (θ, task, seed), a return without its luck, and so the primary figure.
The optimum is an expectation, so a lucky episode has negative regret; nothing is clipped, or the mean would be biased
upwards. Rows without an optimum (NaN or None) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from waker.analysis.metrics import Floats
from waker.analysis.worst import Bracket, Sample, arrange, worst_of
from waker.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | Sequence[Mapping[str, Any]]"

EXACT = "exact_value"
"""Column of V(π, θ, task, seed), where it can be computed; NaN where it cannot.

A plan's is computed (:mod:`waker.evaluation.planned`). A learned policy has memory, so that no small table holds its
value; but it acts by its modes (unless ``evaluation.actions`` is ``sampled``), and where the family says that an
episode of θ is ``deterministic`` its return is its value. Where dice fall its return is an unbiased sample of it, and
this column is NaN. (A mean over other dice in the same room would need more episodes, and as many of other rooms and
starts tell more.)
"""


_USED = ("return", EXACT, "optimal_return", "episode_seed", "task")


class _Table(NamedTuple):
    """The columns used, restricted to rows with an optimum; n rows."""

    earned: Floats  # (n,)
    optimal: Floats  # (n,)
    group: NDArray[np.int64]  # (n,) number of the row's θ
    unit: NDArray[np.int64]  # (n,) number of the row's episode seed, or of the row
    task: NDArray[np.int64]  # (n,) number of the row's task, 0 where rows name none

    @property
    def regret(self) -> Floats:
        return self.optimal - self.earned

    @property
    def sample(self) -> Sample:
        return arrange(self.group, self.unit, self.regret, self.task)


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """Rows of either kind as columns; a dict without a key counts as None there."""
    if hasattr(rows, "columns"):
        return {str(c): rows[c].tolist() for c in rows.columns if str(c).startswith("theta_") or c in _USED}
    records: Iterable[Mapping[str, Any]] = list(rows)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _table(rows: Rows) -> _Table:
    columns = _columns(rows)
    for needed in ("return", "optimal_return", "theta_id"):
        if needed not in columns:
            raise UserError(f"regret needs rows with a column {needed!r}; these have {', '.join(columns) or 'none'}")
    optimal = np.array(columns["optimal_return"], np.float64)  # None becomes NaN
    kept = ~np.isnan(optimal)
    if not kept.any():
        raise UserError("regret needs rows with an optimal_return: this environment gives no exact optimum")
    names = tuple(name for name in columns if name.startswith("theta_") and name != "theta_id")
    theta = np.array([columns[name] for name in ("theta_id", *names)], np.float64).T[kept]
    # By coordinates too: all θ outside the space share the id −1. NaN (a coordinate another family has) equals NaN.
    _, group = np.unique(np.nan_to_num(theta, nan=np.inf), axis=0, return_inverse=True)
    seeds = columns.get("episode_seed", [None])
    _, unit = np.unique(np.arange(len(kept)) if None in seeds else np.array(seeds), return_inverse=True)
    _, task = np.unique(np.array(columns.get("task", [""] * len(kept)), str)[kept], return_inverse=True)
    return _Table(
        known_values(columns["return"], columns.get(EXACT))[kept],
        optimal[kept],
        group,
        unit[kept],
        task,
    )


def known_values(returns: Sequence[Any], exact: Sequence[Any] | None) -> Floats:
    """What each episode was worth, (n,): the policy's exact value where it is known, else the return."""
    earned = np.array(returns, np.float64)
    if exact is None:
        return earned
    values = np.array(exact, np.float64)
    return np.where(np.isnan(values), earned, values)


def mean_regret(rows: Rows) -> float:
    """Mean regret over rows.

    Raises:
        UserError: a column is missing, or no row has an optimum (so for every function here).
    """
    return float(_table(rows).regret.mean())


def fraction_of_optimum(rows: Rows) -> float:
    """Σ earned / Σ optimal_return over rows; NaN where the optima sum to 0."""
    table = _table(rows)
    total = float(table.optimal.sum())
    return float(table.earned.sum()) / total if total != 0 else float("nan")


def worst_regret(rows: Rows, *, seed: int = 0, confidence: float = 0.95) -> Bracket:
    """The largest expected regret of any condition: bracket, corrected value and simultaneous interval.

    Episode seeds are the units: rows that share one (tasks of an episode) share its layout and its luck.
    See :mod:`waker.analysis.worst`.

    Args:
        rows: of one run.
        seed: of the bootstrap.
        confidence: of the interval.
    """
    return worst_of(_table(rows).sample, np.random.default_rng(seed), confidence=confidence)
