"""One number for each run, task and quantity, from saved rows: what tables, intervals and comparisons are made of.

Called by ``waker compare`` and the report. The unit of comparison is a run, so that means over training seeds, paired
differences and probabilities of improvement are all functions of this table. What could not be compared like for like
(other steps, other tasks, other metrics, other episodes) is left out or kept apart, and told.

Quantities with a *bracket* (:data:`BRACKETED`, see :mod:`waker.analysis.worst`) have five rows: the corrected value
under their own name, and ``…_plug_in``, ``…_split``, ``…_low``, ``…_high``: the pessimistic and the optimistic
estimate, and the interval over the episodes of this one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from waker.analysis.bracketed import BRACKETED as BRACKETED
from waker.analysis.bracketed import LIMITS as LIMITS
from waker.analysis.bracketed import PARTS as PARTS
from waker.analysis.bracketed import SEED, Number, of_bracket
from waker.analysis.metrics import Floats, cvar
from waker.analysis.plans_compared import plan_numbers
from waker.analysis.ranking import primary_metric
from waker.analysis.regret import EXACT, fraction_of_optimum, known_values, mean_regret, worst_regret
from waker.analysis.sources import known, source_weights
from waker.analysis.steps import RUN, At, choose_steps, deciding, of_policy
from waker.analysis.worst import Bracket, Sample, arrange, cvar_of, worst_of
from waker.names import ALL as ALL  # means of means over tasks, and the worst of all pairs of task and θ
from waker.names import DR_SUITE, PLANNED, task_name

TAIL = 0.1
"""The share of θ or episodes in a CVaR."""
NO_SETS: Mapping[str, Sequence[int]] = MappingProxyType({})
_WORST = ("worst_regret", "planned_worst_regret")
"""Over all tasks they are the worst of all pairs of task and θ, not means over tasks."""


class Comparison(NamedTuple):
    """Numbers with columns domain, sampler, explorer, seed, task, quantity, value; and what was decided, in lines."""

    numbers: pd.DataFrame
    notes: tuple[str, ...]


def run_numbers(
    evaluation: pd.DataFrame,
    model_error: pd.DataFrame,
    episodes: pd.DataFrame,
    sets: Mapping[str, Sequence[int]] = NO_SETS,
) -> pd.DataFrame:
    """The numbers of :func:`compare_runs`."""
    return compare_runs(evaluation, model_error, episodes, sets).numbers


def compare_runs(
    evaluation: pd.DataFrame,
    model_error: pd.DataFrame,
    episodes: pd.DataFrame,
    sets: Mapping[str, Sequence[int]] = NO_SETS,
    *,
    at: At = "common",
) -> Comparison:
    """One number for each (run, task, quantity), like for like within each domain.

    Args:
        evaluation: rows of episodes (:mod:`waker.evaluation.rollouts`) with the run's columns; only rows whose
            ``policy`` is ``learned``, where there is such a column, and plans (:mod:`waker.evaluation.planned`).
        model_error: rows of :mod:`waker.evaluation.model_error` with the run's columns.
        episodes: rows of training episodes: theta_id, length.
        sets: name → ids of θ, such as those that experts call ``hard``; ``<name>_share`` is the share of the agent
            steps that were made there.
        at: the step, see :mod:`waker.analysis.steps`.

    Returns:
        Any table may be empty. Numbers over all tasks are over those that every run of the domain has.

    Raises:
        UserError: a step at which a run was not measured.
    """
    planned, decisive = of_policy(evaluation, PLANNED), deciding(evaluation)
    evaluation = of_policy(evaluation, "learned")
    if "task" in evaluation:  # rows that were written before a task of that name was told apart
        evaluation = evaluation.assign(task=evaluation["task"].replace(ALL, task_name(ALL)))
    steps = choose_steps(decisive, model_error, episodes, at)
    evaluation, planned = steps.cut(evaluation, "evaluation"), steps.cut(planned, "evaluation", "model_error")
    model_error, episodes = steps.cut(model_error, "model_error"), steps.cut(episodes, "episodes")
    rows: list[dict[str, Any]] = []
    notes = list(steps.notes)
    for part in _by_domain(evaluation):
        found, lines = _returns(part)
        rows, notes = rows + found, notes + lines
    for part in _by_domain(planned):
        rows += _plans(part, evaluation[evaluation["domain"] == part["domain"].iloc[0]])
    for part in _by_domain(model_error):
        found, lines = _errors(part)
        rows, notes = rows + found, notes + lines
    for run, collected in episodes.groupby(RUN, sort=False) if not episodes.empty else ():
        rows += _of_run(run, _shares(collected, sets))
    return Comparison(pd.DataFrame(rows, columns=[*RUN, "task", "quantity", "value"]), tuple(notes))


def _shares(episodes: pd.DataFrame, sets: Mapping[str, Sequence[int]]) -> list[Number]:
    """The share of one run's agent steps in each set of θ that has some."""
    steps = episodes["length"].sum()
    return [
        (ALL, f"{name}_share", float(episodes.loc[episodes["theta_id"].isin(list(ids)), "length"].sum() / steps))
        for name, ids in sets.items()
        if len(ids)
    ]


