"""The nominal agent step of rows: when they were due, so that runs of one study share it. One x axis for all figures.

Called by ``waker.rows`` and the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def marks(rows: pd.DataFrame, settings: Mapping[str, Any], ends: Mapping[int, int] | None = None) -> NDArray[np.int64]:
    """The agent step that each row was due at, (n,), so that runs of one study share it.

    Slots are stepped together, so a run measures up to some steps after a multiple of ``evaluation.every``, and ends
    up to some after ``train.steps``; what is logged by updates is due when the schedule allows the update.

    Args:
        rows: ``step``; ``updates`` too where they are rows of the learner or the curriculum; ``episode_seed`` or
            ``metric`` where they are rows of an evaluation.
        settings: of the run, by dotted name; where they are missing, a row is due where it was made.
        ends: where a run that went on had ended before → the steps that were asked for then.
    """
    step = rows["step"].to_numpy(np.int64)
    if not {"train.steps", "evaluation.every", "train.train_every", "train.prefill"} <= set(settings):
        return step
    evaluated = bool({"policy", "metric"} & set(rows))
    if evaluated and settings["evaluation.every"]:
        due = step // settings["evaluation.every"] * settings["evaluation.every"]
    elif "updates" in rows and not evaluated:
        first = max(settings["train.prefill"], settings["train.envs"] * settings["train.length"])
        due = np.floor(first + (rows["updates"].to_numpy() - 1) * settings["train.train_every"]).astype(np.int64)
    else:
        due = step
    for made, asked in (ends or {}).items():
        due = np.where(evaluated & (step == made), asked, due)
    return np.where(step >= settings["train.steps"], settings["train.steps"], due)


def at_marks(rows: pd.DataFrame, settings: Mapping[str, Any], ends: Mapping[int, int] | None = None) -> pd.DataFrame:
    """One run's rows with the nominal step as ``step``; as they are where two of its steps would become one.

    Args:
        rows: of a table of a run; may be empty.
        settings: of the run, by dotted name.
        ends: see :func:`marks`.
    """
    if "step" not in rows or "updates" not in rows:
        return rows
    due = pd.Series(marks(rows, settings, ends), index=rows.index)
    if pd.DataFrame({"due": due, "step": rows["step"]}).drop_duplicates()["due"].duplicated().any():
        return rows
    return rows.assign(step=due)


def learner_steps(metrics: pd.DataFrame, settings: Mapping[str, Any]) -> pd.Series:
    """The nominal step of a run's rows of metrics.

    Updates of task policies after the last agent step take no step: they go on behind it, at as many steps an update
    as the training had.

    Args:
        metrics: step, updates, in the run's order.
        settings: of the run, by dotted name; of runs without them the steps an update are the rows' own.
    """
    step, updates = metrics["step"].to_numpy(np.float64), metrics["updates"].to_numpy(np.float64)
    after = step >= step.max()
    ends = updates[after].min()
    before = ~after & (updates > 0)
    rate = settings.get("train.train_every") or (float((step[before] / updates[before]).max()) if before.any() else 1.0)
    nominal = marks(metrics, settings).astype(np.float64)
    return pd.Series(np.where(after, nominal + (updates - ends) * float(rate), nominal), index=metrics.index)
