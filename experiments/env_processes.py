"""What do environment processes gain? Agent steps per second of the collector with 0, 1 and 2 of them.

    python -m experiments.env_processes [--rounds 3] [--seconds 0.4]

TerrainWalker in pictures (some ms of rendering and physics a step) and GridHazards (tens of µs), 4 and 8 slots, under
uniform random actions and under the policy of a world model of the smallest size. The numbers of processes take turns,
so that a busy machine slows all of them alike; a row has the median over rounds, the slowest and fastest round, and the
median over rounds of the ratio to no processes in the same round. ``quick_tick_ms``, the 5 % quantile of a tick's time,
is what it costs when nothing else gets in the way; ``worker_mb`` the resident memory of one worker. Writes
``results/env_processes/rows.csv`` and prints it. About a minute.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# Workers import the program's main module: what needs torch is imported where it is used.
if TYPE_CHECKING:
    from waker.collection.collector import Collector
    from waker.protocols import Player

RESULTS = Path(__file__).parents[1] / "results" / "env_processes"
FAMILIES = ("TerrainWalker", "GridHazards")
SLOTS = (4, 8)
PROCESSES = (0, 1, 2)


def collector_of(family: str, slots: int, processes: int, policy: bool) -> tuple[Collector, Player | None]:
    """A collector of domain randomisation, and who acts; None = random actions."""
    from waker.agent.agent import Agent
    from waker.collection.collector import Collector
    from waker.collection.family import Family
    from waker.config.presets import preset
    from waker.curriculum import CurriculumConfig, make_curriculum
    from waker.machine.device import use_threads
    from waker.replay.ring import Replay, record_fields
    from waker.seeding import Streams

    config = replace(preset("tiny"), env=f"waker/{family}-v0")
    use_threads(config.device)
    made, streams = Family.of(config), Streams.from_seed(0)
    curriculum = make_curriculum("dr", made.space, CurriculumConfig(), streams.curriculum, 1)
    replay = Replay(record_fields(made.spec), slots, 100 * slots)
    collector = Collector(made, curriculum, replay, slots, streams, lambda row: None, processes)
    return collector, Agent(made.spec, config).explorer() if policy else None


def speed(collector: Collector, player: Player | None, seconds: float, ticks: list[float]) -> float:
    """Agent steps per second over at least so many seconds; the seconds of every tick are added to ``ticks``."""
    step, start = collector.step, time.perf_counter()
    now = start
    while now - start < seconds:
        collector.tick(player)
        ticks.append(-now + (now := time.perf_counter()))
    return (collector.step - step) / (now - start)


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 1e-6 * pages * os.sysconf("SC_PAGE_SIZE")


def measure(family: str, slots: int, policy: bool, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each number of processes."""
    made, resident = [], []
    for processes in PROCESSES:
        before = set(multiprocessing.active_children())
        made.append(collector_of(family, slots, processes, policy))
        collector, player = made[-1]
        for _ in range(5):  # resets, GL contexts, first uploads
            collector.tick(player)
        workers = set(multiprocessing.active_children()) - before
        resident.append(np.mean([resident_mb(w.pid) for w in workers if w.pid]) if workers else np.nan)
    ticks: list[list[float]] = [[] for _ in made]
    turns = [[speed(*one, seconds, spent) for one, spent in zip(made, ticks, strict=True)] for _ in range(rounds)]
    speeds = np.array(turns)  # (rounds, numbers of processes)
    for collector, _ in made:
        collector.close()
    return [
        {
            "family": family,
            "slots": slots,
            "actions": "policy" if policy else "random",
            "processes": processes,
            "steps_per_s": np.median(speeds[:, i]),
            "slowest": speeds[:, i].min(),
            "fastest": speeds[:, i].max(),
            "ratio": np.median(speeds[:, i] / speeds[:, 0]),
            "quick_tick_ms": 1e3 * np.quantile(ticks[i], 0.05),
            "worker_mb": resident[i],
        }
        for i, processes in enumerate(PROCESSES)
    ]


def main() -> None:
    """Measure everything and write the rows."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each number of processes in a round")
    args = parser.parse_args()
    load, rows = os.getloadavg()[0], []
    for family in FAMILIES:
        for slots in SLOTS:
            for policy in (False, True):
                rows += measure(family, slots, policy, args.rounds, args.seconds)
    RESULTS.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows).assign(machine=f"{platform.machine()}, {os.cpu_count()} CPUs", load_before=load)
    table.to_csv(RESULTS / "rows.csv", index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format="%.3g"))


if __name__ == "__main__":
    main()
