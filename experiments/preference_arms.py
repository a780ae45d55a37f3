"""The arms of :mod:`experiments.preferences`: what is fitted, planned or trained, and what it is truly worth.

An arm is a function from a bench to cells; a cell is a name, a number of queries, and what makes its rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from experiments.preference_bench import Bench, Cell, Row
from experiments.preference_curves import soft_optimum
from experiments.preference_lab import LENGTH
from waker.agent.growing_policy import GrowingSettings
from waker.agent.head_fit import HeadSettings
from waker.behaviour.imagination import Trajectory
from waker.behaviour.task_rewards import task_rewards
from waker.preferences.imagined import write_imagined
from waker.preferences.linear import fit_linear
from waker.preferences.queries import uniform_pairs
from waker.preferences.table import Answers
from waker.replay.feed import Feed
from waker.replay.relabel import load_task
from waker.storage.run_folder import RunFolder
from waker.terminal.progress import Progress
from waker.training.adapt import Adaptation
from waker.training.adapt_direct import DirectMethod
from waker.training.asking import answer, ask
from waker.training.preference_methods import find_method

Floats = NDArray[np.float64]
FEATURES = Path(__file__).with_name("preference_features.py")
TEMPERATURES = tuple(float(t) for t in np.geomspace(3.0, 0.003, 13))


def rewards(bench: Bench) -> Iterator[Cell]:
    """The run's own reward head, fitted to all rewards: planned on, and a policy trained on it."""

    def make() -> Iterator[Row]:
        lab = bench.lab
        updates = bench.updates
        with RunFolder(bench.folder, bench.loaded.config).locked():
            made = Adaptation(bench.load(), [bench.task], Progress("rewards", updates, quiet=True))
            made.run(updates)
        own = lab.predicted(bench.loaded.agent.model.rewards, lab.task)
        yield {"planned": lab.share(own), **lab.judged(made.adapter.policies, own)}

    yield Cell("all", 0, make)


def planned(bench: Bench) -> Iterator[Cell]:
    """Heads from N answers, planned on: noiseless, flips without and with the error term; and the constant."""
    lab, settings = bench.lab, bench.sizes.head
    coin = dataclasses.replace(settings, error=0.2)

    def fitted(n: int, teacher: str, how: HeadSettings) -> Iterator[Row]:
        pairs = uniform_pairs(lab.segments, n, bench.rng(n))
        label = lab.labels(pairs, teacher, bench.seed)
        found, fit = lab.head(Answers(pairs, label), bench.seed, how)
        told = {"untied": int((label != 0.5).sum()), "updates": fit.updates, **fit.check}
        yield {"planned": lab.share(found), **told}

    for n in bench.sizes.queries:
        for how, teacher, of in (
            ("oracle", "oracle", settings),
            ("flip 0.1", "flip:0.1", settings),
            ("flip 0.1, error term", "flip:0.1", coin),
        ):
            yield Cell(how, n, lambda n=n, teacher=teacher, of=of: fitted(n, teacher, of))  # type: ignore[misc]

    def constant() -> Iterator[Row]:
        n = max(bench.sizes.queries)
        pairs = uniform_pairs(lab.segments, n, bench.rng(n))
        kept, _ = lab.head(Answers(pairs, lab.labels(pairs, "oracle", bench.seed)), bench.seed, settings)
        full = lab.segments.at(lab.segments.length == LENGTH)
        equal = uniform_pairs(full, n, bench.rng(n, 2))
        without, fit = lab.head(Answers(equal, lab.labels(equal, "oracle", bench.seed)), bench.seed, settings)
        raw = without + float(fit.heads.offset) / float(fit.heads.scale)
        for part, found in (
            ("ended segments kept", kept),
            ("ended segments kept, median 0", kept - np.median(kept)),
            ("ended segments kept, −2", kept - 2.0),
            ("equal lengths alone", raw),
            ("equal lengths alone, median 0", without),
        ):
            yield {"part": part, "planned": lab.share(found)}

    yield Cell("constant", max(bench.sizes.queries), constant)