def _by_domain(rows: pd.DataFrame) -> Iterable[pd.DataFrame]:
    return [] if rows.empty else [part for _, part in rows.groupby("domain", sort=False)]


def _of_run(run: Any, numbers: Sequence[Number]) -> list[dict[str, Any]]:
    identity = dict(zip(RUN, run, strict=True))
    return [{**identity, "task": t, "quantity": q, "value": float(v)} for t, q, v in numbers]


def _label(run: Any) -> str:
    return f"{run[1]} seed {run[3]}"


def _returns(played: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """Numbers of one domain's runs from their episodes, each task and all together; and what to tell."""
    runs = dict(iter(played.groupby(RUN, sort=False)))
    rows = _over_tasks({run: _of_tasks(rows) for run, rows in runs.items()}, runs)
    return rows, [*_task_notes(runs), *_episode_notes(runs), *_update_notes(runs)]


def _plans(planned: pd.DataFrame, learned: pd.DataFrame) -> list[dict[str, Any]]:
    """Numbers of one domain's runs from their plans, each task and all together."""
    runs = dict(iter(planned.assign(worth=worth(planned)).groupby(RUN, sort=False)))
    played = dict(iter(learned.assign(worth=worth(learned)).groupby(RUN, sort=False))) if len(learned) else {}
    none = learned.iloc[:0]
    return _over_tasks({run: plan_numbers(rows, played.get(run, none)) for run, rows in runs.items()}, runs)


def _over_tasks(single: dict[Any, list[Number]], runs: dict[Any, pd.DataFrame]) -> list[dict[str, Any]]:
    """Rows of all runs' numbers, task by task and over the tasks that every run has.

    Args:
        single: by run, task by task.
        runs: the episodes that they were made of.
    """
    rows = [row for run, numbers in single.items() for row in _of_run(run, numbers)]
    from_pairs = {f"{quantity}_{part}" for quantity in _WORST for part in PARTS}
    for quantity in dict.fromkeys(q for numbers in single.values() for _, q, _ in numbers):
        if quantity in from_pairs or quantity in LIMITS:  # from the rows below; a mean of limits is none
            continue
        values = {run: {t: v for t, q, v in found if q == quantity} for run, found in single.items()}
        values = {run: of_run for run, of_run in values.items() if of_run}
        common = _common({run: [t for t, v in of_run.items() if _known(quantity, v)] for run, of_run in values.items()})
        for run, of_run in values.items():
            if not common:
                continue
            if quantity in _WORST:
                pairs = runs[run][(runs[run]["suite"] == DR_SUITE) & runs[run]["task"].isin(common)]
                rows += _of_run(run, of_bracket(ALL, quantity, worst_regret(_regret_columns(pairs), seed=SEED)))
            else:
                rows += _of_run(run, [(ALL, quantity, float(np.mean([of_run[t] for t in common])))])
    return rows


def _known(quantity: str, value: float) -> bool:
    """Whether a task counts among all; one of whose bracket the plug-in alone is known does."""
    return quantity in BRACKETED or not np.isnan(value)


def _common(names: dict[Any, list[str]]) -> list[str]:
    """What every run has, in the first one's order."""
    first, *others = names.values()
    return [name for name in first if all(name in other for other in others)]


def _task_notes(runs: dict[Any, pd.DataFrame]) -> list[str]:
    tasks = {run: list(dict.fromkeys(rows["task"])) for run, rows in runs.items()}
    common, every = _common(tasks), list(dict.fromkeys(t for of_run in tasks.values() for t in of_run))
    if len(common) == len(every):
        return []
    lacking = "; ".join(
        f"{task} is missing in {', '.join(_label(run) for run, of_run in tasks.items() if task not in of_run)}"
        for task in every
        if task not in common
    )
    if not common:
        return [f"no task that every run has, so nothing over all tasks: {lacking}"]
    return [f"“all tasks” are those of every run, {', '.join(common)}: {lacking}"]


def _episode_notes(runs: dict[Any, pd.DataFrame]) -> list[str]:
    """Runs that met other evaluation episodes than the first in a task and suite both have."""
    if any(not {"theta_id", "episode_seed"} <= set(rows) for rows in runs.values()):
        return []
    met = {
        run: {
            key: tuple(sorted(zip(part["theta_id"], part["episode_seed"], strict=True)))
            for key, part in rows.groupby(["task", "suite"], sort=False)
        }
        for run, rows in runs.items()
    }
    (reference, theirs), *others = met.items()
    other = [run for run, ours in others if any(theirs[key] != ours[key] for key in theirs.keys() & ours.keys())]
    if not other:
        return []
    return [f"{', '.join(map(_label, other))}: evaluated on other episodes than {_label(reference)}"]


def _update_notes(runs: dict[Any, pd.DataFrame]) -> list[str]:
    """Runs whose policies had other numbers of updates at one step: adaptation makes updates without steps."""
    if any("updates" not in rows for rows in runs.values()):
        return []
    steps = [int(rows["step"].max()) for rows in runs.values() if "step" in rows]
    if steps and min(steps) < 0.98 * max(steps):  # kept apart by step: told already
        return []
    updates = {run: int(rows["updates"].max()) for run, rows in runs.items()}
    if max(updates.values()) <= 1.02 * min(updates.values()) + 2:  # steps within a mark make a few
        return []
    return ["updates differ: " + ", ".join(f"{_label(run)} made {number}" for run, number in updates.items())]


def _of_tasks(played: pd.DataFrame) -> list[Number]:
    """One run's numbers, task by task. What an episode was worth is the exact value of the policy where it is known."""
    numbers: list[Number] = []
    played = played.assign(worth=worth(played))
    for task, rows in played.groupby("task", sort=False):
        dr = rows[rows["suite"] == DR_SUITE]
        for suite, others in rows[rows["suite"] != DR_SUITE].groupby("suite", sort=False):
            numbers.append((task, f"return_{suite}", others["worth"].mean()))
        if dr.empty:
            continue
        numbers.append((task, "mean_return", dr["worth"].mean()))
        numbers.append((task, "cvar_0.1", cvar(dr["return"].to_numpy(), TAIL)))
        numbers += of_bracket(task, "cvar_0.1_theta", _cvar_over_theta(dr))
        if EXACT in dr and dr[EXACT].notna().any():
            numbers.append((task, "exact_share", float(dr[EXACT].notna().mean())))
        if dr["completion"].notna().any():
            numbers.append((task, "completion", dr["completion"].mean()))
        if dr["optimal_return"].notna().any():
            dr = _regret_columns(dr)
            numbers.append((task, "fraction_of_optimum", fraction_of_optimum(dr)))
            numbers.append((task, "mean_regret", mean_regret(dr)))
            numbers += of_bracket(task, "worst_regret", worst_regret(dr, seed=SEED))
    return numbers


def worth(rows: pd.DataFrame) -> Floats:
    """What each episode was worth, (n,): see :func:`waker.analysis.regret.known_values`."""
    return known_values(rows["return"].tolist(), rows[EXACT].tolist() if EXACT in rows else None)


def _regret_columns(rows: pd.DataFrame) -> pd.DataFrame:
    used = ("return", EXACT, "optimal_return", "episode_seed", "task")
    return rows[[c for c in rows if str(c).startswith("theta_") or c in used]]


def _cvar_over_theta(dr: pd.DataFrame) -> Bracket:
    """CVaR over θ of expected returns: the lowest are the worst, so signs turn and pessimistic stays pessimistic."""
    ids = dr["theta_id"].to_numpy()
    if (ids < 0).any():  # a continuous space: each θ was met once
        nan = float("nan")
        return Bracket(nan, nan, nan, nan, nan, np.zeros((0, 1)))
    _, theta = np.unique(ids, return_inverse=True)
    sample = arrange(theta, _units(dr, ["episode_seed"]), -dr["worth"].to_numpy(float))
    found = cvar_of(sample, TAIL, np.random.default_rng(SEED))
    return Bracket(-found.plug_in, -found.split, -found.corrected, -found.high, -found.low, found.cells)


def _units(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """A number of each row's unit, ascending with its columns; the row's own number where there are none."""
    present = [c for c in columns if c in rows]
    if not present or rows[present].isna().any(axis=None):
        return np.arange(len(rows))
    order = rows[present].drop_duplicates().sort_values(present).assign(unit=lambda r: np.arange(len(r)))
    return rows[present].merge(order, how="left", on=present)["unit"].to_numpy()


def error_sample(rows: pd.DataFrame) -> Sample:
    """Model errors of one run, step and metric by θ; rows of single episodes are units, a row of a whole θ is one.

    Each source counts alike in a θ's mean, as in :func:`waker.analysis.sources.pooled`.
    """
    coordinates = [c for c in rows if str(c).startswith("theta_")]
    # By source first: then either half of a θ's units has as many of each.
    units, rows = _units(rows, ["source", "episode_seed"]), known(rows)
    # Another family's coordinates are missing in these rows, and missing equals missing.
    theta = rows.groupby(coordinates, dropna=False, sort=True).ngroup().to_numpy()
    weights, strata = source_weights(rows, coordinates), pd.factorize(rows["source"])[0]
    return arrange(theta, units, rows["value"].to_numpy(float), weight=weights, stratum=strata)


def _errors(errors: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """Model errors of one domain's runs, by the best metric that all of them have; and what to tell."""
    runs = dict(iter(errors.groupby(RUN, sort=False)))
    metrics = {run: rows["metric"].unique().tolist() for run, rows in runs.items()}
    metric = primary_metric(_common(metrics))
    if metric is None:
        return [], ["the runs have no metric of the model's error in common"]
    rows, notes = [], []
    better = [run for run, own in metrics.items() if primary_metric(own) != metric]
    if better:
        notes.append(f"model error is {metric}, which all runs have ({', '.join(map(_label, better))} had more)")
    for run, measured in runs.items():
        sample = error_sample(measured[measured["metric"] == metric])
        means = sample.sums.sum(1) / sample.counts.sum(1)
        found = worst_of(sample, np.random.default_rng(SEED))
        numbers = [*of_bracket(ALL, "worst_model_error", found), (ALL, "mean_model_error", float(means.mean()))]
        rows += _of_run(run, numbers)
    return rows, notes
