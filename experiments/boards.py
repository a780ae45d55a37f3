"""What a world model sees of GridCleanUp's blocks: one state for all that is seen, or one in every cell.

    python -m experiments.boards trained [--latents cells vector] [--seconds 150] [--seed 20]
    python -m experiments.boards runs RUN [RUN …]
    python -m experiments.boards table

``trained``: the model alone is trained on windows of episodes under domain randomisation and random actions, for so
many CPU seconds of one thread (the laptop preset's model for ``vector``, the grid preset's for ``cells``). ``runs``:
the models of finished runs, with the reward heads of their task policies. Measured on held-out episodes, whose starting
places are new:

- ``seen``: share of states in which the posterior's reconstruction has every block right;
- ``moved`` and ``resting``: share of steps whose blocks are all right one step ahead, where one was moved and where
  none was;
- ``ahead``: every block right ten steps open loop;
- ``paid``: of a step that moves a block by a column and earns or costs 4, how much the reward heads say;
- ``unpaid``: how far they are off in all other steps, as a root mean square.

Writes ``results/boards/rows.csv`` or ``runs.csv``, where rows of other seeds stay: latent, updates (of the model),
cpu_seconds (``trained`` alone), seed, measure, blocks (their number in the episode), value, n (states measured).
``table`` prints what the page of results has of these files (:mod:`experiments.board_table`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.board_table import of_models, print_tables, told
from experiments.board_table import trained as table_of_trained
from experiments.kept_rows import with_others
from waker.collection.spec_of import spec_of
from waker.config.presets import grid, laptop
from waker.config.schema import ModelConfig
from waker.model.optim import Adam
from waker.model.reward_heads import RewardHeads
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.specs import EnvSpec
from waker.training.loading import load_run
from waker_envs.grids.cleanup import GridCleanUp

RESULTS = Path(__file__).parents[1] / "results" / "boards"
MODELS = {"cells": grid().model, "vector": laptop().model}
BATCH, LENGTH, EPISODES, HELD_OUT, AHEAD = 32, 8, 1000, 250, 10
PAID = 1.5
"""A reward beyond it is that of a block moved by a column; being inside pays 0.5 at most."""

Episodes = dict[str, Tensor]


def play(n: int, seed: int) -> Episodes:
    """n episodes of random actions under domain randomisation: by key of the batch, (n, T, ...), and ``count`` (n,)."""
    env, rng = GridCleanUp(), np.random.default_rng(seed)
    records: dict[str, list[Any]] = {"agent": [], "blocks": [], "cells": [], "action": [], "task_rewards": []}
    counts = []
    for episode, theta in enumerate(env.theta_space.sample(rng, n)):
        observation, info = env.reset(seed=seed * 1_000_000 + episode, options={"theta": theta})
        counts.append(int(theta[1:].sum()))
        chosen, done = np.zeros(env.action_space.n, np.float32), False
        while True:
            for name, value in {**observation, "action": chosen, "task_rewards": info["task_rewards"]}.items():
                records[name].append(value)
            if done:
                break
            action = int(rng.integers(env.action_space.n))
            chosen = np.eye(env.action_space.n, dtype=np.float32)[action]
            observation, _, _, done, info = env.step(action)
    found = {name: torch.from_numpy(np.array(values)).unflatten(0, (n, -1)) for name, values in records.items()}
    return found | {"count": torch.tensor(counts)}


def windows(episodes: Episodes, n: int, length: int, rng: torch.Generator) -> Episodes:
    """n windows (n, length, ...) of the episodes, a batch as the replay gives it."""
    total, steps = episodes["agent"].shape[:2]
    which = torch.randint(total, (n, 1), generator=rng)
    at = torch.randint(steps - length + 1, (n, 1), generator=rng) + torch.arange(length)
    batch = {name: value[which, at] for name, value in episodes.items() if name != "count"}
    first = torch.zeros(n, length, dtype=torch.bool)
    first[:, 0] = True
    return batch | {"is_first": first, "is_terminal": first & False, "count": episodes["count"][which[:, 0]]}


def train(spec: EnvSpec, config: ModelConfig, episodes: Episodes, seconds: float, seed: int) -> tuple[WorldModel, int]:
    """A model after so many CPU seconds, and its updates. The rate falls along a cosine, over the time it will take."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = WorldModel(spec, config)
    optimizer = Adam(model.parameters(), replace(config.optimizer, anneal=0))
    peak, start, updates = config.optimizer.lr, time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1.0:
        rate = peak * (0.1 + 0.9 * 0.5 * (1.0 + float(np.cos(np.pi * spent))))
        optimizer.config = replace(optimizer.config, lr=rate)
        loss = model.loss(windows(episodes, BATCH, LENGTH, rng)).loss
        optimizer.apply(optimizer.gradients(loss))
        updates += 1
    return model, updates


