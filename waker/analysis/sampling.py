"""What each sampler chose through training: shares of episodes by groups of θ, in bins of agent steps.

Called by ``waker compare`` and the study's page. Groups are the sets of θ that a family tells apart (such as those that
experts call hard), each value of each parameter, and the one θ that a run chose most often in the bin (near 1: the
sampler has collapsed onto it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from waker.analysis.metrics import means_over_seeds
from waker.analysis.steps import GROUP, RUN

BINS = 10
MOST_VALUES = 12
"""A parameter with more values than this is cut into :data:`_PARTS` ranges of as many episodes each."""
_PARTS = 4
SET = " θ"
"""Behind a set's name, where there are parameters."""
MOST = f"most sampled{SET}"
COLUMNS = (*RUN, "begin", "end", "parameter", "group", "share", "episodes")
"""Of rows of shares: agent steps of the bin; ``theta_<name>``, or a set such as ``hard θ``, or :data:`MOST`; which
group of it (of a set none); its share of the episodes of this run that ended in the bin; and how many ended."""


def sampling_shares(
    episodes: pd.DataFrame, sets: Mapping[str, Sequence[int]] | None = None, bins: int = BINS
) -> pd.DataFrame:
    """Shares of episodes by groups of θ through the training of runs of one domain.

    Args:
        episodes: rows of training episodes: step (when it ended), theta_id, theta_<name> and the run's columns; cut to
            the steps that are compared.
        sets: name → ids of θ.
        bins: of equal length, from the first step to the shortest run's last.

    Returns:
        Columns :data:`COLUMNS`. Bins in which no episode of a run ended have no rows for it.
    """
    if episodes.empty or "step" not in episodes:
        return pd.DataFrame(columns=list(COLUMNS))
    last = int(episodes.groupby(RUN)["step"].max().min())
    edges = np.linspace(0, max(last, 1), bins + 1).round().astype(int)
    number = np.searchsorted(edges, episodes["step"].to_numpy(), "left") - 1
    episodes = episodes.assign(bin=number.clip(min=0)).reset_index(drop=True)
    groups = _groups(episodes)
    inside = {f"{name}{SET}": episodes["theta_id"].isin(list(ids)) for name, ids in (sets or {}).items() if len(ids)}
    episodes = episodes[number < bins]
    rows: list[dict[str, Any]] = []
    for (*run, at), part in episodes.groupby([*RUN, "bin"], sort=False):
        about = {**dict(zip(RUN, run, strict=True)), "begin": edges[at], "end": edges[at + 1]}
        shares = {(name, ""): float(among[part.index].mean()) for name, among in inside.items()}
        if (part["theta_id"] >= 0).all():
            shares[MOST, ""] = float(part["theta_id"].value_counts(normalize=True).max())
        for parameter, labels in groups.items():
            found = labels[part.index].value_counts() / len(part)
            shares |= {(parameter, group): float(found.get(group, 0.0)) for group in labels.cat.categories}
        for (parameter, group), share in shares.items():
            rows.append({**about, "parameter": parameter, "group": group, "share": share, "episodes": len(part)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _groups(episodes: pd.DataFrame) -> Mapping[str, pd.Series]:
    """Parameter → each episode's group, as a categorical whose categories are in the order to show."""
    found: dict[str, pd.Series] = {}
    for column in episodes:
        if not str(column).startswith("theta_") or column == "theta_id" or episodes[column].nunique() < 2:
            continue
        values = episodes[column].astype(float)
        if values.nunique() > MOST_VALUES:
            cut = pd.qcut(values, _PARTS, duplicates="drop")
            found[str(column)] = cut.cat.rename_categories(lambda i: f"{i.left:.3g} to {i.right:.3g}")
        else:
            names = [f"{value:g}" for value in sorted(values.dropna().unique())]
            found[str(column)] = values.map("{:g}".format).astype(pd.CategoricalDtype(list(dict.fromkeys(names))))
    return found


def mean_shares(shares: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with Student's 95 % interval, cut to [0, 1].

    Args:
        shares: from :func:`sampling_shares`, of any number of domains.

    Returns:
        Columns domain, sampler, explorer, begin, end, parameter, group, mean, low, high, seeds.
    """
    means = means_over_seeds(shares, [*GROUP, "begin", "end", "parameter", "group"], "share")
    return means.assign(low=means["low"].clip(lower=0.0), high=means["high"].clip(upper=1.0))
