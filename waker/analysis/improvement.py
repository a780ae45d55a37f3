"""Probability of improvement over a baseline sampler, from the numbers of several runs.

Called by ``waker compare``. Agarwal et al. 2021 (arXiv 2108.13264): the chance that a random run of one sampler beats
a random run of the other on a random task, with an interval whose units are whole runs (tasks of a run share its
model). It says how *often* a sampler is better where the table of means says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from waker.analysis.metrics import improvement_interval
from waker.analysis.quantities import named, quantity_of
from waker.names import ALL


def improvements(
    numbers: pd.DataFrame, baseline: str = "dr", wanted: Sequence[str] = named("improvement")
) -> pd.DataFrame:
    """P(a run of a sampler beats a run of ``baseline``), averaged over tasks, within each domain and explorer.

    Args:
        numbers: from :func:`waker.analysis.numbers.compare_runs`.
        baseline: the sampler to beat.
        wanted: quantities; those where lower is better count a lower value as the win.

    Returns:
        Columns domain, explorer, sampler, quantity, probability, low, high, seeds, baseline_seeds, tasks. Only where
        both have at least two seeds, on the tasks that every one of these runs has a number for.
    """
    rows = []
    single = numbers[numbers["task"] != ALL]
    for (domain, explorer, quantity), group in single.groupby(["domain", "explorer", "quantity"], sort=False):
        if quantity not in wanted:
            continue
        scores = group.pivot_table(index=["sampler", "seed"], columns="task", values="value")
        samplers = scores.index.get_level_values("sampler")
        for sampler in dict.fromkeys(group["sampler"]):
            if sampler == baseline or baseline not in samplers:
                continue
            both = scores[samplers.isin([sampler, baseline])].dropna(axis=1)
            ours, theirs = both.loc[sampler].to_numpy(), both.loc[baseline].to_numpy()
            if min(len(ours), len(theirs)) < 2 or not both.shape[1]:
                continue
            sign = -1.0 if quantity_of(str(quantity)).better == "less" else 1.0
            found = improvement_interval(sign * ours, sign * theirs)
            rows.append(
                {
                    "domain": domain,
                    "explorer": explorer,
                    "sampler": sampler,
                    "quantity": quantity,
                    "probability": found.point,
                    "low": found.low,
                    "high": found.high,
                    "seeds": len(ours),
                    "baseline_seeds": len(theirs),
                    "tasks": both.shape[1],
                }
            )
    columns = ["domain", "explorer", "sampler", "quantity", "probability", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "seeds", "baseline_seeds", "tasks"])
