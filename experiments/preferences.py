"""How many answers does a task take? A head from preferences, planned on exactly, so that only the labels limit it.

    python -m experiments.preferences RUN [--task green] [--seeds 3] [--queries 50 100 200 400 1000]

RUN is a finished run of GridHazards (preset laptop). Each head is fitted to simulated answers to queries about its
replay. A cell's reward is the head's mean over the replay's visits to it, 0 where there was none, and an optimal policy
for these rewards is computed in the *true* dynamics: what it really earns, as a share of the optimum, mean over rooms.

``head``: N uniform pairs, an oracle; the same with a tenth of the answers turned round, without and with the error
term that fits them (a fifth are a coin's). ``rewards``: the run's own reward head, fitted to all rewards. ``linear``:
weights of six named features (the class of the cell under the agent) in place of a head, N 25 with an oracle and 100
with flips of 0.3. ``constant``: the head of the most pairs as it is; with its median set to 0; with a constant of −2;
and fitted to pairs of equal length alone. Writes ``results/preferences/rows.csv`` and ``figure.png``. About ten minutes
on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from experiments.exact_model import Rooms, rooms_of
from waker.agent.head_fit import HeadFit, HeadSettings
from waker.model.preference_heads import PreferenceHeads
from waker.preferences.linear import fit_linear
from waker.preferences.queries import Pairs, uniform_pairs
from waker.preferences.segments import Segments, arrived, candidates
from waker.preferences.table import Answers
from waker.preferences.teachers import Scale, parse_teacher
from waker.run import observed
from waker.seeding import preserved_torch
from waker.training.loading import LoadedRun, load_run
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, TILES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "preferences"
LENGTH = 8
Floats = NDArray[np.float64]


class Laboratory:
    """A run's replay, and the rooms that its cells lie in."""

    def __init__(self, loaded: LoadedRun, task: str) -> None:
        env = loaded.family.make().unwrapped
        assert isinstance(env, GridHazards)
        self.loaded, self.replay, self.task = loaded, loaded.replay(print), env.tasks.index(task)
        self.rooms, self.tile, self.classes = rooms_of(env), TILES[self.task], env.n_classes
        self.segments = candidates(self.replay, LENGTH)
        held = self.replay.read(self.replay.first, self.replay.ticks)
        self.records = held
        self._cells = held["agent"][..., 0].astype(int) * env.frame + held["agent"][..., 1]  # (slots, n)
        seen = held["cells"].reshape(-1, env.frame**2)
        kinds, which = np.unique(seen, axis=0, return_inverse=True)
        self._kind, self._kinds = which.reshape(self._cells.shape), kinds
        with torch.no_grad():
            self.feature = observed(loaded.agent, held).feature  # (slots, n, F), posterior modes

    @property
    def under(self) -> NDArray[np.int64]:
        """The class of the cell under the agent in each record, (slots, n)."""
        return np.take_along_axis(self.records["cells"], self._cells[..., None], -1)[..., 0].astype(np.int64)

    def of_cells(self, rewards: Floats) -> Floats:
        """Mean rewards (slots, n) of the replay's visits to each cell of each room, (R, C); 0 where there are none."""
        shape = len(self._kinds), self._cells.max() + 1
        index = (self._kind * shape[1] + self._cells).ravel()
        total = np.bincount(index, rewards.ravel(), shape[0] * shape[1])
        count = np.bincount(index, minlength=shape[0] * shape[1])
        mean = (total / np.maximum(count, 1)).reshape(shape)
        found = np.zeros(self.rooms.kinds.shape)
        for room, seen in enumerate(self.rooms.seen):
            at = np.flatnonzero((self._kinds == seen).all(1))
            if len(at):
                found[room, : shape[1]] = mean[at[0]]
        return found

    def share(self, rewards: Floats) -> float:
        """What the best policy for these rewards (slots, n) truly earns, as a share of the optimum."""
        true = (self.rooms.kinds == self.tile).astype(np.float64)
        return float(np.mean(worth(self.rooms, self.of_cells(rewards), true) / worth(self.rooms, true, true)))

    def labels(self, pairs: Pairs, teacher: str, seed: int) -> Floats:
        """Simulated answers by the task's rewards."""
        scores = [arrived(self.replay, "task_rewards", segments) for segments in pairs]
        first, second = (reward[..., self.task].astype(np.float64) for reward, _ in scores)
        return parse_teacher(teacher).answers(first, second, (scores[0][1], scores[1][1]), Scale(), seed)

    def head(self, answers: Answers, seed: int, settings: HeadSettings) -> tuple[Floats, HeadFit]:
        """A head fitted to answers: its rewards of all records (slots, n), and its fit."""
        agent, spec = self.loaded.agent, self.loaded.family.spec
        with preserved_torch():
            torch.manual_seed(seed)
            features = agent.model.rssm.features
            heads = PreferenceHeads(settings.members, features, spec.action.dim, self.loaded.config.model)
            fit = HeadFit(
                agent.model, heads, self.replay, answers, settings, max(2, self.loaded.config.train.length), seed
            )
            while not fit.step():
                pass
        return self.predicted(heads), fit

    @torch.no_grad()
    def predicted(self, heads: Any, member: int = 0) -> Floats:
        """A head's rewards of all records, (slots, n); an episode's first earns nothing."""
        action = torch.from_numpy(self.records["action"])
        before = torch.cat([self.feature[:, :1], self.feature[:, :-1]], 1)
        rewards = heads.earned(before, action, self.feature)[member].double().numpy()
        return cast(Floats, rewards)


