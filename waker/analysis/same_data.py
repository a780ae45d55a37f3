"""Whether the compared samplers have chosen anything yet. Called by the study and the report.

Before its first estimate a curriculum draws as domain randomisation does, so that paired runs have the same episodes:
what differs between them then is not the curriculum's work, and a reader must be told.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from waker.curriculum.labels import sampler_name

NONE_CHOSEN = "no episode was chosen by a curriculum yet"
ALL_UNCHOSEN = f"all samplers have the same data so far: {NONE_CHOSEN}"
_EPISODE = ("theta_id", "episode_seed", "length")
"""Columns that tell what was played, beside those of θ."""
_UNCHOSEN = "dr"


class Alike(NamedTuple):
    """Samplers whose data is the same in all seeds that they share."""

    samplers: tuple[str, ...]
    unchosen: bool


def alike(episodes: pd.DataFrame, curriculum: pd.DataFrame) -> list[Alike]:
    """The samplers of one domain whose paired runs have the same training episodes so far.

    Args:
        episodes: sampler, explorer, seed, theta_id, theta_<name>…, episode_seed, length: up to the compared step, each
            run's in its order.
        curriculum: snapshots up to there: sampler, explorer, seed, estimate; may be empty.

    Returns:
        Groups of at least two; ``unchosen``: one of them is domain randomisation, or none has an estimate, so that no
        curriculum chose any of these episodes. Samplers that share no seed are not alike.
    """
    if episodes.empty:
        return []
    columns = [c for c in episodes if c in _EPISODE or str(c).startswith("theta_")]
    runs: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    for (sampler, explorer, seed), part in episodes.groupby(["sampler", "explorer", "seed"], sort=False):
        runs.setdefault(str(sampler), {})[str(explorer), int(seed)] = part[columns].to_numpy(float)
    groups: list[list[str]] = []
    for sampler in runs:
        joined = next((group for group in groups if _same(runs[group[0]], runs[sampler])), None)
        groups.append([sampler]) if joined is None else joined.append(sampler)
    estimated = set(curriculum.dropna(subset=["estimate"])["sampler"]) if "estimate" in curriculum else set()
    return [
        Alike(tuple(group), any(sampler_name(s) == _UNCHOSEN for s in group) or not estimated & set(group))
        for group in groups
        if len(group) > 1
    ]


def _same(ours: dict[tuple[str, int], np.ndarray], theirs: dict[tuple[str, int], np.ndarray]) -> bool:
    common = ours.keys() & theirs.keys()
    return bool(common) and all(np.array_equal(ours[run], theirs[run], equal_nan=True) for run in common)


def same_data_notes(episodes: pd.DataFrame, curriculum: pd.DataFrame) -> list[str]:
    """:func:`alike` in lines; of all samplers together :data:`ALL_UNCHOSEN` where no curriculum chose anything."""
    notes = []
    for group in alike(episodes, curriculum):
        every = set(group.samplers) == set(episodes["sampler"])
        named = "all samplers" if every else f"{', '.join(group.samplers[:-1])} and {group.samplers[-1]}"
        notes.append(f"{named} have the same data so far{f': {NONE_CHOSEN}' if group.unchosen else ''}")
    return notes
