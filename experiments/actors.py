"""Do actors fail, where nothing else can be to blame? GridHazards' policies in an exact model, and in learned ones.

    python -m experiments.actors exact [--seeds 10 11 12 13 14] [--methods lookahead rollouts]
    python -m experiments.actors learned RUN [RUN …] [--methods own lookahead]
    python -m experiments.actors table

``exact`` trains task policies in the true dynamics with true rewards (:mod:`experiments.exact_model`), by the laptop
preset's settings and each method of ``adapt.method``, and values them by dynamic programming: what they miss of the
optimum is the actor's own fault. ``learned`` does it from the frozen model and replay of finished runs, and plays an
episode from every start of every room (four where it is slippery): what they miss is the model's fault and the actor's
together. ``own`` are the policies that a run has, and ``plan`` beside them is the model's part alone: plans in it,
valued exactly (:mod:`waker.evaluation.planned`).
Writes ``results/actors/exact.csv`` and ``learned.csv``: share of the exact optimum by method, seed, θ and task, and in
``learned.csv`` whether the continue head was trained further; rows of other methods, seeds and numbers of updates stay.
``table`` prints what is made of these files: by method, seed and updates the share in the mean over θ and on the worst
θ, tasks together, and how much of the optimum a policy misses of what the plan in its model has.

One process of one thread: a minute a seed of the lookahead in the exact model, two a run; five of rollouts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from experiments.exact_model import ExactModel, Floats, Rooms, rooms_of, shares, values
from experiments.kept_rows import with_others
from experiments.study_plans import of_run
from waker.agent.task_adapter import task_learner
from waker.behaviour.actor_critic import ActorCriticStack
from waker.config.presets import laptop
from waker.config.schema import AdaptConfig, Config
from waker.machine.device import use_threads
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.names import DR_SUITE
from waker.replay.feed import Feed
from waker.replay.relabel import relabelled
from waker.specs import ActionSpec
from waker.training.adapt import adapter_for
from waker.training.loading import LoadedRun, load_run
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, N_ACTIONS, TILES

RESULTS = Path(__file__).parents[1] / "results" / "actors"
UPDATES = {"rollouts": 2_400, "lookahead": laptop().train.adapt_updates}
"""Updates of adaptation by method, the reward heads' own 150 among them; by rollouts as many as the preset made when it
had that method."""
IDENTITY = ("method", "sampler", "seed", "updates", "refit")
"""Rows of other values stay in the file."""
PLAN, OWN = "plan", "own"
"""The methods of rows without an actor, and of a run's own policies."""
SLIPPERY_EPISODES = 4
"""From each start, where chance decides."""


def settings(method: str) -> Config:
    """The laptop preset, with the method of adaptation and its number of updates."""
    config = laptop()
    adapt = config.adapt if method == "lookahead" else AdaptConfig("rollouts")
    return replace(config, adapt=adapt, train=replace(config.train, adapt_updates=UPDATES[method]))


def adapted_in(model: ExactModel, config: Config, seed: int, updates: int, states: int) -> ActorCriticStack:
    """Policies trained in the exact model, from ``states`` states an update."""
    torch.manual_seed(seed)
    action, device = ActionSpec(N_ACTIONS, True), torch.device("cpu")
    learner = task_learner(model.tasks, model.feature_dim, action, config, device)
    for _ in range(updates):
        learner.step(learner.gradients(model.as_model(), model.starts(states), model.rewards))
    return learner.policies


def adapted_from(loaded: LoadedRun, config: Config, seed: int) -> ActorCriticStack:
    """Policies trained from a run's frozen model and replay, with its own seeds but for ``seed``."""
    torch.manual_seed(seed)
    spec, train = loaded.family.spec, config.train
    adapter = adapter_for(loaded, spec.tasks, replace(loaded.config, train=train, adapt=config.adapt))
    replay = relabelled(loaded.replay(print), spec, spec.tasks)
    feed = Feed(replay, np.random.default_rng(seed), train.adapt_batch, train.length, "cpu")
    for _ in range(train.adapt_updates):
        adapter.update(feed.next())
    return adapter.policy_learner.policies


