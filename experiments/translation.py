"""A task in another language: preferences and demonstrations translated to another look of a family.

The protocol is translation.md.

    python -m experiments.translation [--seeds 40 41 42] [--queries 0 25 50 100 200 400] [--updates 800]
    python -m experiments.translation --seeds 20 --queries 0 25 --updates 40 --out build/translation    # tries it out
    python -m experiments.translation --summary                                   # of the rows that there are

Writes ``results/translation/rows.csv`` (share of the optimum by arm, number of own labels and seed),
``contradictions.csv``, ``summary.csv`` (means over seeds with Student's 95 % intervals) and ``figure.png``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from experiments.exact_model import Rooms, rooms_of
from waker.analysis.metrics import student_interval
from waker.preferences.teachers import preferred
from waker.preferences.translation import Translator, contradictions, translator
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, STEPS, TILES

RESULTS = Path(__file__).parents[1] / "results" / "translation"
LENGTH, SLIP, GAMMA = 8, 0.2, 0.97
TRANSLATED, DATA, DEMONSTRATIONS = 400, 2_000, 72
TEMPERATURE = 0.1
MEMBERS, UNITS = 3, 64
ORACLE = float("inf")
ARMS: dict[str, tuple[str, ...]] = {
    "all stages": ("data", "demonstrations", "preferences"),
    "without data": ("demonstrations", "preferences"),
    "without demonstrations": ("data", "preferences"),
    "without translated preferences": ("data", "demonstrations"),
    "own labels alone": ("data",),
}
BY_DEMONSTRATIONS = "demonstrations alone"
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Family(NamedTuple):
    """One look of the rooms.

    Attributes:
        rooms: with true dynamics.
        reward: of arriving in a cell, (R, C).
        classes: how many looks a cell may have.
    """

    rooms: Rooms
    reward: Floats
    classes: int

    @property
    def alive(self) -> Floats:
        """1 where an episode goes on, (R, C)."""
        return np.asarray(self.rooms.kinds != HAZARD, np.float64)


class Played(NamedTuple):
    """n segments: room (n,), cells (n, L+1), actions (n, L), and the steps that were made, (n,)."""

    room: Ints
    cells: Ints
    actions: Ints
    length: Ints

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which steps were made, (n, L)."""
        return np.arange(self.actions.shape[1]) < self.length[:, None]

    def at(self, which: Ints | slice) -> Played:
        """Some of them."""
        return Played(*(part[which] for part in self))


def family_a(**how: Any) -> Family:
    """GridHazards with the task green."""
    env = GridHazards(**how)
    rooms = rooms_of(env)
    return Family(rooms, (rooms.kinds == TILES[0]).astype(np.float64), env.n_classes)


def family_b(family: Family, there: Translator) -> Family:
    """The same rooms as they lie and look there, slippery everywhere."""
    rooms = family.rooms
    chosen = (rooms.move == rooms.move.max(-1, keepdims=True)).astype(np.float64)  # as if nothing slipped
    chosen /= chosen.sum(-1, keepdims=True)
    kinds, starts = np.empty_like(rooms.kinds), np.empty_like(rooms.starts)
    kinds[:, there.cells], starts[:, there.cells] = rooms.kinds, rooms.starts
    moved = there.moves(chosen)
    slipped = (1.0 - SLIP) * moved + SLIP * moved.mean(1, keepdims=True)
    held = np.eye(kinds.shape[1])[None, None]
    move = np.where((kinds == HAZARD)[:, None, :, None], held, slipped)
    changed = rooms._replace(kinds=kinds, seen=there.boards(rooms.seen), move=move, starts=starts)
    return Family(changed, (kinds == TILES[0]).astype(np.float64), family.classes)


def looks(seed: int, classes: int, side: int, swapped: bool = False) -> Translator:
    """The translator of a seed: mirrored, its classes permuted; ``swapped`` takes the blue tile for the green one."""
    order = np.random.default_rng([seed, 0]).permutation(classes)
    green = classes - len(TILES)
    if swapped:
        order[[green, green + 1]] = order[[green + 1, green]]
    return translator(side, order.tolist(), np.asarray(STEPS), "columns")


