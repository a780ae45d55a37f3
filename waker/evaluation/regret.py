"""Regret from rows, where the environment gives the exact optimum (minimax regret; arXiv 2306.09205).

Rows are what the evaluation saves: a pandas DataFrame or a list of dicts, with the columns ``return``,
``optimal_return``, ``theta_id`` and, where there are any, ``theta_<name>`` … and ``episode_seed``. Called by the
tables, figures and ``waker compare``. Select the rows (run, task, suite) first: each function
treats all rows given as one set, in which a θ's regret is the mean over its rows, tasks included.

A row's regret is ``optimal_return − return``. The optimum is an expectation, so a lucky episode has negative regret;
nothing is clipped, or the mean would be biased upwards. Rows without an optimum (NaN or None) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.evaluation.metrics import Floats, theta_means, worst_theta

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | Sequence[Mapping[str, Any]]"


class WorstRegret(NamedTuple):
    """The θ of the largest mean regret.

    Attributes:
        value: its mean regret, in units of return.
        theta_id: its id; −1 for a θ outside the space.
        theta: its coordinates by name, where the rows have them.
    """

    value: float
    theta_id: int
    theta: dict[str, float]


class _Table(NamedTuple):
    """The columns used, restricted to rows with an optimum; n rows."""

    earned: Floats  # (n,)
    optimal: Floats  # (n,)
    theta: Floats  # (n, 1 + D) theta_id and the coordinates
    names: tuple[str, ...]  # D
    group: NDArray[np.int64]  # (n,) number of the row's θ
    unit: NDArray[np.int64]  # (n,) number of the row's episode seed, or of the row

    @property
    def regret(self) -> Floats:
        return self.optimal - self.earned


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """Rows of either kind as columns; a dict without a key counts as None there."""
    if hasattr(rows, "columns"):
        return {str(name): rows[name].tolist() for name in rows.columns}
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
    earned = np.array(columns["return"], np.float64)[kept]
    return _Table(earned, optimal[kept], theta, tuple(n.removeprefix("theta_") for n in names), group, unit[kept])


def _worst(table: _Table, group: int, value: float) -> WorstRegret:
    point = table.theta[np.flatnonzero(table.group == group)[0]]
    coordinates = zip(table.names, point[1:], strict=True)
    return WorstRegret(value, int(point[0]), {n: float(v) for n, v in coordinates if not np.isnan(v)})


def mean_regret(rows: Rows) -> float:
    """Mean of ``optimal_return − return`` over rows.

    Raises:
        UserError: a column is missing, or no row has an optimum (so for every function here).
    """
    return float(_table(rows).regret.mean())


def worst_theta_regret(rows: Rows) -> WorstRegret:
    """max over θ of the mean regret of its rows.

    Chosen and scored on the same rows, so biased upwards by noise (the more θ and the fewer rows a θ, the more);
    :func:`cross_fit_worst_regret` is not.
    """
    table = _table(rows)
    group, value = worst_theta(table.group, table.regret, largest=True)
    return _worst(table, group, value)


def fraction_of_optimum(rows: Rows) -> float:
    """Σ return / Σ optimal_return over rows; NaN where the optima sum to 0."""
    table = _table(rows)
    total = float(table.optimal.sum())
    return float(table.earned.sum()) / total if total != 0 else float("nan")


def cross_fit_worst_regret(rows: Rows) -> float:
    """Worst-θ regret without the bias of choosing the maximum on the rows that measure it.

    Each θ's episode seeds, in ascending order, go alternately to two halves (rows that share a seed stay together: they
    share its layout and its luck). The worst θ on one half is scored by its mean on the other; the answer is the mean
    of both ways. In expectation never above the true worst-θ regret: a wrong choice can only be milder. θ with one
    seed have no second half and are left out.

    Raises:
        UserError: no θ has two episode seeds.
    """
    table = _table(rows)
    half = np.zeros(len(table.group), np.int64)
    eligible = np.zeros(len(table.group), np.bool_)
    for group in np.unique(table.group):
        members = table.group == group
        seeds, rank = np.unique(table.unit[members], return_inverse=True)
        half[members] = rank % 2
        eligible[members] = len(seeds) >= 2
    if not eligible.any():
        raise UserError("cross-fit regret needs at least two episode seeds for some θ")
    if np.isnan(table.regret[eligible]).any():
        return float("nan")
    scores = []
    for choose in (0, 1):
        chooser = eligible & (half == choose)
        scorer = eligible & (half != choose)
        group = worst_theta(table.group[chooser], table.regret[chooser], largest=True).theta_id
        fresh = theta_means(table.group[scorer], table.regret[scorer])
        scores.append(float(fresh.mean[fresh.theta_id == group][0]))
    return float(np.mean(scores))
