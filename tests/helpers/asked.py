"""A small replay that a chance policy filled in GridHazards, and queries about it; for tests of preferences."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from waker.collection.collector import Collector
from waker.collection.family import Family
from waker.config.presets import preset
from waker.curriculum import make_curriculum
from waker.preferences import table
from waker.preferences.queries import uniform_pairs
from waker.preferences.segments import arrived, candidates
from waker.replay.ring import Replay, record_fields
from waker.seeding import Streams

RUN = "gridhazards/dr/plan2explore/seed-0"


@functools.cache
def family() -> Family:
    """GridHazards as a run has it."""
    return Family.of(preset("tiny"))


@functools.cache
def replay() -> Replay:
    """Four slots of 120 records; read it only."""
    found = Replay(record_fields(family().spec), 4, 4 * 120)
    streams = Streams.from_seed(3)
    config = preset("tiny").with_(sampler="dr")
    curriculum = make_curriculum("dr", family().space, config.curriculum, np.random.default_rng(0), 1)
    collector = Collector(family(), curriculum, found, 4, streams, lambda row: None)
    for _ in range(120):
        collector.tick(None)
    collector.close()
    return found


def asked(n: int = 12, length: int = 4, seed: int = 0) -> pd.DataFrame:
    """Queries that nobody has answered."""
    pairs = uniform_pairs(candidates(replay(), length), n, np.random.default_rng(seed))
    return table.questions(pairs, replay(), RUN, "uniform")


def answered(n: int = 12, length: int = 4, seed: int = 0, task: int = 0) -> pd.DataFrame:
    """The same with an oracle's answers."""
    frame = asked(n, length, seed)
    sums = []
    for segments in table.pairs_of(frame):
        rewards, inside = arrived(replay(), "task_rewards", segments)
        sums.append((rewards[..., task] * inside).sum(1))
    label = 0.5 * (np.sign(sums[0] - sums[1]) + 1)
    return table.labelled(frame, label, "teacher:oracle", score_1=sums[0], score_2=sums[1])


def written(folder: Path, frame: pd.DataFrame, name: str = "q.parquet") -> Path:
    """A file of these rows."""
    table.write(folder / name, frame)
    return folder / name