def worth(rooms: Rooms, rewards: Floats, true: Floats) -> Floats:
    """What the best policy for rewards of arriving in cells (R, C) earns by the true ones, in each room, (R,)."""
    alive = (rooms.kinds != HAZARD).astype(np.float64)
    value, earned, found = np.zeros_like(true), np.zeros_like(true), np.zeros(len(true))
    for left in range(1, int(rooms.length.max()) + 1):
        q = np.einsum("racd,rd->rac", rooms.move, rewards + alive * value)
        gain = np.einsum("racd,rd->rac", rooms.move, true + alive * earned)
        best = q.argmax(1)[:, None]
        value, earned = (np.take_along_axis(x, best, 1)[:, 0] for x in (q, gain))
        mean = (earned * rooms.starts).sum(-1) / rooms.starts.sum(-1)
        found = np.where(rooms.length == left, mean, found)
    return found


def summed_classes(lab: Laboratory, segments: Segments) -> Floats:
    """How often the agent stood on each class, (n, V)."""
    cells, inside = arrived(lab.replay, "cells", segments)
    agent, _ = arrived(lab.replay, "agent", segments)
    side = round(cells.shape[-1] ** 0.5)
    at = agent[..., 0].astype(int) * side + agent[..., 1]
    under = np.take_along_axis(cells, at[..., None], -1)[..., 0].astype(int)
    return np.asarray((np.eye(lab.classes)[under] * inside[..., None]).sum(1))


def by_number(lab: Laboratory, queries: Sequence[int], seed: int, settings: HeadSettings) -> Iterator[dict[str, Any]]:
    """Rows ``head``: noiseless, and a tenth turned round without and with the error term."""
    coin = dataclasses.replace(settings, error=0.2)
    for n in queries:
        pairs = uniform_pairs(lab.segments, n, np.random.default_rng([seed, n]))
        for name, teacher, how in (
            ("oracle", "oracle", settings),
            ("flip 0.1", "flip:0.1", settings),
            ("flip 0.1, error term", "flip:0.1", coin),
        ):
            label = lab.labels(pairs, teacher, seed)
            rewards, fit = lab.head(Answers(pairs, label), seed, how)
            told = {"untied": int((label != 0.5).sum()), "updates": fit.updates, **fit.check}
            yield {"what": "head", "how": name, "queries": n, "seed": seed, "share": lab.share(rewards), **told}


def by_features(lab: Laboratory, seed: int) -> Iterator[dict[str, Any]]:
    """Rows ``linear``."""
    under = lab.under
    for n, teacher in ((25, "oracle"), (100, "flip:0.3")):
        pairs = uniform_pairs(lab.segments, n, np.random.default_rng([seed, n, 1]))
        label = lab.labels(pairs, teacher, seed)
        weight = fit_linear(summed_classes(lab, pairs.first), summed_classes(lab, pairs.second), label)
        yield {"what": "linear", "how": teacher, "queries": n, "seed": seed, "share": lab.share(weight[under])}
        shifted = (weight - 2.0)[under]
        yield {"what": "linear", "how": f"{teacher}, −2", "queries": n, "seed": seed, "share": lab.share(shifted)}


def by_constant(lab: Laboratory, n: int, seed: int, settings: HeadSettings) -> Iterator[dict[str, Any]]:
    """Rows ``constant``."""
    pairs = uniform_pairs(lab.segments, n, np.random.default_rng([seed, n]))
    rewards, _ = lab.head(Answers(pairs, lab.labels(pairs, "oracle", seed)), seed, settings)
    full = lab.segments.at(lab.segments.length == LENGTH)
    equal = uniform_pairs(full, n, np.random.default_rng([seed, n, 2]))
    without, fit = lab.head(Answers(equal, lab.labels(equal, "oracle", seed)), seed, settings)
    raw = without + float(fit.heads.offset) / float(fit.heads.scale)
    for how, found in (
        ("ended segments kept", rewards),
        ("ended segments kept, median 0", rewards - np.median(rewards)),
        ("ended segments kept, −2", rewards - 2.0),
        ("equal lengths alone", raw),
        ("equal lengths alone, median 0", without),
    ):
        yield {"what": "constant", "how": how, "queries": n, "seed": seed, "share": lab.share(found)}


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Share of the optimum against the number of queries."""
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for number, (how, of_how) in enumerate(rows[rows["what"] == "head"].groupby("how", sort=False)):
        mean = of_how.groupby("queries")["share"].mean()
        ax.plot(mean.index, mean, marker=".", color=f"C{number}", label=how)
        ax.scatter(of_how["queries"], of_how["share"], s=6, color=f"C{number}")
    ax.axhline(rows.loc[rows["what"] == "rewards", "share"].mean(), color="grey", lw=1, label="head fitted to rewards")
    ax.set(xlabel="queries asked", ylabel="share of the exact optimum", ylim=(0, 1.03), xscale="log")
    ax.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Fit all heads, then write rows and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", default="green")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--queries", type=int, nargs="+", default=[50, 100, 200, 400, 1000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    lab, settings = Laboratory(load_run(args.run, print), args.task), HeadSettings()
    own = lab.predicted(lab.loaded.agent.model.rewards, lab.task)
    rows: list[dict[str, Any]] = [{"what": "rewards", "how": "all", "share": lab.share(own)}]
    for seed in range(args.seeds):
        for row in itertools.chain(
            by_features(lab, seed),
            by_number(lab, args.queries, seed, settings),
            by_constant(lab, max(args.queries), seed, settings),
        ):
            rows.append(row)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    table = pd.DataFrame(rows).assign(run=lab.loaded.run.name, task=args.task, step=lab.loaded.step)
    args.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out / "rows.csv", index=False, float_format="%.4f")
    draw(table, args.out / "figure.png")
    shown = table.groupby(["what", "how", "queries"], dropna=False, sort=False)["share"]
    print(shown.agg(["mean", "min", "max"]).round(3).to_string())


if __name__ == "__main__":
    main()
