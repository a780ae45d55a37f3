"""Do policies finish GridCleanUp's tasks? With the true dynamics and rewards, and from the models of finished runs.

    python -m experiments.pushes exact [--seeds 20 21 22] [--updates 400] [--discount 0.85] [--starts 12]
    python -m experiments.pushes learned RUN [RUN …]
    python -m experiments.pushes again RUN [RUN …] [--updates 700] [--discount 0.85] [--starts 12]
    python -m experiments.pushes table

``exact`` trains task policies in the true dynamics with true rewards (:mod:`experiments.exact_boards`) by the grid
preset's lookahead, from states that random actions lead to: what is missing there is the learner's own fault.
``learned`` takes the task policies of finished runs (``waker train --preset grid``). ``again`` trains others on such
runs' models and reward heads, which stay as they are. Each plays 200 new episodes a task under domain randomisation, by
the policies' most likely actions (and latents) and by actions drawn from them.

Writes ``results/pushes/exact.csv``, ``learned.csv`` and ``again.csv``: seed, updates (of the policies), heads_first
(updates of the reward heads before them, ``learned`` alone), discount and starts (of the lookahead), cpu_s (of
training, not of ``learned``), actions (mode or sampled), task, blocks (their number in the episode), completion (share
of blocks in their goal at the episode's end), episodes. Rows of other seeds, numbers of updates, discounts and starts
stay. ``table`` prints what the page of results has of these files, and of the runs' models from
``results/boards/runs.csv`` (:mod:`experiments.board_table`).

One process of one thread: a minute or two a seed or run, and five to eight of ``again``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.board_table import of_policies as table_of_policies
from experiments.board_table import print_tables, table
from experiments.board_table import told as rounded
from experiments.exact_boards import Boards, ExactBoards
from experiments.kept_rows import with_others
from waker.agent.task_adapter import TaskAdapter, task_learner
from waker.behaviour.actor_critic import ActorCriticStack
from waker.config.presets import grid
from waker.config.schema import AdaptConfig
from waker.machine.device import use_threads
from waker.machine.host_memory import keep_freed_memory
from waker.protocols import Player
from waker.replay.feed import Feed
from waker.specs import ActionSpec
from waker.training.loading import LoadedRun, load_run
from waker_envs.grids.cleanup import GridCleanUp
from waker_envs.grids.pushing import N_ACTIONS

RESULTS = Path(__file__).parents[1] / "results" / "pushes"
STATES, EPISODES = 4_000, 200
ACTIONS = ("mode", "sampled")
IDENTITY = ("seed", "updates", "heads_first", "discount", "starts")

Act = Callable[[Boards, Tensor], Tensor]
"""Actions (n,) on boards (n,) for the tasks (n,), step by step from the beginning of an episode."""


def adapted_in(model: ExactBoards, seed: int, updates: int, adapt: AdaptConfig | None = None) -> ActorCriticStack:
    """Policies trained in the exact model, from states of random episodes; by the preset's lookahead or another."""
    torch.manual_seed(seed)
    config, pool = grid(), model.wandered(STATES, seed)
    config = replace(config, adapt=adapt or config.adapt)
    action, device = ActionSpec(N_ACTIONS, True), torch.device("cpu")
    learner = task_learner(model.tasks, model.layout, action, config, device, where=model.where)
    for _ in range(updates):
        starts = model.starts(pool, config.adapt.starts)
        learner.step(learner.gradients(model.as_model(), starts, model.rewards))
    return learner.policies


def adapted_again(loaded: LoadedRun, updates: int, adapt: AdaptConfig) -> Player:
    """New policies of a finished run by another lookahead: on its model and its reward heads, from its replay."""
    adapter, seed = loaded.agent.adapter, loaded.config.seed
    if adapter is None:
        raise SystemExit(f"pushes: {loaded.run.path} has no reward heads trained after exploration")
    config = replace(loaded.config, adapt=adapt)
    torch.manual_seed(seed)
    made = TaskAdapter(loaded.agent.model, loaded.agent.spec, config, adapter.tasks, heads=adapter.heads)
    train = config.train
    feed = Feed(loaded.replay(print), np.random.default_rng(seed), train.adapt_batch, train.length, config.device)
    for _ in range(updates):
        made.update(feed.next())
    return made.player()


@torch.no_grad()
def completions(model: ExactBoards, act: Act, seed: int) -> tuple[Tensor, Tensor]:
    """Completion of each task at the end of new episodes (K, n), and their numbers of blocks (n,)."""
    tasks, begun = len(model.tasks), model.episodes(EPISODES, seed)
    boards = Boards(*(part.repeat(tasks, *[1] * (part.dim() - 1)) for part in begun))
    task = torch.arange(tasks).repeat_interleave(EPISODES)
    for _ in range(model.env.length):
        boards = model.moved(boards, act(boards, task))
    inside = model.standing(boards)[1].gather(1, task.unsqueeze(1)).squeeze(1)
    return inside.unflatten(0, (tasks, -1)), (begun.blocks > 0).sum(-1)


def of_policies(model: ExactBoards, policies: ActorCriticStack, mode: bool) -> Act:
    """How policies of the exact model act."""
    return lambda boards, task: policies.act(model.state(boards).feature, task, mode).argmax(-1)


