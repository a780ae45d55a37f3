"""How well the curriculum's estimate ranks the world model's true error over θ.

Called by :mod:`waker.cli.verbs.compare` and the report. A curriculum only has to order θ: Spearman's correlation says
whether it does. Measure it on DR runs: a curriculum that works equalises the very error it measures. Beside it stands
the ceiling that the measurement of the true error itself sets (:mod:`waker.analysis.reliability`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from waker.analysis.metrics import spearman
from waker.analysis.reliability import by_episode, ceiling
from waker.analysis.source_means import known, pooled
from waker.analysis.steps import RUN


def primary_metric(metrics: list[str] | np.ndarray) -> str | None:
    """The metric that stands for the model's error: exact total variation if there is one, else what comes nearest.

    Order: open-loop total variation, one-step total variation, k-step observation error, one-step, latent KL.
    """
    names = sorted(set(metrics))
    for prefix in ("open_loop_tv", "one_step_tv", "observation_nll", "observation_mse", "latent_kl"):
        found = [n for n in names if n.startswith(prefix)]
        if found:
            return max(found, key=steps_ahead)
    return names[0] if names else None


def steps_ahead(metric: str) -> int:
    """How many steps ahead a metric of the model's error looks: the number at the end of its name, else 1."""
    last = metric.rpartition("_")[2]
    return int(last) if last.isdigit() else 1


def rank_correlation(curriculum: pd.DataFrame, model_error: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation over θ between the estimates and the true error, at each measured step.

    Args:
        curriculum: rows with step, theta_id, estimate (NaN = no estimate yet). Rows that stand for several θ (column
            ``thetas``, see :mod:`waker.curriculum.thinning`) are left out.
        model_error: rows with step, theta_id, metric, value, of episodes of sources or means of them. Rows outside a
            finite space (theta_id −1) are left out.

    Returns:
        Rows of the run's columns (those of :data:`RUN` that both have), step, metric, spearman, ceiling (the highest
        that an estimate can be expected to reach with this measurement; NaN where rows are not of episodes or of one
        each), theta (how many θ were compared). Estimates are those of the last snapshot at or before the measurement,
        or of the first snapshot if all came later.
    """
    columns = ["step", "metric", "spearman", "ceiling", "theta"]
    keys = [c for c in RUN if c in curriculum and c in model_error]
    if curriculum.empty or model_error.empty:
        return pd.DataFrame(columns=[*keys, *columns])
    if "thetas" in curriculum:
        curriculum = curriculum[curriculum["thetas"].fillna(1) == 1]
    rows, of_theta = [], model_error[model_error["theta_id"] >= 0]
    means = dict(iter(pooled(of_theta).groupby([*keys, "step", "metric"], sort=False)))
    for group, errors in of_theta.groupby([*keys, "step"]):
        *identity, step = group
        snapshots = curriculum
        for key, value in zip(keys, identity, strict=True):
            snapshots = snapshots[snapshots[key] == value]
        if snapshots.empty:
            continue
        before = snapshots.loc[snapshots["step"] <= step, "step"]
        at = before.max() if len(before) else snapshots["step"].min()
        estimates = snapshots[snapshots["step"] == at].drop_duplicates("theta_id", keep="last")
        held = estimates.set_index("theta_id")["estimate"].astype(float)
        for metric, measured in errors.groupby("metric"):
            by_theta = means[*identity, step, metric].groupby("theta_id")["value"].mean()
            estimate = held.reindex(by_theta.index)
            of_compared = by_episode(known(measured), by_theta.index[estimate.notna()].tolist())
            rows.append(
                {
                    **dict(zip(keys, identity, strict=True)),
                    "step": step,
                    "metric": metric,
                    "spearman": spearman(estimate.to_numpy(), by_theta.to_numpy()),
                    "ceiling": ceiling(of_compared),
                    "theta": int(estimate.notna().sum()),
                }
            )
    return pd.DataFrame(rows, columns=[*keys, *columns])
