"""Tables from rows: what ``waker compare``, ``waker quickstart`` and the report print.

First one number for each (run, task, quantity), then means and intervals over the seeds of each sampler. Everything is
a function of saved rows, so a table can always be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from waker.errors import UserError
from waker.evaluation.metrics import Episodes, cvar, cvar_selected
from waker.evaluation.plan import DR_SUITE
from waker.evaluation.ranking import primary_metric
from waker.evaluation.regret import (
    cross_fit_worst_regret,
    fraction_of_optimum,
    mean_regret,
    worst_theta_regret,
)

ALL = "all"
"""The task column of numbers over all tasks: means of means, and the worst of worsts."""
GROUP = ["domain", "sampler", "explorer"]
RUN = [*GROUP, "seed"]

TITLES = {
    "mean_return": "mean return",
    "cvar_0.1": "CVaR 0.1",
    "cvar_0.1_unbiased": "CVaR 0.1 over θ",
    "fraction_of_optimum": "share of optimum",
    "mean_regret": "mean regret",
    "worst_regret": "worst-θ regret",
    "worst_regret_cross_fit": "worst-θ regret, cross-fit",
    "completion": "completion",
    "worst_model_error": "worst-θ model error",
    "mean_model_error": "mean model error",
    "hard_share": "data on hard θ",
}
"""Quantity → heading. ``return_<suite>`` are mean returns of the suites beyond DR."""
LOWER_IS_BETTER = {"mean_regret", "worst_regret", "worst_regret_cross_fit", "worst_model_error", "mean_model_error"}
NEUTRAL = {"hard_share"}
SHARES = {"fraction_of_optimum", "completion", "hard_share"}
"""Quantities shown in per cent."""


def run_numbers(
    evaluation: pd.DataFrame, model_error: pd.DataFrame, episodes: pd.DataFrame, hard: Sequence[int] = ()
) -> pd.DataFrame:
    """One number for each (run, task, quantity), each run at its last measured step.

    Args:
        evaluation: rows of episodes (:mod:`waker.evaluation.rollouts`) with the run's columns; only rows whose
            ``policy`` is ``learned``, where there is such a column.
        model_error: rows of :mod:`waker.evaluation.model_error` with the run's columns.
        episodes: rows of training episodes: theta_id, length.
        hard: ids of the θ that experts call hard.

    Returns:
        Columns domain, sampler, explorer, seed, task, quantity, value; see :data:`TITLES`. Any table may be empty.
    """
    rows: list[dict[str, Any]] = []
    if not evaluation.empty:
        learned = evaluation[evaluation["policy"] == "learned"] if "policy" in evaluation else evaluation
        for run, played in _last(learned).groupby(RUN, sort=False):
            rows += _of_run(run, _returns(played))
    if not model_error.empty:
        for run, errors in _last(model_error).groupby(RUN, sort=False):
            metric = primary_metric(errors["metric"].unique().tolist())
            coordinates = [c for c in errors if c.startswith("theta_")]
            chosen = errors[errors["metric"] == metric].groupby(coordinates)["value"].mean()
            rows += _of_run(run, [(ALL, "worst_model_error", chosen.max()), (ALL, "mean_model_error", chosen.mean())])
    if not episodes.empty and len(hard):
        for run, collected in episodes.groupby(RUN, sort=False):
            on_hard = collected["theta_id"].isin(list(hard))
            share = collected.loc[on_hard, "length"].sum() / collected["length"].sum()
            rows += _of_run(run, [(ALL, "hard_share", float(share))])
    return pd.DataFrame(rows, columns=[*RUN, "task", "quantity", "value"])


def summarise(numbers: pd.DataFrame, *, seed: int = 0, confidence: float = 0.95) -> pd.DataFrame:
    """Mean over seeds with a bootstrap interval (Agarwal et al. 2021, §4.1), for each sampler, task and quantity.

    Args:
        numbers: from :func:`run_numbers`.
        seed: of the bootstrap's resampling.
        confidence: of the interval.

    Returns:
        Columns domain, sampler, explorer, task, quantity, mean, low, high (NaN with one seed), seeds.
    """
    rows = []
    for key, group in numbers.groupby([*GROUP, "task", "quantity"], sort=False):
        values = group["value"].to_numpy(float)
        low = high = np.nan
        if len(values) > 1:
            # The same resampling for every quantity, so that a row does not depend on what else is in the table.
            draws = _resampled_means(values, np.random.default_rng(seed))
            low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        record = dict(zip([*GROUP, "task", "quantity"], key, strict=True))
        rows.append({**record, "mean": values.mean(), "low": low, "high": high, "seeds": len(values)})
    return pd.DataFrame(rows, columns=[*GROUP, "task", "quantity", "mean", "low", "high", "seeds"])


def compare(
    evaluation: pd.DataFrame, model_error: pd.DataFrame, episodes: pd.DataFrame, hard: Sequence[int] = ()
) -> pd.DataFrame:
    """:func:`run_numbers`, then :func:`summarise`."""
    return summarise(run_numbers(evaluation, model_error, episodes, hard))


def quantities(summary: pd.DataFrame) -> list[str]:
    """The quantities of a summary in the order of :data:`TITLES`, suites after the returns."""
    present = set(summary["quantity"])
    suites = sorted(q for q in present if q.startswith("return_"))
    named = [q for q in TITLES if q in present]
    at = sum(q in ("mean_return", "cvar_0.1", "cvar_0.1_unbiased") for q in named)
    return [*named[:at], *suites, *named[at:]]


def title(quantity: str) -> str:
    """The heading of a quantity."""
    return TITLES.get(quantity, f"return on {quantity.removeprefix('return_')}")


def cell(quantity: str, mean: float, low: float, high: float) -> str:
    """``3.10 [2.95, 3.27]``; shares in per cent; no bracket without an interval, – for NaN."""
    if np.isnan(mean):
        return "–"
    if quantity in SHARES:
        bracket = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
        return f"{100 * mean:.1f} %{bracket}"
    digits = max(0, 2 - int(np.floor(np.log10(max(abs(mean), 1e-3))))) if mean else 2
    digits = min(digits, 4)
    bracket = "" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f}{bracket}"


def best(summary: pd.DataFrame, quantity: str, task: str) -> tuple[str, ...] | None:
    """The (domain, sampler, explorer) whose mean is best, where there is a choice and a better and a worse."""
    rows = summary[(summary["quantity"] == quantity) & (summary["task"] == task)].dropna(subset=["mean"])
    if len(rows) < 2 or quantity in NEUTRAL or rows["mean"].nunique() == 1:
        return None
    at = rows["mean"].idxmin() if quantity in LOWER_IS_BETTER else rows["mean"].idxmax()
    return tuple(rows.loc[at, GROUP])


def task_order(summary: pd.DataFrame) -> list[str]:
    """All tasks together first, then each in the rows' order."""
    tasks = list(dict.fromkeys(summary["task"]))
    return [ALL, *(t for t in tasks if t != ALL)] if ALL in tasks else tasks


