"""Whether the compared samplers have chosen anything yet. Called by the study and the report.

Before its first estimate a curriculum draws as domain randomisation does, so that paired runs have the same episodes:
what differs between them then is not the curriculum's work, and a reader must be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from waker.curriculum.labels import is_adapted, sampler_name

NONE_CHOSEN = "no episode was chosen by a curriculum yet"
SAME = " have the same data so far"
_EVERY = "all samplers"
ALL_UNCHOSEN = f"{_EVERY}{SAME}: {NONE_CHOSEN}"
_EPISODE = ("theta_id", "episode_seed", "length")
"""Columns that tell what was played, beside those of θ."""
_RUN = ["sampler", "explorer", "seed"]
_UNCHOSEN = "dr"


class Alike(NamedTuple):
    """Samplers whose data is the same in all seeds that they share."""

    samplers: tuple[str, ...]
    unchosen: bool


def alike(episodes: pd.DataFrame, curriculum: pd.DataFrame) -> list[Alike]:
    """The samplers of one domain whose paired runs have the same training episodes so far.

    Args:
        episodes: sampler, explorer, seed, theta_id, theta_<name>…, episode_seed, length: up to the compared step, each
            run's in its order. A run of which no episode has ended yet has none.
        curriculum: snapshots up to there: sampler, explorer, seed, estimate; may be empty.

    Returns:
        Groups of at least two; ``unchosen``: one of them is domain randomisation, or none has an estimate, so that no
        curriculum chose any of these episodes. Samplers that share no seed are not alike.
    """
    present = _runs(episodes, curriculum)
    columns = [c for c in episodes if c in _EPISODE or str(c).startswith("theta_")]
    runs: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    played = dict(iter(episodes.groupby(_RUN, sort=False))) if len(episodes) else {}
    for sampler, explorer, seed in present:
        part = played.get((sampler, explorer, seed), episodes[:0])
        runs.setdefault(sampler, {})[explorer, seed] = part[columns].to_numpy(float)
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


def _runs(*tables: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Sampler, explorer and seed of every run with rows in one of the tables."""
    keyed = [rows[_RUN].drop_duplicates() for rows in tables if len(rows) and set(_RUN) <= set(rows)]
    found = pd.concat(keyed).drop_duplicates() if keyed else pd.DataFrame(columns=_RUN)
    return [(str(sampler), str(explorer), int(seed)) for sampler, explorer, seed in found.itertuples(index=False)]


def _same(ours: dict[tuple[str, int], np.ndarray], theirs: dict[tuple[str, int], np.ndarray]) -> bool:
    common = ours.keys() & theirs.keys()
    return bool(common) and all(np.array_equal(ours[run], theirs[run], equal_nan=True) for run in common)


def same_data_notes(episodes: pd.DataFrame, curriculum: pd.DataFrame) -> list[str]:
    """:func:`alike` in lines; of all samplers together :data:`ALL_UNCHOSEN` where no curriculum chose anything."""
    notes = []
    for group in alike(episodes, curriculum):
        every = set(group.samplers) == {sampler for sampler, _, _ in _runs(episodes, curriculum)}
        named = _EVERY if every else f"{', '.join(group.samplers[:-1])} and {group.samplers[-1]}"
        notes.append(f"{named}{SAME}{f': {NONE_CHOSEN}' if group.unchosen else ''}")
    return notes


def nothing_told(notes: Sequence[str]) -> str:
    """The sentence of conclusion where all that could be tested is of samplers with the same data; else empty."""
    same = [note for note in notes if SAME in note]
    return f"Nothing can be told of the samplers: {'; '.join(same)}." if same else ""


def without_same(rows: pd.DataFrame, baseline: str, notes: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Rows of samplers without those whose data is the baseline's: between them there is nothing to test.

    Args:
        rows: domain and sampler, of pairs over samplers or of probabilities of improvement.
        baseline: a sampler.
        notes: by domain, with those of :func:`same_data_notes`.
    """
    left_out = np.zeros(len(rows), bool)
    for domain, part in rows.groupby("domain", sort=False):
        names = set(part["sampler"])
        same = {name for note in notes.get(str(domain), ()) for name in _sharing(note, baseline, names)}
        left_out |= (rows["domain"] == domain).to_numpy() & rows["sampler"].isin(same).to_numpy()
    return rows[~left_out]


def _sharing(note: str, baseline: str, names: set[str]) -> set[str]:
    """Which of these samplers a note tells to have the baseline's data; policies adapted later differ in more."""
    told, same, _ = note.partition(SAME)
    if same and told == _EVERY:
        return {name for name in names if not is_adapted(name)}

    def is_told(name: str) -> bool:
        return re.search(rf"(?:^|, | and ){re.escape(name)}(?=, | and |$)", told) is not None

    return {name for name in names if is_told(name)} if same and is_told(baseline) else set()