def play(family: Family, policy: Floats | None, n: int, steps: int, rng: np.random.Generator) -> Played:
    """n stretches of ``steps`` steps from starts of random rooms, ended by hazards.

    Args:
        policy: P(action | room, cell), (R, C, A); None = uniform.
    """
    rooms = family.rooms
    room = rng.integers(len(rooms.kinds), size=n)
    cells, actions, length = np.zeros((n, steps + 1), np.int64), np.zeros((n, steps), np.int64), np.zeros(n, np.int64)
    cells[:, 0] = _drawn(rooms.starts[room] / rooms.starts[room].sum(-1, keepdims=True), rng)
    count = rooms.move.shape[1]
    for t in range(steps):
        here = cells[:, t]
        chance = np.full((n, count), 1.0 / count) if policy is None else policy[room, here]
        actions[:, t] = _drawn(chance, rng)
        going = family.alive[room, here] > 0
        cells[:, t + 1] = np.where(going, _drawn(rooms.move[room, actions[:, t], here], rng), here)
        length += going
    return Played(room, cells, actions, length)


def _drawn(chance: Floats, rng: np.random.Generator) -> Ints:
    edges = chance.cumsum(-1)
    return np.asarray((rng.random((len(chance), 1)) * edges[:, -1:] > edges).sum(-1), np.int64)


def translated(played: Played, there: Translator) -> Played:
    """The same stretches as they would be seen there; rooms keep their numbers."""
    return played._replace(cells=there.places(played.cells), actions=there.acts(played.actions))


def returns(family: Family, played: Played) -> Floats:
    """Sums of rewards, (n,)."""
    earned = family.reward[played.room[:, None], played.cells[:, 1:]]
    return np.asarray((earned * played.inside).sum(1))


def advantages(family: Family) -> Floats:
    """Q* − V* of the discounted task, (R, A, C), by value iteration."""
    value = np.zeros_like(family.reward)
    for _ in range(400):
        q = _ahead(family.rooms.move, family.reward + GAMMA * family.alive * value)
        value = q.max(1)
    return np.asarray(q - value[:, None])


def _ahead(move: Floats, worth: Floats) -> Floats:
    """Σ over next cells, (R, A, C, C'), (R, C') → (R, A, C)."""
    return np.asarray((move @ worth[:, None, :, None])[..., 0])


def regrets(advantage: Floats, played: Played) -> Floats:
    """Sums of advantages, (n,): the higher the better."""
    of = advantage[played.room[:, None], played.actions, played.cells[:, :-1]]
    return np.asarray((of * played.inside).sum(1))


def labels(score: Floats) -> Floats:
    """An oracle's answers to pairs (i, i + n/2), (n/2,)."""
    half = len(score) // 2
    return preferred(score[:half] - score[half:], ORACLE)