def _resampled_means(values: np.ndarray, rng: np.random.Generator, repetitions: int = 2000) -> np.ndarray:
    """Means of resamples with replacement: ``bootstrap_interval`` of the metrics for a mean, vectorised."""
    return values[rng.integers(len(values), size=(repetitions, len(values)))].mean(1)


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last step; rows without a step are all of them."""
    if "step" not in rows:
        return rows
    return rows[rows["step"] == rows.groupby(RUN)["step"].transform("max")]


def _of_run(run: Any, numbers: Sequence[tuple[str, str, float]]) -> list[dict[str, Any]]:
    identity = dict(zip(RUN, run, strict=True))
    return [{**identity, "task": t, "quantity": q, "value": float(v)} for t, q, v in numbers]


def _returns(played: pd.DataFrame) -> list[tuple[str, str, float]]:
    """(task, quantity, value) of one run's episodes, each task and all together."""
    numbers: list[tuple[str, str, float]] = []
    for task, rows in played.groupby("task", sort=False):
        dr = rows[rows["suite"] == DR_SUITE]
        for suite, others in rows[rows["suite"] != DR_SUITE].groupby("suite", sort=False):
            numbers.append((task, f"return_{suite}", others["return"].mean()))
        if dr.empty:
            continue
        numbers.append((task, "mean_return", dr["return"].mean()))
        numbers.append((task, "cvar_0.1", cvar(dr["return"].to_numpy())))
        numbers.append((task, "cvar_0.1_unbiased", _cvar_over_theta(dr)))
        if dr["completion"].notna().any():
            numbers.append((task, "completion", dr["completion"].mean()))
        if dr["optimal_return"].notna().any():
            dr = dr[[c for c in dr if c.startswith("theta_") or c in ("return", "optimal_return", "episode_seed")]]
            numbers.append((task, "fraction_of_optimum", fraction_of_optimum(dr)))
            numbers.append((task, "mean_regret", mean_regret(dr)))
            numbers.append((task, "worst_regret", worst_theta_regret(dr).value))
            numbers.append((task, "worst_regret_cross_fit", _cross_fit(dr)))
    for quantity in dict.fromkeys(q for _, q, _ in numbers):
        values = np.array([v for _, q, v in numbers if q == quantity])
        known = values[~np.isnan(values)]
        if not len(known):
            continue
        # The worst of the tasks' worst θ: a robust agent has no weak task.
        together = known.max() if quantity.startswith("worst_regret") else known.mean()
        numbers.append((ALL, quantity, float(together)))
    return numbers


def _cross_fit(dr: pd.DataFrame) -> float:
    try:
        return cross_fit_worst_regret(dr)
    except UserError:  # no θ was played twice
        return float("nan")


def _cvar_over_theta(dr: pd.DataFrame) -> float:
    """CVaR of the θ's mean returns, chosen on half of each θ's episodes and scored on the rest, both ways round."""
    ids = dr["theta_id"].to_numpy()
    if (ids < 0).any():
        return float("nan")
    half = dr.sort_values("episode_seed").groupby("theta_id").cumcount().reindex(dr.index).to_numpy() % 2 == 0
    values = dr["return"].to_numpy(float)
    try:
        first, second = Episodes(ids[half], values[half]), Episodes(ids[~half], values[~half])
        return 0.5 * (cvar_selected(first, second) + cvar_selected(second, first))
    except ValueError:  # no θ was played twice
        return float("nan")
