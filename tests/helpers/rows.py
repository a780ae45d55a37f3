"""Numbers of runs for tests: one row for each run, task and quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd


def numbers(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    quantity: str = "mean_return",
    *,
    explorer: str = "e",
    domain: str = "d",
    seeds: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Rows for sampler → task → value of each seed (of ``seeds``, else 0, 1, …)."""
    return pd.DataFrame(
        {
            "domain": domain,
            "sampler": sampler,
            "explorer": explorer,
            "seed": seed,
            "task": task,
            "quantity": quantity,
            "value": value,
        }
        for sampler, tasks in values.items()
        for task, found in tasks.items()
        for seed, value in zip(seeds or range(len(found)), found, strict=True)
    )
