"""What the plans of a study's runs are worth over all episodes of each θ: the rows behind its primary metric.

Called by ``python -m experiments.study collect`` and ``python -m experiments.rivals collect``. An evaluation of the
runs values plans in some hundred episodes; a room's table has the value of every start, so that nothing needs to be
sampled where the family lists its rooms (``beginnings``). Here the last checkpoint of every run is loaded and its plans
are valued again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from waker.analysis.quantities import ENDS_GIVEN, FORMS, PARTS, SAMPLED, SUITE_REGRET, plain
from waker.evaluation.plan import planned_episodes
from waker.evaluation.planned import planned_rows
from waker.evaluation.records import PLANNED_SAMPLES
from waker.evaluation.setup import Setup
from waker.names import ALL, DR_SUITE, EXPECTED
from waker.training.loading import load_run

VALUES = ("return", "optimal_return")
MEAN, SHARE = "planned_mean_regret", "planned_fraction_of_optimum"
WORST = ("planned_worst_regret", *(f"planned_worst_regret_{part}" for part in PARTS))
"""The worst regret, and what brackets it."""
Exact: TypeAlias = dict[tuple[str, int, str, str], float]


def plans(runs: Path) -> pd.DataFrame:
    """Columns sampler, seed, step, suite, task, θ's coordinates, return and optimal_return; a row a run, θ and task.

    Of a suite whose rooms the family does not list (fresh layouts) they are the means of the evaluation's episodes.

    Args:
        runs: folder of run folders with checkpoints, each of one domain.
    """
    rows = pd.DataFrame([row for folder in sorted(runs.rglob("checkpoints")) for row in of_run(folder.parent)])
    if rows.empty:
        return rows
    return rows.groupby([c for c in rows if c not in VALUES], sort=False, as_index=False, dropna=False).mean()


def of_run(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of one run, of its last checkpoint: over all episodes, or of each where not all are listed."""
    loaded = load_run(folder, lambda told: print(f"{folder}: {told}", file=sys.stderr))
    setup = Setup.of_run(loaded.config, loaded.family)
    # The evaluation's own episodes and samples: what is learned of their rooms is then what its rows say.
    episodes = planned_episodes(loaded.family, setup.config, setup.seed)
    rows = planned_rows(setup, loaded.agent.model, episodes, min(setup.config.samples, PLANNED_SAMPLES))
    about = {"sampler": loaded.config.curriculum.sampler, "seed": loaded.config.seed, "step": loaded.step}
    listed = {row["suite"] for row in rows if row["policy"] == EXPECTED}
    for row in rows:
        if row["policy"] == EXPECTED or row["suite"] not in listed:
            theta = {k: v for k, v in row.items() if k.startswith("theta_") and k != "theta_id"}
            yield {**about, "suite": row["suite"], "task": row["task"], **theta, **{k: row[k] for k in VALUES}}
    print(f"{folder}: step {loaded.step}", file=sys.stderr, flush=True)


def regrets(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns sampler, seed, suite, worst and mean: the largest regret of a θ and task, and the mean over all.

    The θ of both studies are equally likely under domain randomisation, and count alike.
    """
    regret = rows.assign(regret=rows["optimal_return"] - rows["return"])
    grouped = regret.groupby(["sampler", "seed", "suite"], sort=False)["regret"]
    return grouped.agg(worst="max", mean="mean").reset_index()


def exact_values(rows: pd.DataFrame) -> Exact:
    """The exact values of all runs: (sampler, seed, task, quantity) → value, of every task and of all together.

    Over all tasks the worst regret is that of the worst pair of θ and task, the share of the optimum a mean over tasks.
    """
    found: Exact = {}
    tasks = [*rows.groupby("task", sort=False), (ALL, rows)]
    for task, of in tasks:
        for row in regrets(of).to_dict("records"):
            run = str(row["sampler"]), int(row["seed"]), str(task)
            if row["suite"] == DR_SUITE:
                found |= {(*run, name): row["worst"] for name in WORST} | {(*run, MEAN): row["mean"]}
            else:
                found[(*run, f"{SUITE_REGRET}{row['suite']}")] = row["mean"]
    sums = rows[rows["suite"] == DR_SUITE].groupby(["sampler", "seed", "task"])[list(VALUES)].sum()
    shares = sums["return"] / sums["optimal_return"]
    for by, of in ((shares, [*shares.index]), (shares.groupby(["sampler", "seed"]).mean(), [])):
        keys = of or [(*run, ALL) for run in by.index]
        found |= {(*key, SHARE): value for key, value in zip(keys, by, strict=True)}
    return found


def exact_numbers(numbers: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The numbers of a part with exact ones in the place of sampled ones.

    Args:
        numbers: of ``waker compare``: sampler, seed, task, quantity, value.
        rows: of :func:`plans` of the same runs.

    Returns:
        The numbers with those quantities replaced; the sampled ones have :data:`SAMPLED` behind their names. What
        brackets the worst regret is the regret itself: nothing is sampled.
    """
    exact = exact_values(rows)
    keys = _keys(numbers)
    known = keys.isin(list(exact))
    sampled = numbers[known].assign(quantity=numbers["quantity"] + SAMPLED)
    replaced = numbers.assign(value=numbers["value"].where(~known, keys.map(exact)))
    return pd.concat([replaced, sampled], ignore_index=True)


def sampled_numbers(numbers: pd.DataFrame) -> pd.DataFrame:
    """The numbers as the evaluations had them: what :func:`exact_numbers` and :func:`plans_before` were given."""
    former_ones = numbers["quantity"].str.endswith(FORMS)
    sampled = numbers[numbers["quantity"].str.endswith(SAMPLED)]
    values = dict(zip(_keys(sampled.assign(quantity=sampled["quantity"].map(plain))), sampled["value"], strict=True))
    found = numbers[~former_ones].reset_index(drop=True)
    keys = _keys(found)
    return found.assign(value=found["value"].where(~keys.isin(list(values)), keys.map(values)))


def plans_before(numbers: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`exact_numbers` over all tasks, of plans that were told where episodes end, named so.

    Args: as of :func:`exact_numbers`; rows: as of :func:`plans` at the time of the first answers.
    """
    found, exact = exact_numbers(numbers, rows), exact_values(rows)
    known = found["task"].eq(ALL) & ~found["quantity"].isin(WORST[1:]) & _keys(found).isin(list(exact))
    return found[known].assign(quantity=found["quantity"] + ENDS_GIVEN)


def _keys(numbers: pd.DataFrame) -> pd.Series:
    """Sampler, seed, task and quantity of each row."""
    columns = (numbers[name] for name in ("sampler", "seed", "task", "quantity"))
    return pd.Series(list(zip(*columns, strict=True)), numbers.index, dtype=object)
