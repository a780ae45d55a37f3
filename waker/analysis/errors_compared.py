"""Numbers about the model's error beyond its mean and worst: by who acted, and how well the estimate orders θ.

Called by ``waker compare`` and the report; rows like those of :func:`waker.analysis.numbers.compare_runs`.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from waker.analysis.ranking import primary_metric, rank_correlation
from waker.analysis.source_means import by_source, sources_of
from waker.analysis.steps import RUN, At, Steps, choose_steps, deciding
from waker.names import ALL


def compared_steps(
    evaluation: pd.DataFrame, model_error: pd.DataFrame, episodes: pd.DataFrame, at: At = "common"
) -> Steps:
    """The steps at which :func:`waker.analysis.numbers.compare_runs` compares these runs."""
    return choose_steps(deciding(evaluation), model_error, episodes, at)


def error_numbers(curriculum: pd.DataFrame, model_error: pd.DataFrame) -> pd.DataFrame:
    """One number for each (run, quantity) at the run's last measured step.

    Args:
        curriculum: snapshots: step, theta_id, estimate and the run's columns; may be empty.
        model_error: rows of :mod:`waker.evaluation.model_error` with the run's columns; may be empty.

    Returns:
        Columns domain, sampler, explorer, seed, task (all), quantity, value: ``model_error_<source>``, the mean over θ
        of the primary metric for each source, where there are several; ``estimate_rank``, Spearman's correlation over θ
        of the curriculum's estimate with that metric; and ``estimate_rank_ceiling``.
    """
    rows: list[dict[str, Any]] = []
    if not model_error.empty:
        last = model_error[model_error["step"] == model_error.groupby(RUN)["step"].transform("max")]
        for run, errors in last.groupby(RUN, sort=False):
            metric = primary_metric(errors["metric"].unique().tolist())
            errors, found = errors[errors["metric"] == metric], dict[str, float]()
            sources = sources_of(errors)
            if len(sources) > 1:
                means = by_source(errors).groupby("source")["value"].mean()
                found = {f"model_error_{source}": float(means[source]) for source in sources}
            ranks = rank_correlation(curriculum, errors).dropna(subset=["spearman"])
            if len(ranks):
                found["estimate_rank"] = float(ranks["spearman"].iloc[0])
                found["estimate_rank_ceiling"] = float(ranks["ceiling"].iloc[0])
            identity = dict(zip(RUN, run, strict=True))
            rows += [{**identity, "task": ALL, "quantity": q, "value": v} for q, v in found.items()]
    return pd.DataFrame(rows, columns=[*RUN, "task", "quantity", "value"])