def of_player(model: ExactBoards, player: Player, mode: bool) -> Act:
    """How a run's policies act, in episodes that begin now: they see what the environment shows."""
    memory: dict[str, Any] = {}

    def act(boards: Boards, task: Tensor) -> Tensor:
        n = len(task)
        place = torch.stack([boards.agent // model.frame, boards.agent % model.frame], -1)
        seen = {"agent": place.numpy(), "blocks": boards.blocks.numpy(), "cells": boards.cells.numpy()}
        first = np.full(n, not memory)
        state = memory["state"] if memory else player.initial(n)
        action, memory["state"] = player.act(seen, first, state, task.numpy(), mode)
        return torch.from_numpy(action).argmax(-1)

    return act


def rows(model: ExactBoards, act: Act, seed: int, identity: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Completion by task and number of blocks."""
    done, count = completions(model, act, seed + 1_000)
    for k, task in enumerate(model.tasks):
        for blocks in range(int(count.max()) + 1):
            of = done[k, count == blocks]
            yield identity | {"task": task, "blocks": blocks, "completion": of.mean().item(), "episodes": len(of)}


def exact(seeds: Sequence[int], updates: int, adapt: AdaptConfig) -> Iterator[dict[str, Any]]:
    """Rows of policies trained in the exact model."""
    model = ExactBoards(GridCleanUp())
    for seed in seeds:
        began = time.process_time()
        policies = adapted_in(model, seed, updates, adapt)
        spent = time.process_time() - began
        for actions in ACTIONS:
            act = of_policies(model, policies, actions == "mode")
            yield from rows(model, act, seed, about(seed, updates, adapt, spent) | {"actions": actions})


def about(seed: int, updates: int, adapt: AdaptConfig, cpu_s: float) -> dict[str, Any]:
    """How policies were trained, as the first columns of their rows."""
    learner = {"discount": adapt.discount, "starts": adapt.starts}
    return {"seed": seed, "updates": updates, **learner, "cpu_s": round(cpu_s, 1)}


def of_runs(runs: Sequence[Path], trained: Callable[[LoadedRun], tuple[Player, dict[str, Any]]]) -> Iterator[Any]:
    """Rows of policies of finished runs: given as players, and the first columns of their rows."""
    model = ExactBoards(GridCleanUp())
    for run in runs:
        player, identity = trained(loaded := load_run(run.absolute(), print))
        torch.manual_seed(seed := loaded.config.seed)
        for actions in ACTIONS:
            act = of_player(model, player, actions == "mode")
            yield from rows(model, act, seed, identity | {"actions": actions})


def their_own(loaded: LoadedRun) -> tuple[Player, dict[str, Any]]:
    """The policies that a run has."""
    config = loaded.config
    updates, heads = config.train.adapt_updates - config.train.adapt_heads, {"heads_first": config.train.adapt_heads}
    columns = about(config.seed, updates, config.adapt, 0.0)
    del columns["cpu_s"]
    return loaded.agent.task_player(), columns | heads


def others(loaded: LoadedRun, updates: int, adapt: AdaptConfig) -> tuple[Player, dict[str, Any]]:
    """Policies trained again."""
    began = time.process_time()
    player = adapted_again(loaded, updates, adapt)
    return player, about(loaded.config.seed, updates, adapt, time.process_time() - began)


def told(table: pd.DataFrame) -> pd.DataFrame:
    """Completion by seed, kind of actions and number of blocks, tasks together; ``all`` as often as episodes are."""
    weighted = table.assign(done=table["completion"] * table["episodes"])
    by = ["seed", "actions"]
    sums = weighted.groupby([*by, "blocks"])[["done", "episodes"]].sum()
    wide = (sums["done"] / sums["episodes"]).unstack()
    whole = weighted.groupby(by)[["done", "episodes"]].sum()
    return wide.assign(all=whole["done"] / whole["episodes"]).round(3)


def tables(folder: Path, boards: Path) -> dict[str, pd.DataFrame]:
    """The tables of the rows in a folder, by what they are of; ``boards``: the rows of the runs' models."""
    found = {"runs": table(boards, folder / "learned.csv")}
    for name, part in (("policies in the true dynamics", "exact"), ("policies trained again on runs' models", "again")):
        if (path := folder / f"{part}.csv").exists():
            found[name] = rounded(table_of_policies(pd.read_csv(path)).reset_index().drop(columns="run"))
    return found


def main() -> None:
    """Write the rows of one part, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("exact", "learned", "again", "table"))
    parser.add_argument("runs", type=Path, nargs="*", help="run folders, for `learned` and `again`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--discount", type=float, default=grid().adapt.discount)
    parser.add_argument("--starts", type=int, default=grid().adapt.starts)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.part == "table":
        print_tables(tables(asked.out, asked.out.with_name("boards") / "runs.csv"))
        return
    use_threads("cpu")
    keep_freed_memory()
    adapt = replace(grid().adapt, discount=asked.discount, starts=asked.starts)
    rows = {
        "exact": lambda: exact(asked.seeds, asked.updates, adapt),
        "learned": lambda: of_runs(asked.runs, their_own),
        "again": lambda: of_runs(asked.runs, lambda loaded: others(loaded, asked.updates, adapt)),
    }[asked.part]()
    table = pd.DataFrame(rows)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"{asked.part}.csv"
    with_others(path, table, IDENTITY).to_csv(path, index=False, float_format="%.4g")
    print(told(table))


if __name__ == "__main__":
    main()