class Head(nn.Module):
    """Members' rewards of every cell of every room seen: (R·C, seen) → (members, R·C)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        sizes = [inputs, UNITS, UNITS, 1]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(MEMBERS, i, o) * (2.0 / i) ** 0.5) for i, o in zip(sizes, sizes[1:], strict=False)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(MEMBERS, 1, o)) for o in sizes[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.expand(MEMBERS, *x.shape)
        for at, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = torch.baddbmm(bias, y, weight)
            y = F.leaky_relu(y) if at < len(self.weights) - 1 else y
        return y.squeeze(-1)


def inputs_of(family: Family) -> torch.Tensor:
    """What is seen in each cell of each room, (R·C, C + C·classes): the agent's cell, and every cell's class."""
    rooms, cells = family.rooms.seen.shape
    board = np.eye(family.classes)[family.rooms.seen].reshape(rooms, -1)
    own = np.tile(np.eye(cells), (rooms, 1))
    return torch.from_numpy(np.concatenate([own, board.repeat(cells, 0)], 1)).float()


def fit_head(family: Family, played: Played, label: Floats, updates: int, seed: int) -> Floats:
    """Mean rewards of the members for every cell, (R, C), fitted to answers to pairs (i, i + n/2)."""
    torch.manual_seed(seed)
    seen, cells = inputs_of(family), family.rooms.seen.shape[1]
    head = Head(seen.shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), 3e-3, weight_decay=0.01)
    rows = np.unique(played.room[:, None] * cells + played.cells[:, 1:])  # only what some segment arrived in
    where = torch.from_numpy(np.searchsorted(rows, played.room[:, None] * cells + played.cells[:, 1:]))
    inside, y, half = torch.from_numpy(played.inside).float(), torch.from_numpy(label).float(), len(label)
    for _ in range(updates):
        sums = (head(seen[rows])[:, where] * inside).sum(-1)  # (members, n)
        gap = sums[:, :half] - sums[:, half:]
        loss = F.binary_cross_entropy_with_logits(gap, y.expand_as(gap))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return head(seen).mean(0).double().numpy().reshape(-1, cells)


def scaled(reward: Floats, visits: Ints) -> Floats:
    """Median 0 and 99 % quantile 1 over visits (R, C); 0 where there was none."""
    every = np.repeat(reward.ravel(), visits.ravel())
    middle, high = np.quantile(every, [0.5, 0.99])
    return np.where(visits > 0, (reward - middle) / max(high - middle, 1e-6), 0.0)


def soft_share(family: Family, move: Floats, reward: Floats | None, reference: Floats) -> float:
    """What the policy nearest to the reference is truly worth, as a share of the optimum, mean over rooms.

    Args:
        move: what is believed of the dynamics.
        reward: of arriving in a cell, believed; None = the policy is the reference.
        reference: P(action | room, cell), (R, C, A).
    """
    rooms, alive = family.rooms, family.alive
    soft, true, best = (np.zeros_like(family.reward) for _ in range(3))
    share = np.zeros(len(rooms.kinds))
    for left in range(1, int(rooms.length.max()) + 1):
        policy = reference
        if reward is not None:
            q = _ahead(move, reward + alive * soft).transpose(0, 2, 1) / TEMPERATURE  # (R, C, A)
            top = q.max(-1, keepdims=True)
            weight = reference * np.exp(q - top)
            soft = TEMPERATURE * (np.log(weight.sum(-1)) + top[..., 0])
            policy = weight / weight.sum(-1, keepdims=True)
        true = (policy.transpose(0, 2, 1) * _ahead(rooms.move, family.reward + alive * true)).sum(1)
        best = _ahead(rooms.move, family.reward + alive * best).max(1)
        ratio = (true * rooms.starts).sum(-1) / (best * rooms.starts).sum(-1)
        share = np.where(rooms.length == left, ratio, share)
    return float(share.mean())


def believed(prior: Floats, data: Played) -> Floats:
    """The prior (R, A, C, C) with weight 1 a state and action, and counts of what was seen to follow."""
    counts = prior.copy()
    inside = data.inside
    room = np.broadcast_to(data.room[:, None], inside.shape)[inside]
    where = room, data.actions[inside], data.cells[:, :-1][inside], data.cells[:, 1:][inside]
    np.add.at(counts, where, 1.0)
    return np.asarray(counts / counts.sum(-1, keepdims=True))


def action_shares(demonstrated: Played, shape: tuple[int, int, int]) -> Floats:
    """P(action | room, cell), (R, C, A): shares of what was done, with one uniform pseudo-count."""
    counts = np.full(shape, 1.0 / shape[-1])
    inside = demonstrated.inside
    room = np.broadcast_to(demonstrated.room[:, None], inside.shape)[inside]
    np.add.at(counts, (room, demonstrated.cells[:, :-1][inside], demonstrated.actions[inside]), 1.0)
    return np.asarray(counts / counts.sum(-1, keepdims=True))


def shares(seed: int, queries: Sequence[int], updates: int, a: Family) -> Iterator[dict[str, Any]]:
    """Rows of one seed: the share of the optimum of every arm and number of own labels."""
    side = round(a.rooms.seen.shape[1] ** 0.5)
    there, rng = looks(seed, a.classes, side), np.random.default_rng([seed, 1])
    b = family_b(a, there)
    rooms, cells = b.rooms.seen.shape
    actions = b.rooms.move.shape[1]
    data = play(b, None, DATA // LENGTH, LENGTH, rng)
    visits = np.zeros((rooms, cells), np.int64)
    np.add.at(visits, (np.broadcast_to(data.room[:, None], data.inside.shape)[data.inside],
                       data.cells[:, 1:][data.inside]), 1)  # fmt: skip
    best = np.eye(actions)[advantages(a).argmax(1)]  # (R, C, A)
    shown = translated(play(a, best, DEMONSTRATIONS, int(a.rooms.length.max()), rng), there)
    uniform = np.full((rooms, cells, actions), 1.0 / actions)
    by_demonstration = action_shares(shown, (rooms, cells, actions))
    prior = there.moves(a.rooms.move)
    with_data = believed(prior, data)
    theirs = play(a, None, 2 * TRANSLATED, LENGTH, rng)
    carried, carried_label = translated(theirs, there), labels(returns(a, theirs))
    own = play(b, None, 2 * max(queries), LENGTH, rng)
    half = len(own.room) // 2
    about = {"seed": seed, "seconds": 0.0}
    share = soft_share(b, with_data, None, by_demonstration)
    yield {**about, "arm": BY_DEMONSTRATIONS, "labels": 0, "share": share}
    for n in queries:
        which = np.concatenate([np.arange(n), half + np.arange(n)])
        asked = own.at(which)
        told = labels(returns(b, asked))
        heads: dict[bool, Floats | None] = {}
        for arm, stages in ARMS.items():
            start, with_translated = time.process_time(), "preferences" in stages
            if with_translated not in heads:
                pairs, answers = asked, told
                if with_translated:
                    pairs, answers = joined(asked, carried), np.append(told, carried_label)
                heads[with_translated] = (
                    scaled(fit_head(b, pairs, answers, updates, seed), visits) if len(answers) else None
                )
            move = with_data if "data" in stages else prior
            reference = by_demonstration if "demonstrations" in stages else uniform
            share = soft_share(b, move, heads[with_translated], reference)
            spent = time.process_time() - start
            yield {"seed": seed, "seconds": spent, "arm": arm, "labels": n, "share": share}


def joined(one: Played, other: Played) -> Played:
    """Pairs of both, first halves first: pairs stay (i, i + n/2)."""
    firsts, seconds = (
        [part.at(slice(half * len(part.room) // 2, (half + 1) * len(part.room) // 2)) for part in (one, other)]
        for half in (0, 1)
    )
    order = [*firsts, *seconds]
    return Played(*(np.concatenate(columns) for columns in zip(*order, strict=True)))


def wrong_labels(seed: int, a: Family, pairs: int = 10_000) -> Iterator[dict[str, Any]]:
    """Rows of one seed: shares of translated labels that contradict the truth there."""
    side = round(a.rooms.seen.shape[1] ** 0.5)
    there = looks(seed, a.classes, side)
    b, rng = family_b(a, there), np.random.default_rng([seed, 2])
    theirs = play(a, None, 2 * pairs, LENGTH, rng)
    carried, here = translated(theirs, there), advantages(a)
    green = int(there.classes[a.classes - len(TILES)])
    for name, told in (("true", there), ("blue for green", looks(seed, a.classes, side, swapped=True))):
        # What the translated film shows: where it confuses two tiles, its boards are of no room.
        boards = told.boards(a.rooms.seen)
        seen = Family(b.rooms._replace(seen=boards), (boards == green).astype(np.float64), b.classes)
        for score, given, true in (
            ("return", returns(a, theirs), returns(seen, carried)),
            ("regret", regrets(here, theirs), regrets(advantages(seen), carried)),
        ):
            found = contradictions(labels(given), labels(true))
            yield {"seed": seed, "translator": name, "score": score, "pairs": pairs, **found._asdict()}


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Share of the optimum against the number of own labels."""
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for number, (arm, of_arm) in enumerate(rows[rows["arm"] != BY_DEMONSTRATIONS].groupby("arm", sort=False)):
        mean = of_arm.groupby("labels")["share"].mean()
        ax.plot(mean.index, mean, marker=".", color=f"C{number}", label=arm)
        ax.scatter(of_arm["labels"], of_arm["share"], s=6, color=f"C{number}")
    alone = rows.loc[rows["arm"] == BY_DEMONSTRATIONS, "share"].mean()
    ax.axhline(alone, color="grey", lw=1, ls=":", label=BY_DEMONSTRATIONS)
    ax.set(xlabel="labels of B's own", ylabel="share of the exact optimum", ylim=(0, 1.03))
    ax.set_xscale("symlog", linthresh=25)
    ax.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def summary(rows: pd.DataFrame, whole: str = "all stages") -> pd.DataFrame:
    """Of each arm and number of own labels the mean share over seeds, and what all stages have more, paired by seed.

    Returns:
        ``arm``, ``labels``, ``seeds``; ``share``, ``low``, ``high``; ``more``, ``more_low``, ``more_high``: Student's
        95 % intervals, NaN of one seed; ``more`` is NaN where no seed has all stages with so many labels.
    """
    compared = rows[rows["arm"] == whole].set_index(["labels", "seed"])["share"]
    found = []
    for (arm, labels), part in rows.groupby(["arm", "labels"], sort=False):
        own = part.set_index(["labels", "seed"])["share"]
        more = (compared.reindex(own.index) - own).dropna()
        paired = student_interval(more) if len(more) else (np.nan, np.nan, np.nan)
        found.append((arm, labels, len(own), *student_interval(own), *paired))
    return pd.DataFrame(
        found, columns=["arm", "labels", "seeds", "share", "low", "high", "more", "more_low", "more_high"]
    )