def own(loaded: LoadedRun) -> ActorCriticStack:
    """A run's own task policies.

    Raises:
        SystemExit: it was not adapted.
    """
    if loaded.agent.adapter is None:
        raise SystemExit(f"{loaded.run.path} has no task policies: its train.adapt_updates is 0")
    return loaded.agent.adapter.policies


def seen(rooms: Rooms, room: NDArray[np.int64], cell: NDArray[np.int64]) -> dict[str, torch.Tensor]:
    """What is seen in cells (n,) of rooms (n,)."""
    frame = round(rooms.kinds.shape[1] ** 0.5)
    agent = np.stack(np.divmod(cell, frame), -1).astype(np.uint8)
    return {"agent": torch.from_numpy(agent), "cells": torch.from_numpy(rooms.seen[room].astype(np.uint8))}


def filtered(model: WorldModel, before: State, action: torch.Tensor, observation: dict[str, torch.Tensor]) -> State:
    """The likeliest state after a step, given what is seen."""
    deter = model.rssm.transition(before, action)
    return State(model.rssm.sample(model.rssm.posterior(deter, model.encoder(observation)), mode=True), deter)


class Episodes:
    """One episode from every start of every room for every task, several where the room is slippery.

    Attributes:
        room, cell, task: of each of the B episodes; the cell is the start.
    """

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        slippery = (rooms.move.max(-1) < 1.0).any((1, 2))
        room, cell, task = np.nonzero(np.repeat(rooms.starts[:, :, None], len(TILES), 2))
        times = np.where(slippery[room], SLIPPERY_EPISODES, 1)
        self.room, self.cell, self.task = (np.repeat(x, times) for x in (room, cell, task))

    @torch.no_grad()
    def returns(self, model: WorldModel, policies: ActorCriticStack, seed: int) -> Floats:
        """Mean return in each room for each task, (K, R), of the likeliest actions on the likeliest latents."""
        rng, n = np.random.default_rng(seed), len(self.room)
        state, action = model.rssm.initial(n), torch.zeros(n, N_ACTIONS)
        cell, earned, alive = self.cell.copy(), np.zeros(n), np.ones(n, bool)
        for step in range(int(self.rooms.length.max())):
            state = filtered(model, state, action, seen(self.rooms, self.room, cell))
            action = policies.act(state.feature, torch.from_numpy(self.task), mode=True)
            chance = self.rooms.move[self.room, action.argmax(-1).numpy(), cell].cumsum(-1)
            alive &= step < self.rooms.length[self.room]
            cell = np.where(alive, (chance > rng.random(n)[:, None]).argmax(-1), cell)
            kind = self.rooms.kinds[self.room, cell]
            earned += alive * (kind == np.array(TILES)[self.task])
            alive &= kind != HAZARD
        total, count = np.zeros((2, len(TILES), len(self.rooms.theta)))
        np.add.at(total, (self.task, self.room), earned)
        np.add.at(count, (self.task, self.room), 1)
        return total / count


def rows_of(env: GridHazards, share: Floats, **columns: Any) -> list[dict[str, Any]]:
    """Tidy rows of shares (Θ, K)."""
    names = [f"theta_{name}" for name in env.theta_space.names]
    return [
        {**columns, **dict(zip(names, theta, strict=True)), "task": task, "share": share[i, k]}
        for i, theta in enumerate(env.theta_space.points)
        for k, task in enumerate(env.tasks)
    ]


def exact(seeds: Sequence[int], methods: Sequence[str], most: int | None) -> pd.DataFrame:
    """Shares of the optimum of policies trained in the exact model, for at most so many updates."""
    env = GridHazards()
    model, rows = ExactModel(env), []
    for method in methods:
        config = settings(method)
        updates = min(config.train.adapt_updates - config.train.adapt_heads, most or config.train.adapt_updates)
        states = config.adapt.starts if method == "lookahead" else config.behaviour.starts
        for seed in seeds:
            began = time.process_time()
            policies = adapted_in(model, config, seed, updates, states)
            spent = time.process_time() - began
            share = shares(model.rooms, values(model.rooms, model.greedy(policies)))
            rows += rows_of(env, share, method=method, seed=seed, updates=updates, cpu_s=round(spent, 1))
            tell(rows)
    return pd.DataFrame(rows)


