"""Does an audit find what a head has learned wrongly, and a constant that somebody added to it?

    python -m experiments.audit RUN… [--task green] [--queries 100 200 1000] [--seeds 3] [--out results/preferences]

Protocol, written before its runs. Each RUN is a finished GridHazards run (preset laptop, default sampler); seeds 20 to
22 are for development, seeds 40 to 42 answer. Of each run's replay N uniform pairs of segments of 8 steps are answered
by an oracle (return labels), a head of three members is fitted to them (the package's defaults), and audited by the
features below on 20,000 steps of the replay, against the true reward; resistance and edits on 1,000 new pairs. The
same head is audited once more with −2 added to its reward. ``rewards``: the run's own head, fitted to all rewards.

Expected, from exact dynamics: from N = 100 to 1000 the imprint of the target grows towards the truth's and that of the
hazard falls; resistance falls from about .27 to 0; pairs turned by recoloured slip fall from 18 % to .4 %; of the true
reward all spoilers are 0; with −2 the audit says that a constant was added, and without it does not. A run answers
*yes* to the last where both holds at N = 1000. Nothing is chosen by these numbers.

Features: ``green`` (target), ``distance`` to it in cells ÷ 8; spoilers ``blue``, ``red``, ``hazard`` (under the agent),
``beside hazard``, ``size`` of the room ÷ 5, ``slippery`` floor. Writes ``audit.csv``: a row for each run, N, fit seed,
shift and number, a head at a time; what is there is not made again. ``audit-summary.csv`` has means over training
seeds, of each the mean over its fits, with Student's 95 % intervals. A run takes about a minute of one core for each N
and seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from experiments.preferences import append
from waker.agent.head_fit import HeadFit, HeadSettings
from waker.analysis.metrics import means_over_seeds
from waker.model.preference_heads import PreferenceHeads
from waker.preferences.queries import uniform_pairs
from waker.preferences.segments import arrived, candidates
from waker.preferences.table import Answers
from waker.preferences.teachers import preferred
from waker.replay.ring import Replay
from waker.seeding import preserved_torch
from waker.training.audit import AuditSettings, audit
from waker.training.audit_features import AuditFeatures
from waker.training.audit_results import Audit
from waker.training.audited_head import AuditedHead, Member, find_head
from waker.training.loading import LoadedRun, load_run

Cell = tuple[str, str, int, int]
CELL = ["run", "how", "queries", "fit"]
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "preferences"
LENGTH, SHIFT = 8, -2.0
FLOORS = 2
"""Floor classes of the family by default: slips 0 and 0.1; then wall, hazard, green, blue, red."""
WALL, HAZARD, GREEN, BLUE, RED = range(FLOORS, FLOORS + 5)


def features(observation: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What is under the agent, how far the target is, and what the room is like, each (B, T)."""
    cells, agent = observation["cells"], observation["agent"].astype(np.int64)
    side = round(cells.shape[-1] ** 0.5)
    rooms = cells.reshape(*cells.shape[:-1], side, side)
    here = np.take_along_axis(cells, (agent @ [side, 1])[..., None], -1)[..., 0]
    target = (cells == GREEN).argmax(-1)
    away = np.abs(agent - np.stack([target // side, target % side], -1)).sum(-1)
    around = np.pad(rooms == HAZARD, [(0, 0)] * (rooms.ndim - 2) + [(1, 1), (1, 1)])
    near = around[..., :-2, 1:-1] | around[..., 2:, 1:-1] | around[..., 1:-1, :-2] | around[..., 1:-1, 2:]
    beside = np.take_along_axis(near.reshape(cells.shape), (agent @ [side, 1])[..., None], -1)[..., 0]
    kinds = {"green": GREEN, "blue": BLUE, "red": RED, "hazard": HAZARD}
    return {
        **{name: here == kind for name, kind in kinds.items()},
        "distance": away / 8.0,
        "beside hazard": beside & (here != HAZARD),
        "size": np.sqrt((cells != WALL).sum(-1)) / 5.0,
        "slippery": (cells == 1).any(-1),
    }


NAMED = AuditFeatures("experiments/audit.py:features", features, ("green", "distance"))


def answered(replay: Replay, n: int, seed: int, task: int) -> Answers:
    """N uniform pairs with an oracle's answers."""
    pairs = uniform_pairs(candidates(replay, LENGTH), n, np.random.default_rng([seed, n]))
    sums = []
    for segments in pairs:
        rewards, inside = arrived(replay, "task_rewards", segments)
        sums.append((rewards[..., task].astype(np.float64) * inside).sum(1))
    return Answers(pairs, preferred(sums[0] - sums[1], np.inf))


def fitted(loaded: LoadedRun, replay: Replay, answers: Answers, seed: int) -> tuple[PreferenceHeads, PreferenceHeads]:
    """A head fitted to answers, and the same before it was."""
    model, spec, settings = loaded.agent.model, loaded.family.spec, HeadSettings()
    with preserved_torch():
        made = []
        for _ in range(2):
            torch.manual_seed(seed)
            made.append(PreferenceHeads(settings.members, model.rssm.features, spec.action.dim, loaded.config.model))
        fit = HeadFit(model, made[0], replay, answers, settings, max(2, loaded.config.train.length), seed)
        while not fit.step():
            pass
    return made[0], made[1]


def numbers(found: Audit) -> Iterator[dict[str, Any]]:
    """Rows ``part``, ``name``, ``value``, ``low``, ``high`` of an audit."""
    for row in found.imprint.to_dict("records"):
        name = f"{row['reward']}: {row['feature']} ({row['effects']})"
        yield {"part": "imprint", "name": name, "value": row["estimate"], "low": row["low"], "high": row["high"]}
    for row in found.resistance.to_dict("records"):
        yield {
            "part": "resistance",
            "name": row["class"],
            "value": row["share"],
            "low": row["low"],
            "high": row["high"],
        }
    for row in found.robustness.to_dict("records"):
        if row["side"] == "both":
            name = str(row["edit"])
            yield {"part": "robustness", "name": name, "value": row["share"], "low": row["low"], "high": row["high"]}
            yield {"part": "redrawn", "name": name, "value": row["redrawn"]}
    if (c := found.constant) is not None:
        yield {"part": "constant", "name": "found", "value": float(c.found)}
        yield {"part": "constant", "name": "constant", "value": c.value, "low": c.low, "high": c.high}


def done(path: Path) -> set[Cell]:
    """The heads whose rows a file has: run, how, N and fit seed."""
    if not path.is_file():
        return set()
    rows = pd.read_csv(path)[CELL].drop_duplicates()
    return {(str(run), str(how), int(n), int(fit)) for run, how, n, fit in rows.itertuples(index=False)}


def of_run(folder: Path, args: argparse.Namespace, have: Set[Cell]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a run, a head at a time, without those that there are."""
    loaded = load_run(folder, print)
    name = loaded.run.name
    settings = AuditSettings(task=args.task, length=LENGTH, seed=loaded.config.seed)
    replay = loaded.replay(print)

    def audited(head: AuditedHead, **more: Any) -> list[dict[str, Any]]:
        found = audit(loaded, replay, NAMED, settings, print, head)
        print(more, found.constant.told if found.constant else "", flush=True)
        about = {"run": name, "seed": loaded.config.seed, "step": loaded.step}
        return [{**about, **more, **row} for row in numbers(found)]

    if (name, "rewards", 0, 0) not in have:
        yield audited(find_head(loaded, args.task, "", print), how="rewards", queries=0, fit=0, shift=0.0)
    task = loaded.family.spec.tasks.index(args.task)
    for n in args.queries:
        for seed in range(args.seeds):
            if (name, "head", n, seed) in have:
                continue
            now, before = fitted(loaded, replay, answered(replay, n, seed, task), seed)
            head = AuditedHead("preferred", Member(now, 0), Member(before, 0), True)
            rows = audited(head, how="head", queries=n, fit=seed, shift=0.0)
            now.offset -= SHIFT * now.scale
            yield [*rows, *audited(head, how="head", queries=n, fit=seed, shift=SHIFT)]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over training seeds with 95 % intervals: of each seed the mean over its fits, as these share a replay."""
    by = ["part", "name", "how", "shift", "queries"]
    of_seed = rows.dropna(subset="value").groupby([*by, "seed"], sort=False)["value"].mean().reset_index()
    return means_over_seeds(of_seed, by, "value")


def main(argv: list[str] | None = None) -> None:
    """Audit all heads that have no rows yet, each written when it is made; then the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--task", default="green")
    parser.add_argument("--queries", type=int, nargs="+", default=[100, 200, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "audit.csv"
    for folder in args.runs:
        for rows in of_run(folder, args, done(path)):
            append(path, rows)
    found = summary(pd.read_csv(path))
    found.to_csv(args.out / "audit-summary.csv", index=False, float_format="%.5g")
    print(found[found["part"] != "imprint"].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