def features(bench: Bench) -> Iterator[Cell]:
    """Weights of the class of the cell under the agent, planned on, and with a constant of −2; and as a policy."""
    lab, named = bench.lab, load_task(f"{FEATURES}:under_the_agent")

    def make(n: int, teacher: str) -> Iterator[Row]:
        pairs = uniform_pairs(lab.segments, n, bench.rng(n, 1))
        label = lab.labels(pairs, teacher, bench.seed)
        weight = fit_linear(lab.summed_classes(pairs.first), lab.summed_classes(pairs.second), label)
        for part, found in (("as fitted", weight), ("−2", weight - 2.0)):
            yield {"part": part, "planned": lab.share(found[lab.under])}

    def policy(n: int, teacher: str) -> Iterator[Row]:
        name = f"features-{teacher.replace(':', '')}-{n}"
        adapter = bench.train(name, bench.answered(n, teacher), "features", named)
        yield {"part": "policy", **lab.judged(adapter.policies)}

    for n, teacher in ((25, "oracle"), (100, "flip:0.3")):
        yield Cell(teacher, n, lambda n=n, teacher=teacher: make(n, teacher))  # type: ignore[misc]
        yield Cell(f"{teacher}, policy", n, lambda n=n, teacher=teacher: policy(n, teacher))  # type: ignore[misc]


def head(bench: Bench) -> Iterator[Cell]:
    """The whole pipeline: a head from N answers, and a policy by imagination."""

    def make(n: int, teacher: str, error: float) -> Iterator[Row]:
        name = f"head-{teacher.replace(':', '')}-{error}-{n}"
        adapter = bench.train(name, bench.answered(n, teacher), "head", error=error)
        found = bench.lab.predicted(adapter.heads)
        yield {"planned": bench.lab.share(found), **bench.lab.judged(adapter.policies, found)}

    for n in bench.sizes.few:
        for teacher, error in (("oracle", 0.0), ("flip:0.1", 0.0), ("flip:0.1", 0.2)):
            how = f"{teacher}, error term" if error else teacher
            yield Cell(how, n, lambda n=n, t=teacher, e=error: make(n, t, e))  # type: ignore[misc]


def cpl(bench: Bench) -> Iterator[Cell]:
    """A policy from N answers alone: by returns, by regrets, and DPO on imagined pairs that share their start."""

    def make(n: int, score: str) -> Iterator[Row]:
        adapter = bench.train(f"cpl-{score}-{n}", bench.answered(n, score=score), "cpl", bench.sizes.cpl)
        yield bench.lab.judged(adapter.policies)

    def shared(n: int, score: str) -> Iterator[Row]:
        name, replay = f"dpo-{score}-{n}", bench.loaded.replay(print)
        file = bench.folder / f"{name}.parquet"
        frame, imagined = ask(bench.loaded, replay, n, LENGTH, "uniform", bench.seed + n, "", print, file)
        assert imagined is not None
        write_imagined(file.with_name(f"{name}-imagined.npz"), imagined)
        frame = answer(bench.loaded, replay, frame, "oracle", score, bench.task, bench.seed, imagined)
        adapter = bench.train(name, frame, "cpl", bench.sizes.cpl)
        yield {"skipped": int(frame["label"].isna().sum()), **bench.lab.judged(adapter.policies)}

    for n in bench.sizes.few:
        for score in ("regret", "return"):
            yield Cell(score, n, lambda n=n, s=score: make(n, s))  # type: ignore[misc]
            yield Cell(f"{score}, shared starts", n, lambda n=n, s=score: shared(n, s))  # type: ignore[misc]


def rest(bench: Bench) -> Iterator[Cell]:
    """ReST, gold and proxy after each round."""
    yield from _rounds(bench, "rest", bench.sizes.rest)


def self_rewarding(bench: Bench) -> Iterator[Cell]:
    """Self-rewarding, gold and proxy after each round."""
    yield from _rounds(bench, "self", bench.sizes.self_)


def _rounds(bench: Bench, method: str, own: GrowingSettings) -> Iterator[Cell]:
    def make(n: int) -> Iterator[Row]:
        frame = bench.answered(n)
        for number in range(own.rounds + 1):
            made = own.clone + number * own.per_round
            adapter = bench.train(f"{method}-{n}", frame, method, own, max(1, made))
            yield {"round": number, **bench.lab.judged(adapter.policies, bench.lab.predicted(adapter.heads))}

    for n in bench.sizes.few:
        yield Cell("oracle", n, lambda n=n: make(n))  # type: ignore[misc]
    yield Cell("true head", 0, lambda: _by_true_head(bench, method, own))


