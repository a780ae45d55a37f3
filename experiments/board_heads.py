"""When do reward heads find what a push earns? GridCleanUp, a finished run's frozen model, heads that train alone.

    python -m experiments.board_heads RUN [RUN …] [--sees change] [--updates 1200] [--every 100]

Heads begin as the model's own, as in adaptation, or with ``--sees`` afresh, seeing that (``model.reward_sees``); they
learn from the run's replay by the run's settings. Every so many updates they are asked of held-out steps that move a
block by a column and earn or cost 4: ``paid`` is the mean of what a head says ÷ what it earns, 0 where it does not know
the sign. Writes ``results/boards/heads.csv``: seed, sees (what fresh heads see; ``own`` = the run's own), updates,
task, paid. Rows of other seeds and heads stay. Some two CPU minutes a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.boards import AHEAD, HELD_OUT, PAID, RESULTS, play, windows
from experiments.kept_rows import with_others
from waker.config.schema import ModelConfig
from waker.machine.device import use_threads
from waker.model.optim import Adam
from waker.model.reward_heads import RewardHeads
from waker.replay.feed import Feed
from waker.replay.relabel import relabelled
from waker.training.adapt import adapter_for
from waker.training.loading import LoadedRun, load_run


class Fresh:
    """Reward heads that begin at nothing on a frozen model, and their optimiser."""

    def __init__(self, loaded: LoadedRun, config: ModelConfig) -> None:
        spec, self.model = loaded.family.spec, loaded.agent.model
        self.heads = RewardHeads(len(spec.tasks), self.model.rssm.features, spec.action.dim, config)
        self.optimizer = Adam(self.heads.parameters(), config.optimizer, len(spec.tasks))

    def update(self, batch: Mapping[str, Tensor]) -> None:
        """One step."""
        with torch.no_grad():
            feature = self.model.observe(batch).state.feature
        self.optimizer.apply(self.optimizer.gradients(self.heads.loss(feature, batch).sum()))


def of_run(folder: Path, updates: int, every: int, sees: str) -> Iterator[dict[str, Any]]:
    """Rows of a run."""
    loaded = load_run(folder.absolute(), print)
    spec, seed = loaded.family.spec, loaded.config.seed
    config = replace(loaded.config, train=replace(loaded.config.train, adapt_heads=updates, compile="off"))
    train = config.train
    torch.manual_seed(seed)
    own = sees == "own"
    fresh = replace(config.model, reward_sees=config.model.reward_sees if own else sees)  # type: ignore[arg-type]
    adapter = adapter_for(loaded, spec.tasks, config) if own else Fresh(loaded, fresh)
    replay = relabelled(loaded.replay(print), spec, spec.tasks)
    feed = Feed(replay, np.random.default_rng(seed), train.adapt_batch, train.length, "cpu")
    batch = windows(play(HELD_OUT, seed + 1), 1500, AHEAD + 2, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        feature = loaded.agent.model.observe(batch).state.feature
    steps = feature[:, :-1], batch["action"][:, 1:], feature[:, 1:]
    earned = batch["task_rewards"][:, 1:].movedim(-1, 0)  # b t k -> k b t
    for update in range(updates + 1):
        if update % every == 0:
            with torch.no_grad():
                said = adapter.heads.earned(*steps)
            for name, ours, true in zip(spec.tasks, said, earned, strict=True):
                moved = true.abs() > PAID
                paid = (ours[moved] / true[moved]).mean().item()
                yield {"seed": seed, "sees": sees, "updates": update, "task": name, "paid": paid}
        if update < updates:
            adapter.update(feed.next())


def main() -> None:
    """Write the rows of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished GridCleanUp runs")
    parser.add_argument("--sees", choices=("own", "state", "transition", "change"), default="own")
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    use_threads("cpu")
    asked.out.mkdir(parents=True, exist_ok=True)
    for run in asked.runs:
        table = pd.DataFrame(of_run(run, asked.updates, asked.every, asked.sees))
        path = asked.out / "heads.csv"
        with_others(path, table, ("seed", "sees")).to_csv(path, index=False, float_format="%.3f")
        print(table.pivot(index="updates", columns="task", values="paid").round(2))


if __name__ == "__main__":
    main()
