"""How near do imagined policies come to the exact optimum with more time, and what limits them?

    python -m experiments.near_optimum [--seed 0] [--steps 150000]

Trains one long run (WAKER-M, task policies alongside, so that there is a curve) on GridHazards and evaluates it
through training. At the end every learned part in turn is replaced by the truth (:mod:`experiments.planning`). Writes
``results/near_optimum/``: ``curve.csv`` (share of the exact optimum by group of θ and step), ``limits.csv`` (share of
the optimum of the learned policies as evaluated and of the policies of the decomposition) ``figure.png`` and
``settings.yaml`` (what was run, and the commit).

One process of one thread: about 35 minutes on a shared machine.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from experiments.planning import decompose
from experiments.training import train_all
from waker.evaluation.plan import dr_thetas, episode_seeds
from waker.seeding import stream
from waker.storage.tables import read_rows
from waker.training.loading import load_run
from waker_envs.grids.hazards import GridHazards

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "near_optimum"
GROUPS = ("easy", "middle", "hard")
ROOMS_PER_THETA = 8


def group_of(row: pd.Series) -> str:
    """easy: the smallest room, no hazard, no slip; hard: the largest room with hazards; middle: the rest."""
    if row["theta_size"] == 3 and row["theta_hazards"] == 0 and row["theta_slip"] == 0:
        return "easy"
    return "hard" if row["theta_size"] == 5 and row["theta_hazards"] > 0 else "middle"


def arguments(seed: int, steps: int, runs: Path) -> list[str]:
    """Arguments of ``waker train`` for the long run."""
    updates = round(steps / 21.5)
    return [
        *("--preset", "laptop", "--sampler", "waker-m", "--seed", str(seed), "--runs", str(runs)),
        *("--task-policies", "online", "--steps", str(steps), "--evaluation.every", str(steps // 10)),
        *("--model.optimizer.anneal", str(updates)),
    ]


def curve(folder: Path) -> pd.DataFrame:
    """Share of the optimum (Σ return / Σ optimal return) by step and group, DR suite, learned policies."""
    rows = read_rows(folder / "evaluation.parquet")
    rows = rows[(rows["suite"] == "dr") & (rows["policy"] == "learned")]
    rows = rows.assign(group=rows.apply(group_of, axis=1))
    sums = rows.groupby(["step", "updates", "group"])[["return", "optimal_return"]].sum()
    hazard_free = rows[rows["theta_hazards"] == 0].groupby(["step", "updates"])[["return", "optimal_return"]].sum()
    hazard_free = pd.concat({"hazard-free": hazard_free}, names=["group"]).reorder_levels(["step", "updates", "group"])
    everything = rows.groupby(["step", "updates"])[["return", "optimal_return"]].sum()
    everything = pd.concat({"all": everything}, names=["group"]).reorder_levels(["step", "updates", "group"])
    table = pd.concat([sums, hazard_free, everything])
    return (table["return"] / table["optimal_return"]).rename("share").reset_index().sort_values(["step", "group"])


def limits(folder: Path) -> pd.DataFrame:
    """Exact share of the optimum of each policy of :func:`decompose`, by group of θ."""
    loaded = load_run(folder, print)
    env = loaded.family.make()
    assert isinstance(env, GridHazards)
    rng = stream(0, "planning")
    rows = []
    for theta in dr_thetas(env.theta_space, env.theta_space.size, rng):
        for seed in episode_seeds(rng, ROOMS_PER_THETA):
            found = decompose(loaded.agent, loaded.family.spec, env.tabular(theta, seed))
            names = {f"theta_{n}": float(v) for n, v in zip(env.theta_space.names, theta, strict=True)}
            rows += [{**names, **row} for row in found]
    table = pd.DataFrame(rows)
    table["group"] = table.apply(group_of, axis=1)
    sums = table.groupby(["group", "policy"])["return"].sum()
    sums = pd.concat([sums, pd.concat({"all": table.groupby("policy")["return"].sum()}, names=["group"])])
    share = sums / sums.xs("optimum", level="policy").reindex(sums.index.get_level_values("group")).to_numpy()
    return share.rename("share").reset_index()


def draw(progress: pd.DataFrame, parts: pd.DataFrame, path: Path) -> None:
    """Left: the curve. Right: what is left of the optimum with each learned part in place."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for number, group in enumerate((*GROUPS, "all")):
        rows = progress[progress["group"] == group]
        left.plot(rows["updates"], rows["share"], color=f"C{number}", marker=".", label=group)
    left.set(xlabel="updates", ylabel="share of the exact optimum", ylim=(0, 1.03))
    left.legend()
    wide = parts.pivot(index="group", columns="policy", values="share").reindex([*GROUPS, "all"])
    order = ["actor", "actor without memory", "plan in the learned model", "plan with the true dynamics"]
    wide[order].plot.bar(ax=right, rot=0, width=0.8)
    right.set(xlabel="", ylim=(0, 1.03))
    right.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train (or go on training) the run, then rebuild rows and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=150_000, help="agent steps of the run")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "near_optimum")
    args = parser.parse_args()
    train_all({f"seed-{args.seed}": arguments(args.seed, args.steps, args.runs)}, 1, args.runs / "logs")
    folder = args.runs / "gridhazards" / "waker-m" / "plan2explore" / f"seed-{args.seed}"
    progress = curve(folder)
    last = progress[(progress["step"] == progress["step"].max()) & progress["group"].isin([*GROUPS, "all"])]
    parts = pd.concat([last.assign(policy="actor")[["group", "policy", "share"]], limits(folder)])
    RESULTS.mkdir(parents=True, exist_ok=True)
    progress.to_csv(RESULTS / "curve.csv", index=False, float_format="%.4f")
    parts.to_csv(RESULTS / "limits.csv", index=False, float_format="%.4f")
    shutil.copy(folder / "config.yaml", RESULTS / "settings.yaml")
    draw(progress, parts, RESULTS / "figure.png")
    print(progress[progress["step"] == progress["step"].max()].to_string(index=False))
    print(parts.to_string(index=False))


if __name__ == "__main__":
    main()
