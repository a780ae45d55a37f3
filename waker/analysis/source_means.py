"""Rows of model errors by who acted in the held-out episodes: pooled over sources, and those that all runs share.

Sources are made by :mod:`waker.evaluation.sources`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.steps import RUN

RANDOM = "random"
"""The source of uniform random actions."""
IDENTITY = ["source", "held_out", "exact_keys"]
"""Columns that say what a row was measured on, and which keys its total variation sees."""
UNKNOWN = "not recorded"
"""Of rows that were measured before these columns were there."""


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each (run, step, θ, metric): the mean over sources of the mean over their episodes.

    Rows that are such means already (of runs measured before rows were of episodes) and rows that name no θ keep their
    values.
    """
    return _means(rows, by_source=False)


def by_source(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`pooled` for each source alone, with its column ``source``."""
    return _means(rows, by_source=True)


def _means(rows: pd.DataFrame, by_source: bool) -> pd.DataFrame:
    theta = [c for c in rows if str(c).startswith("theta_")]
    if rows.empty or not theta:
        return rows
    rows = known(rows)
    keys = [c for c in (*RUN, "run", "group", "step", "updates", *theta, "metric") if c in rows]
    # By θ's coordinates as well: those outside a finite space share the id −1. One domain's rows lack those of others.
    if by_source:
        return rows.groupby([*keys, "source"], sort=False, dropna=False)["value"].mean().reset_index()
    weight = source_weights(rows, keys)
    sums = rows.assign(value=weight * rows["value"], weight=weight).groupby(keys, sort=False, dropna=False)
    return (sums["value"].sum(min_count=1) / sums["weight"].sum()).rename("value").reset_index()


def source_weights(rows: pd.DataFrame, keys: Sequence[str]) -> NDArray[np.float64]:
    """How much each row counts in the mean of its group, (n,), so that each source counts alike whatever its rows.

    Args:
        rows: ``source`` (see :func:`known`), ``value`` and the keys.
        keys: columns whose equal values make a group; missing equals missing.

    Returns:
        Rows of the group / (sources · rows of the source): 1 where all sources have as many. A row without a value is
        not counted as one.
    """
    valued = rows["value"].notna()
    if valued.all() and rows["source"].nunique(dropna=False) == 1:
        return np.ones(len(rows))
    counted = rows.loc[:, [*keys, "source"]].assign(valued=valued, of_source=rows["source"].where(valued))
    groups = counted.groupby(list(keys), sort=False, dropna=False)
    own = counted.groupby([*keys, "source"], sort=False, dropna=False)["valued"].transform("sum")
    total, sources = groups["valued"].transform("sum"), groups["of_source"].transform("nunique")
    share = total / (sources * own).where(lambda rows_of: rows_of > 0, 1)
    return share.to_numpy(np.float64)


def known(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the columns of :data:`IDENTITY`, which older ones lack: then it was random actions."""
    missing = {"source": RANDOM, "held_out": UNKNOWN, "exact_keys": UNKNOWN}
    return rows.assign(**{c: rows[c].fillna(missing[c]) if c in rows else missing[c] for c in IDENTITY})


def shared(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows that are comparable: those of the sources that every run was measured on alike.

    Args:
        rows: of model errors, of the runs of one domain.

    Returns:
        The rows, and one line for each thing that was left out or is not known.
    """
    if rows.empty or not set(RUN) <= set(rows):
        return rows, []
    rows, notes = known(rows), list[str]()
    # As one string: what differs in any of the three differs.
    first, *others = (rows[column].astype(str) for column in IDENTITY)
    rows["_identity"] = first.str.cat(others, sep=" · ")
    newest = rows[rows["step"] == rows.groupby(RUN)["step"].transform("max")] if "step" in rows else rows
    measured = {
        " · ".join(map(str, run)): set(part["_identity"].unique()) for run, part in newest.groupby(RUN, sort=False)
    }
    common = set.intersection(*measured.values())
    if any(what != common for what in measured.values()):
        notes.append(_difference(measured, common))
        rows = rows[rows["_identity"].isin(common)]
    if "step" in rows and len(rows):
        # A later `waker evaluate` measures the last step alone: a curve must not go from one mixture to another.
        alike = [set(part["_identity"].unique()) == common for _, part in rows.groupby([*RUN, "step"])]
        kept = rows.groupby([*RUN, "step"]).ngroup().map(dict(enumerate(alike))).astype(bool)
        if not kept.all():
            notes.append("model errors of earlier steps are of other held-out trajectories than the last and left out")
            rows = rows[kept]
    rows = rows.drop(columns="_identity")
    if (rows["held_out"] == UNKNOWN).any():
        notes.append(
            "model errors: which held-out trajectories they are of, and which keys they see, is not recorded "
            "(an earlier version: random actions, GridCleanUp's blocks not seen); `waker evaluate` measures them anew"
        )
    return rows, notes


def _difference(measured: dict[str, set[str]], common: set[str]) -> str:
    """Two runs that differ, in one line."""
    first = next(iter(measured))
    name, other = next(((n, w) for n, w in measured.items() if w != measured[first]), (first, measured[first]))
    ours, theirs = (sorted(what - common) for what in (measured[first], other))
    kept = "compared on what all share" if common else "left out of the comparison"
    return (
        f"model errors of different held-out trajectories are {kept}: {first} has {'; '.join(ours) or 'nothing else'}, "
        f"{name} has {'; '.join(theirs) or 'nothing else'}; `waker evaluate` with one --reference measures all alike"
    )


def sources_of(rows: pd.DataFrame) -> list[str]:
    """The sources in the rows, random first."""
    found: Sequence[str] = [] if rows.empty else known(rows)["source"].unique().tolist()
    return sorted(found, key=lambda name: (name != RANDOM, name))
