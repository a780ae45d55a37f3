"""Does a world model learn pushes of more updates, or of larger ones? GridCleanUp, the same number of steps each way.

    python -m experiments.board_updates [--seeds 20 21 22] [--ways 32x8 16x8 32x4 16x4] [--steps 230400]

The grid preset's model learns from 1,000 episodes under domain randomisation and random actions. A way is a batch's
windows × their length; each has as many updates as the steps allow, and the rate falls along a cosine to the last. Then
blocks of held-out steps are asked for one step ahead, as in :mod:`experiments.boards`: ``moved``, share of steps that
move a block whose blocks are all right, and ``resting``, of those that move none.

Writes ``results/boards/updates.csv``: seed, batch, length, updates, cpu_s, moved, resting. Rows of other seeds and ways
stay. Three CPU minutes (32x8) to six (16x4) a seed and way.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from experiments.boards import EPISODES, HELD_OUT, RESULTS, Episodes, measures, play, windows
from experiments.kept_rows import with_others
from waker.collection.spec_of import spec_of
from waker.config.presets import grid
from waker.machine.device import use_threads
from waker.machine.host_memory import keep_freed_memory
from waker.model.optim import Adam
from waker.model.world_model import WorldModel
from waker_envs.grids.cleanup import GridCleanUp

SEEDS, WAYS, STEPS = (20, 21, 22), ("32x8", "16x8", "32x4", "16x4"), 230_400


def learned(episodes: Episodes, seed: int, batch: int, length: int, updates: int) -> WorldModel:
    """A model after so many updates."""
    torch.manual_seed(seed)
    config, rng = grid().model, torch.Generator().manual_seed(seed)
    model = WorldModel(spec_of(GridCleanUp()), config)
    optimizer = Adam(model.parameters(), replace(config.optimizer, anneal=updates))
    for _ in range(updates):
        optimizer.apply(optimizer.gradients(model.loss(windows(episodes, batch, length, rng)).loss))
    return model


def row(episodes: Episodes, held_out: Episodes, seed: int, way: str, steps: int) -> dict[str, Any]:
    """What a way comes to."""
    batch, length = (int(number) for number in way.split("x"))
    updates, began = max(1, steps // (batch * length)), time.process_time()
    model = learned(episodes, seed, batch, length, updates)
    about = {"seed": seed, "batch": batch, "length": length, "updates": updates}
    about["cpu_s"] = round(time.process_time() - began)
    asked = {name: values.mean().item() for name, values, _ in measures(model, model.rewards, held_out, seed)}
    return about | {name: asked[name] for name in ("moved", "resting")}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the rows of the seeds, a way at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the replay that a model is shown in all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(argv)
    use_threads("cpu")
    keep_freed_memory()
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "updates.csv"
    for seed in asked.seeds:
        episodes, held_out = play(EPISODES, seed), play(HELD_OUT, seed + 1)
        for way in asked.ways:
            new = pd.DataFrame([row(episodes, held_out, seed, way, asked.steps)])
            rows = with_others(path, new, ("seed", "batch", "length", "updates"))
            rows.to_csv(path, index=False, float_format="%.6g")
            print(new.to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