def learned(runs: Sequence[Path], methods: Sequence[str]) -> pd.DataFrame:
    """Shares of the optimum of policies trained from runs' models."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        loaded = load_run(run.absolute(), print)
        env = loaded.family.make()
        assert isinstance(env, GridHazards)
        rooms, told = rooms_of(env), {"sampler": loaded.config.curriculum.sampler, "seed": loaded.config.seed}
        rows += [
            {"method": PLAN, **told, "updates": 0, "refit": False, "cpu_s": 0.0, **row}
            for row in planned(run.absolute())
        ]
        tell(rows)
        for method in methods:
            config, began = loaded.config if method == OWN else settings(method), time.process_time()
            policies = own(loaded) if method == OWN else adapted_from(loaded, config, loaded.config.seed)
            spent = time.process_time() - began
            share = shares(rooms, Episodes(rooms).returns(loaded.agent.model, policies, loaded.config.seed))
            told_of = {"updates": config.train.adapt_updates, "refit": config.adapt.refit_continue}
            rows += rows_of(env, share, method=method, **told, **told_of, cpu_s=round(spent, 1))
            tell(rows)
    return pd.DataFrame(rows)


def planned(run: Path) -> Iterator[dict[str, Any]]:
    """θ, task and share of the optimum of plans in a run's model, over all layouts and starts."""
    for row in of_run(run):
        if row["suite"] == DR_SUITE:
            theta = {name: value for name, value in row.items() if name.startswith("theta_")}
            yield {**theta, "task": row["task"], "share": row["return"] / row["optimal_return"]}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """By policies: share of the optimum in the mean over θ and on the worst θ, tasks together; in per cent.

    Where plans are among the rows, ``actor's part`` is what the plan in the same model has more in the mean.
    """
    by = [name for name in IDENTITY if name in rows]
    theta = [name for name in rows if name.startswith("theta_")]
    shares_of = 100 * rows.groupby([*by, *theta], sort=False)["share"].mean()
    found = shares_of.groupby(by, sort=False).agg(**{"mean over θ": "mean", "worst θ": "min"}).reset_index()
    plans = found[found["method"] == PLAN]
    if len(plans):
        runs = ["sampler", "seed"]
        beside = plans.set_index(runs)["mean over θ"].reindex(pd.MultiIndex.from_frame(found[runs]))
        found["actor's part"] = (beside.to_numpy() - found["mean over θ"]).where(found["method"] != PLAN)
    return found.round(1)


def tell(rows: Sequence[dict[str, Any]]) -> None:
    """One line about the policies that came last: the mean over θ and the worst θ, tasks together."""
    last = {key: rows[-1][key] for key in ("method", "seed", "updates", "cpu_s")}
    table = pd.DataFrame(rows)
    table = table[(table["method"] == last["method"]) & (table["seed"] == last["seed"])]
    by = table.groupby([c for c in table if c.startswith("theta_")])["share"].mean()
    print(f"{last}: mean {by.mean():.4f}, worst θ {by.min():.4f}", flush=True)


def main() -> None:
    """Write the rows of one part, or print the tables of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("exact", "learned", "table"))
    parser.add_argument("runs", type=Path, nargs="*", help="run folders, for `learned`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--methods", nargs="+", choices=("lookahead", "rollouts", OWN), default=["lookahead"])
    parser.add_argument("--updates", type=int, default=None, help="fewer updates in the exact model")
    args = parser.parse_args()
    if args.part == "table":
        for name in ("exact", "learned", "learned-before-refit"):
            print(f"{name}\n{table(pd.read_csv(RESULTS / f'{name}.csv')).to_string(index=False, na_rep='')}\n")
        return
    if args.part == "exact" and OWN in args.methods:
        parser.error("--methods own: the exact model has no run")
    use_threads("cpu")
    found = exact(args.seeds, args.methods, args.updates) if args.part == "exact" else learned(args.runs, args.methods)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{args.part}.csv"
    with_others(path, found, IDENTITY).to_csv(path, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