def reached(rows: pd.DataFrame, share: float = 0.8) -> pd.Series:
    """The smallest number of own labels with which the mean over seeds is at least ``share``; NaN where none is."""
    means = rows.groupby(["arm", "labels"], sort=False)["share"].mean().reset_index()
    return means[means["share"] >= share].groupby("arm")["labels"].min().reindex(list(ARMS))


def main() -> None:
    """Run all seeds, then write rows and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 41, 42])
    parser.add_argument("--queries", type=int, nargs="+", default=[0, 25, 50, 100, 200, 400])
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--summary", action="store_true", help="make the summary again from the rows")
    args = parser.parse_args()
    if args.summary:
        of_rows = summary(pd.read_csv(args.out / "rows.csv"))
        of_rows.to_csv(args.out / "summary.csv", index=False, float_format="%.4f")
        print(of_rows.round(3).to_string(index=False))
        return
    a, rows, wrong = family_a(), [], []
    for seed in args.seeds:
        wrong += list(wrong_labels(seed, a))
        for row in shares(seed, sorted(args.queries), args.updates, a):
            rows.append(row)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    table = pd.DataFrame(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out / "rows.csv", index=False, float_format="%.4f")
    summary(table).to_csv(args.out / "summary.csv", index=False, float_format="%.4f")
    pd.DataFrame(wrong).to_csv(args.out / "contradictions.csv", index=False, float_format="%.4f")
    draw(table, args.out / "figure.png")
    print(table.pivot_table(index="arm", columns="labels", values="share", sort=False).round(3).to_string())
    print(pd.DataFrame(wrong).groupby(["translator", "score"], sort=False)[["opposite", "tie"]].mean().round(4))
    print("labels until 0.8 of the optimum:", reached(table).to_dict(), f"{time.process_time():.0f} CPU s")


if __name__ == "__main__":
    main()