def _by_true_head(bench: Bench, method: str, own: GrowingSettings) -> Iterator[Row]:
    """The same, judged by the run's own reward head, fitted to all rewards."""
    kind, loaded, lab = find_method(method), bench.load(), bench.lab
    assert issubclass(kind, DirectMethod)
    policy: Any = kind.policy(loaded, "true", own, 0)
    model, train = loaded.agent.model, loaded.config.train

    def judge(path: Trajectory) -> Tensor:
        return task_rewards(model.rewards, path)[:, lab.task : lab.task + 1]

    policy.teach(lab.replay, train.length, judge)
    feed = Feed(lab.replay, bench.rng(3), train.adapt_batch, train.length, loaded.config.device)
    own_rewards = lab.predicted(model.rewards, lab.task)
    for number in range(own.rounds + 1):
        while policy.updates < own.clone + number * own.per_round:
            policy.update(feed.next)
        yield {"round": number, **lab.judged(policy.policies, own_rewards)}


def rules(bench: Bench) -> Iterator[Cell]:
    """Queries in rounds, each chosen by the head and policy of those before; the head of all is planned on."""

    def make(rule: str) -> Iterator[Row]:
        rounds, each = bench.sizes.asked
        name, asked = f"rule-{rule}", list[pd.DataFrame]()
        for number in range(rounds):
            first = "uniform" if number == 0 else rule
            replay, loaded = bench.loaded.replay(print), bench.load()
            mine = name if number else ""
            seed = 1000 * bench.seed + number
            frame, _ = ask(loaded, replay, each, LENGTH, first, seed, mine, print)
            frame = answer(loaded, replay, frame, "oracle", "return", bench.task, bench.seed)
            asked.append(frame.assign(query=frame["query"] + number * each, round=number))
            every = pd.concat(asked, ignore_index=True)
            adapter = bench.train(name, every, "head")
            found = bench.lab.predicted(adapter.heads)
            ties = float((frame["label"] == 0.5).mean())
            yield {"round": number, "ties": ties, "planned": bench.lab.share(found)} | bench.lab.judged(
                adapter.policies
            )

    for rule in ("uniform", "disagreement", "policy"):
        yield Cell(rule, bench.sizes.asked[0] * bench.sizes.asked[1], lambda r=rule: make(r))  # type: ignore[misc]


def curve(bench: Bench) -> Iterator[Cell]:
    """KL, proxy and gold of the optimum of a head's rewards less τ·KL to the uniform policy, for each τ."""
    lab = bench.lab
    uniform = np.full((len(lab.rooms.kinds), lab.rooms.move.shape[1], lab.rooms.kinds.shape[1]), 1.0)
    uniform /= uniform.shape[1]

    def make(n: int, teacher: str) -> Iterator[Row]:
        pairs = uniform_pairs(lab.segments, n, bench.rng(n))
        found, _ = lab.head(Answers(pairs, lab.labels(pairs, teacher, bench.seed)), bench.seed, bench.sizes.head)
        of_cells = lab.of_cells(found)
        for temperature in TEMPERATURES:
            soft = soft_optimum(lab.rooms, of_cells, lab.true, temperature, uniform)
            yield {
                "temperature": temperature,
                "distance": float(np.sqrt(soft.kl).mean()),
                "proxy": float(soft.proxy.mean()),
                "sampled": float((soft.gold / lab.best).mean()),
            }

    for n in bench.sizes.few:
        for teacher in ("oracle", "flip:0.2"):
            yield Cell(teacher, n, lambda n=n, t=teacher: make(n, t))  # type: ignore[misc]


ARMS: dict[str, Callable[[Bench], Iterator[Cell]]] = {
    "rewards": rewards,
    "planned": planned,
    "features": features,
    "head": head,
    "cpl": cpl,
    "rest": rest,
    "self": self_rewarding,
    "rules": rules,
    "curve": curve,
}
