"""One number for each run, task and quantity, from saved rows: what tables, intervals and comparisons are made of.

Called by ``waker compare`` and the report. The unit of comparison is a run, so that means over training seeds, paired
differences and probabilities of improvement are all functions of this table. What could not be compared like for like
(other steps, other tasks, other metrics, other episodes) is left out or kept apart, and told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from waker.analysis.best_known import with_best_known
from waker.analysis.plans_compared import over_all_episodes, plan_numbers
from waker.analysis.quantities import (
    BRACKETED,
    LEARNED_SUITE_REGRET,
    LIMITS,
    PARTS,
    Number,
    computed,
    named,
    numbers_of,
    quantity_of,
    units_of,
    worth,
)
from waker.analysis.ranking import primary_metric
from waker.analysis.regret import mean_regret
from waker.analysis.source_means import known, source_weights
from waker.analysis.steps import RUN, At, choose_steps, deciding, of_policy
from waker.analysis.worst import Sample, arrange
from waker.curriculum.labels import adapted_label
from waker.names import ALL, DR_SUITE, EXPECTED, PLANNED, task_name

NO_SETS: Mapping[str, Sequence[int]] = MappingProxyType({})


class Comparison(NamedTuple):
    """Numbers with columns domain, sampler, explorer, seed, task, quantity, value; and what was decided, in lines."""

    numbers: pd.DataFrame
    notes: tuple[str, ...]


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
            ``policy`` is ``learned``, where there is such a column, plans (:mod:`waker.evaluation.planned`), and
            ``adapted`` ones, which stand beside their run as a sampler of their own, ``dr (adapted)``.
        model_error: rows of :mod:`waker.evaluation.model_error` with the run's columns.
        episodes: rows of training episodes: theta_id, length.
        sets: name → ids of θ, such as those that experts call ``hard``; ``<name>_share`` is the share of the agent
            steps that were made there.
        at: the step, see :mod:`waker.analysis.steps`.

    Returns:
        Any table may be empty. Numbers over all tasks are over those that every run of the domain has; adapted policies
        have one where they are for all of these.

    Raises:
        UserError: a step at which a run was not measured.
    """
    planned, expected = of_policy(evaluation, PLANNED), of_policy(evaluation, EXPECTED)
    decisive, adapted = deciding(evaluation), of_policy(evaluation, "adapted")
    evaluation = of_policy(evaluation, "learned")
    if "task" in evaluation:  # rows that were written before a task of that name was told apart
        evaluation = evaluation.assign(task=evaluation["task"].replace(ALL, task_name(ALL)))
    steps = choose_steps(decisive, model_error, episodes, at)
    evaluation = steps.cut(evaluation, "evaluation")
    planned, expected = (steps.cut(rows, "evaluation", "model_error") for rows in (planned, expected))
    model_error, episodes = steps.cut(model_error, "model_error"), steps.cut(episodes, "episodes")
    if not adapted.empty:
        adapted = steps.cut(adapted, "evaluation")
        adapted = adapted.assign(sampler=adapted["sampler"].map(adapted_label))
    rows: list[dict[str, Any]] = []
    notes = list(steps.notes)
    for part in _by_domain(evaluation):
        later = adapted if adapted.empty else adapted[adapted["domain"] == part["domain"].iloc[0]]
        found, lines = _returns(part, later)
        rows, notes = rows + found, notes + lines
    for part in _by_domain(planned):
        domain = part["domain"].iloc[0]
        rows += _plans(part, *(other[other["domain"] == domain] for other in (expected, evaluation)))
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