@torch.no_grad()
def measures(
    model: WorldModel, heads: RewardHeads, episodes: Episodes, seed: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each measure with its values and the number of blocks they are about, both (m,)."""
    batch = windows(episodes, 1500, AHEAD + 2, torch.Generator().manual_seed(seed))
    posterior = model.observe(batch)
    count = batch["count"].unsqueeze(1).expand(batch["agent"].shape[:2])
    yield "seen", right(model, posterior.state, batch["blocks"]), count
    prior = State(model.rssm.sample(posterior.prior), posterior.state.deter)
    step = right(model, prior, batch["blocks"])[:, 1:]
    moved = (batch["blocks"][:, 1:] != batch["blocks"][:, :-1]).any(-1)
    yield "moved", step[moved], count[:, 1:][moved]
    yield "resting", step[~moved], count[:, 1:][~moved]
    state = State(*(part[:, 1] for part in posterior.state))
    for t in range(2, AHEAD + 2):
        state = model.rssm.imagine(state, batch["action"][:, t])
    yield "ahead", right(model, state, batch["blocks"][:, -1]), count[:, -1]
    feature, rewards = posterior.state.feature, batch["task_rewards"][:, 1:]
    said = heads.earned(feature[:, :-1], batch["action"][:, 1:], feature[:, 1:]).movedim(0, -1)  # k b t -> b t k
    paid, of = rewards.abs() > PAID, count[:, 1:].unsqueeze(-1).expand_as(rewards)
    yield "paid", (said / rewards)[paid], of[paid]
    yield "unpaid", (said - rewards).square()[~paid], of[~paid]


def right(model: WorldModel, state: State, blocks: Tensor) -> Tensor:
    """Whether every cell's likeliest block is what is there, (...)."""
    logits = model.decoder(state.feature)["blocks"].unflatten(-1, (-1, 3))
    return (logits.argmax(-1) == blocks).all(-1).float()


def trained(latent: str, seconds: float, seed: int) -> list[dict[str, Any]]:
    """All measures of a model trained here."""
    model, updates = train(spec_of(GridCleanUp()), MODELS[latent], play(EPISODES, seed), seconds, seed)
    identity = {"latent": latent, "updates": updates, "cpu_seconds": seconds, "seed": seed}
    return rows(model, model.rewards, seed, identity)


def of_run(folder: Path) -> list[dict[str, Any]]:
    """All measures of a finished run's model, and of the reward heads its task policies learned from."""
    loaded = load_run(folder.absolute(), print)
    agent, seed = loaded.agent, loaded.config.seed
    heads = agent.model.rewards if agent.adapter is None else agent.adapter.heads
    identity = {"latent": loaded.config.model.latent, "updates": int(loaded.state["updates"]), "seed": seed}
    return rows(agent.model, heads, seed, identity)


def rows(model: WorldModel, heads: RewardHeads, seed: int, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """All measures of one model, by number of blocks."""
    found = []
    for measure, values, count in measures(model, heads, play(HELD_OUT, seed + 1), seed):
        for blocks in sorted(set(count.flatten().tolist())):
            mean = values[count == blocks].mean().item()
            value = mean**0.5 if measure == "unpaid" else mean
            row = {"measure": measure, "blocks": blocks, "value": value, "n": int((count == blocks).sum())}
            found.append(identity | row)
    return found


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of the rows in a folder, by what they are of."""
    runs = of_models(pd.read_csv(folder / "runs.csv")).reset_index().drop(columns="run")
    alone = table_of_trained(pd.read_csv(folder / "rows.csv"))
    return {"models trained alone, by number of blocks": alone, "models of runs": told(runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("trained", "runs", "table"))
    parser.add_argument("folders", type=Path, nargs="*", help="run folders, for `runs`")
    parser.add_argument("--latents", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.part == "table":
        print_tables(tables(arguments.out))
        return
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts: list[Any] = arguments.folders if arguments.part == "runs" else arguments.latents
    for part in parts:
        new = of_run(part) if arguments.part == "runs" else trained(part, arguments.seconds, arguments.seed)
        path = arguments.out / ("runs.csv" if arguments.part == "runs" else "rows.csv")
        table = with_others(path, pd.DataFrame(new), ("latent", "updates", "seed"))
        table.to_csv(path, index=False, float_format="%.4g")
        print(pd.DataFrame(new).pivot(index="measure", columns="blocks", values="value").round(3))


if __name__ == "__main__":
    main()
