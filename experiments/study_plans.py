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
from typing import Any

import pandas as pd

from waker.evaluation.plan import planned_episodes
from waker.evaluation.planned import planned_rows
from waker.evaluation.records import PLANNED_SAMPLES
from waker.evaluation.setup import Setup
from waker.names import DR_SUITE, EXPECTED
from waker.training.loading import load_run

VALUES = ("return", "optimal_return")


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


def exact_numbers(numbers: pd.DataFrame, rows: pd.DataFrame, primary: str, beside: str, suite: str) -> pd.DataFrame:
    """The numbers of a part with exact ones in the place of sampled ones, for all tasks together.

    Args:
        numbers: of ``waker compare``: sampler, seed, task, quantity, value.
        rows: of :func:`plans` of the same runs.
        primary, beside: names of the worst and the mean regret under domain randomisation.
        suite: what is before a suite's name in the name of its mean regret.

    Returns:
        The numbers with those quantities replaced; the sampled ones have :data:`SAMPLED` behind their names.
    """
    found = regrets(rows)
    exact: dict[tuple[str, int, str], float] = {}
    for row in found.to_dict("records"):
        run = str(row["sampler"]), int(row["seed"])
        if row["suite"] == DR_SUITE:
            exact |= {(*run, primary): row["worst"], (*run, beside): row["mean"]}
        else:
            exact[(*run, f"{suite}{row['suite']}")] = row["mean"]
    keys = pd.Series(list(zip(numbers["sampler"], numbers["seed"], numbers["quantity"], strict=True)), numbers.index)
    known = numbers["task"].eq("all") & keys.isin(list(exact))
    sampled = numbers[known].assign(quantity=numbers["quantity"] + SAMPLED)
    replaced = numbers.assign(value=numbers["value"].where(~known, keys.map(exact)))
    return pd.concat([replaced, sampled], ignore_index=True)


def plans_before(numbers: pd.DataFrame, rows: pd.DataFrame, primary: str, beside: str, suite: str) -> pd.DataFrame:
    """Rows of :func:`exact_numbers` of plans that were told where episodes end, named so.

    Args: as of :func:`exact_numbers`; rows: as of :func:`plans` at the time of the first answers.
    """
    found = exact_numbers(numbers, rows, primary, beside, suite)
    sampled = found["quantity"].str.endswith(SAMPLED)
    known = found["task"].eq("all") & found["quantity"].isin(found["quantity"][sampled].str.removesuffix(SAMPLED))
    return found[known].assign(quantity=found["quantity"] + ENDS_GIVEN)


SAMPLED = ", sampled"
"""Behind the name of a quantity that was computed of the evaluation's episodes alone, not of all."""
ENDS_GIVEN = ", ends given"
"""Behind the name of a quantity of plans that took each step into a hazard for an end, whatever the model believed."""
