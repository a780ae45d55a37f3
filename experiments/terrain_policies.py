"""Does it learn on a simulated robot? TerrainWalker from proprioception and a scan of the ground, on one core.

    python -m experiments.terrain_policies [--seeds 0] [--sampler waker-m]

Trains the preset ``control`` (Plan2Explore, no reward, then every task's policy in the frozen model's imagination
alone) and compares the five policies with uniform random actions on the same episodes, over domain randomisation and on
the suites. Writes ``results/terrain_policies/``: ``rows.csv`` (mean return of both for each seed, suite and task, with
intervals over episodes and the share of episodes won) and ``figure.png``.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.training import train_all
from waker.analysis.metrics import student_interval
from waker.storage.tables import read_rows

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "terrain_policies"


def folder(runs: Path, sampler: str, seed: int) -> Path:
    """The run folder of one seed."""
    return runs / "terrainwalker" / sampler / "plan2explore" / f"seed-{seed}"


def compare(run: Path, seed: int) -> pd.DataFrame:
    """Rows of one run's last evaluation: suite, task, and returns of the learned policy and of random actions."""
    played = read_rows(run / "evaluation.parquet")
    played = played[played["step"] == played["step"].max()]
    rows = []
    for (suite, task), group in played.groupby(["suite", "task"], sort=False):
        returns = {p: g["return"].to_numpy(float) for p, g in group.groupby("policy")}
        if {"learned", "random"} - set(returns):
            continue
        row = {"seed": seed, "suite": suite, "task": task, "step": int(group["step"].iloc[0])}
        for policy in ("learned", "random"):
            interval = student_interval(returns[policy])
            row |= {
                policy: interval.point,
                f"{policy}_low": interval.low,
                f"{policy}_high": interval.high,
                f"{policy}_episodes": len(returns[policy]),
            }
        row["won"] = float((returns["learned"][:, None] > returns["random"][None]).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """A panel per suite: bars for each task, learned beside random, 95 % intervals over episodes; one seed a bar."""
    suites = list(dict.fromkeys(rows["suite"]))
    figure, axes = plt.subplots(1, len(suites), figsize=(4.2 * len(suites), 3.4), sharey=True, layout="constrained")
    for axis, suite in zip(np.atleast_1d(axes), suites, strict=True):
        here = rows[rows["suite"] == suite]
        tasks = list(dict.fromkeys(here["task"]))
        bars = [("random", "0.6"), ("learned", "C0")]
        width = 0.8 / (len(bars) * here["seed"].nunique())
        for number, (policy, colour) in enumerate((p, c) for _ in here["seed"].unique() for p, c in bars):
            seed = here["seed"].unique()[number // len(bars)]
            one = here[here["seed"] == seed].set_index("task").loc[tasks]
            at = np.arange(len(tasks)) + (number + 0.5) * width - 0.4
            errors = np.abs(one[[f"{policy}_low", f"{policy}_high"]].to_numpy().T - one[policy].to_numpy())
            label = policy if number < len(bars) else None
            axis.bar(at, one[policy], width, color=colour, yerr=errors, label=label, capsize=2)
        axis.set_xticks(range(len(tasks)), tasks, rotation=20, fontsize=8)
        axis.set(title=f"{suite}")
    np.atleast_1d(axes)[0].set_ylabel("return (500 agent steps, at most 1000)")
    np.atleast_1d(axes)[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train what is missing, then rebuild rows and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--sampler", default="waker-m")
    parser.add_argument("--workers", type=int, default=2, help="runs trained at a time")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "terrain_policies")
    args = parser.parse_args()
    jobs = {
        f"{args.sampler}-{seed}": (
            *("--preset", "control", "--sampler", args.sampler),
            *("--seed", str(seed), "--runs", str(args.runs)),
        )
        for seed in args.seeds
    }
    train_all(jobs, args.workers, args.runs / "logs")
    rows = pd.concat([compare(folder(args.runs, args.sampler, s), s) for s in args.seeds], ignore_index=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows.to_csv(RESULTS / "rows.csv", index=False, float_format="%.3f")
    shutil.copy(folder(args.runs, args.sampler, args.seeds[0]) / "config.yaml", RESULTS / "settings.yaml")
    draw(rows, RESULTS / "figure.png")
    shown = rows[["seed", "suite", "task", "learned", "learned_low", "learned_high", "random", "random_high", "won"]]
    print(shown.to_string(index=False, float_format=lambda x: f"{x:.2f}"))


if __name__ == "__main__":
    main()