def _returns(played: pd.DataFrame, adapted: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """Numbers of one domain's runs from their episodes, each task and all together; and what to tell.

    Args:
        played: by the runs' policies.
        adapted: by policies that were trained later, for tasks that the runs had; may be empty. They do not decide
            which tasks are common.
    """
    played = with_best_known(played, worth(played))
    runs = dict(iter(played.groupby(RUN, sort=False)))
    later = dict(iter(adapted.groupby(RUN, sort=False))) if len(adapted) else {}
    single = {run: _of_tasks(rows) for run, rows in {**runs, **later}.items()}
    rows = _over_tasks(single, {**runs, **later}, frozenset(later))
    return rows, [*_task_notes(runs), *_episode_notes(runs), *_update_notes(runs)]


def _plans(planned: pd.DataFrame, expected: pd.DataFrame, learned: pd.DataFrame) -> list[dict[str, Any]]:
    """Numbers of one domain's runs from their plans, each task and all together.

    Args:
        planned: rows of episodes.
        expected: of θ, over all their episodes; used where every run has them, so that all are measured alike.
        learned: of the runs' policies.
    """
    known = set(expected.groupby(RUN).groups) if len(expected) else set()
    all_known = known >= set(planned.groupby(RUN).groups)
    exact = over_all_episodes(planned, expected if all_known else expected.iloc[:0])
    runs, sampled = (dict(iter(rows.assign(worth=worth(rows)).groupby(RUN, sort=False))) for rows in (exact, planned))
    played = dict(iter(learned.assign(worth=worth(learned)).groupby(RUN, sort=False))) if len(learned) else {}
    none = learned.iloc[:0]
    single = {run: plan_numbers(rows, sampled[run], played.get(run, none)) for run, rows in runs.items()}
    return _over_tasks(single, runs)


def _over_tasks(
    single: dict[Any, list[Number]], runs: dict[Any, pd.DataFrame], later: frozenset[Any] = frozenset()
) -> list[dict[str, Any]]:
    """Rows of all runs' numbers, task by task and over the tasks that every run has.

    Args:
        single: by run, task by task.
        runs: the episodes that they were made of.
        later: those among them that do not decide which tasks these are; one without some of them has no number over
            all.
    """
    rows = [row for run, numbers in single.items() for row in _of_run(run, numbers)]
    from_pairs = {f"{quantity}_{part}" for quantity in named("pairs") for part in PARTS}
    for quantity in dict.fromkeys(q for numbers in single.values() for _, q, _ in numbers):
        if quantity in from_pairs or quantity in LIMITS:  # from the rows below; a mean of limits is none
            continue
        values = {run: {t: v for t, q, v in found if q == quantity} for run, found in single.items()}
        values = {run: of_run for run, of_run in values.items() if of_run}
        known = {run: [t for t, v in of_run.items() if _known(quantity, v)] for run, of_run in values.items()}
        common = _common({run: tasks for run, tasks in known.items() if run not in later})
        for run, of_run in values.items():
            if not common or not set(common) <= set(known[run]):
                continue
            compute = quantity_of(quantity).compute
            if quantity in named("pairs") and compute is not None:
                pairs = runs[run][(runs[run]["suite"] == DR_SUITE) & runs[run]["task"].isin(common)]
                rows += _of_run(run, numbers_of(ALL, quantity, compute(pairs)))
            else:
                rows += _of_run(run, [(ALL, quantity, float(np.mean([of_run[t] for t in common])))])
    return rows


def _known(quantity: str, value: float) -> bool:
    """Whether a task counts among all; one of whose bracket the plug-in alone is known does."""
    return quantity in BRACKETED or not np.isnan(value)


def _common(names: dict[Any, list[str]]) -> list[str]:
    """What every run has, in the first one's order."""
    if not names:
        return []
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
            if others["optimal_return"].notna().any():
                numbers.append((task, f"{LEARNED_SUITE_REGRET}{suite}", mean_regret(others)))
        if len(dr):
            numbers += computed("episodes", str(task), dr)
    return numbers


def error_sample(rows: pd.DataFrame) -> Sample:
    """Model errors of one run, step and metric by θ; rows of single episodes are units, a row of a whole θ is one.

    Each source counts alike in a θ's mean, as in :func:`waker.analysis.source_means.pooled`.
    """
    coordinates = [c for c in rows if str(c).startswith("theta_")]
    # By source first: then either half of a θ's units has as many of each.
    units, rows = units_of(rows, ["source", "episode_seed"]), known(rows)
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
        rows += _of_run(run, computed("errors", ALL, sample))
    return rows, notes
