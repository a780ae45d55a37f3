"""Quality at equal CPU time: which work of the learner can be left out, each choice added to the one before.

    python -m experiments.schedules [--seeds 1 3] [--only authors deferred …] [--workers 2]

On GridHazards with the laptop preset's nets and data:

- ``authors``: the published schedule. All task policies and the explorer learn at every update, in imagination of 15
  steps from all B·T states.
- ``few starts``: the same from 64 drawn start states (``behaviour.starts``).
- ``short``: and over 10 imagined steps (``behaviour.horizon``).
- ``deferred``: the laptop preset's way. The explorer alone learns while data is collected, then the task policies in
  the frozen model (``train.task_policies``), several updates a batch (``train.adapt_repeats``). Each point of its curve
  is a run of its own, with so many steps and adaptation in proportion.
- ``eager``: deferred, with twice the updates for each step of data (``train.train_every``).
- ``random``: deferred, and data is collected at random (``explorer.name``): nothing is imagined before adaptation.

Quality is the share of the exact optimum over domain randomisation, all tasks; cost is CPU seconds of training (one
thread, evaluation left out). Writes ``results/schedules/``: ``rows.csv`` (schedule, seed, steps, cpu_seconds, share),
``summary.csv`` (CPU seconds to reach given shares, and their ratio to ``authors``) and ``figure.png``. Below
``switches/`` are the same files of an earlier version, with ``few starts``, ``short`` and ``eager``; all schedules
together take over an hour.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.training import train_all
from waker.analysis.regret import fraction_of_optimum
from waker.config.presets import laptop
from waker.storage.tables import read_rows

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "schedules"
BUDGETS = (5_000, 10_000, 20_000, 40_000)
"""Agent steps of the deferred runs."""
ONLINE: dict[str, tuple[int, tuple[str, ...]]] = {
    "authors": (40_000, ("--behaviour.starts", "0", "--behaviour.horizon", "15")),
    "few starts": (20_000, ("--behaviour.horizon", "15")),
    "short": (20_000, ()),
}
"""Agent steps, evaluated along the way, and settings."""
ADAPTATION, REPEATS = 712, 4
"""Batches of adaptation after a run of 40,000 steps, and policy updates on each; 2,400 in all, by rollouts in every
schedule."""
DEFERRED: dict[str, tuple[str, ...]] = {
    "deferred": (),
    "eager": ("--train.train-every", str(laptop().train.train_every / 2)),
    "random": ("--explorer.name", "random"),
}
"""Settings beside the preset's."""
COLUMNS = ["theta_id", "return", "optimal_return", "episode_seed"]


def job(schedule: str, seed: int, steps: int, runs: Path) -> tuple[list[str], Path]:
    """Arguments of ``waker train`` for one run, and its folder."""
    folder = runs / f"{schedule.replace(' ', '-')}-{steps}"
    arguments = ["--preset", "laptop", "--sampler", "dr", "--seed", str(seed), "--runs", str(folder)]
    if schedule in DEFERRED:
        whole = laptop().train  # in proportion, but for the reward heads, which come first
        adapt = whole.adapt_heads + (ADAPTATION - whole.adapt_heads) * steps // whole.steps
        arguments += ["--steps", str(steps), "--train.adapt-updates", str(adapt)]
        arguments += ["--train.adapt-repeats", str(REPEATS), *DEFERRED[schedule]]
        arguments += ["--adapt.method", "rollouts", "--adapt.sees", "feature"]
        arguments += ["--evaluation.every", "0"]
    else:
        arguments += ["--task-policies", "online", *ONLINE[schedule][1], "--steps", str(steps)]
        arguments += ["--evaluation.every", "2000"]
    arguments += ["--evaluation.model-episodes", "1", "--evaluation.suite-episodes", "1"]
    explorer = "random" if schedule == "random" else "plan2explore"
    return arguments, folder / "gridhazards" / "dr" / explorer / f"seed-{seed}"


def points(schedule: str, seed: int, run: Path) -> list[dict[str, float | str | int]]:
    """A row for each evaluation of a run."""
    played = read_rows(run / "evaluation.parquet")
    played = played[(played["policy"] == "learned") & (played["suite"] == "dr")]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    cost = pd.DataFrame([{"step": m["step"], "cpu": m["time/cpu_seconds"]} for m in lines])
    rows: list[dict[str, float | str | int]] = []
    for step, group in played[played["step"] >= cost["step"].min()].groupby("step"):  # with a metric row before it
        by_task = [fraction_of_optimum(g[COLUMNS]) for _, g in group.groupby("task")]
        spent = cost.loc[cost["step"] <= step, "cpu"].max()
        rows.append(
            {"schedule": schedule, "seed": seed, "steps": step, "cpu_seconds": spent, "share": float(np.mean(by_task))}
        )
    return rows


def time_to(rows: pd.DataFrame, share: float) -> float:
    """CPU seconds at which the curve (best share so far, linear in between) first reaches ``share``; NaN if never."""
    curve = rows.sort_values("cpu_seconds")
    best, cpu = curve["share"].cummax().to_numpy(), curve["cpu_seconds"].to_numpy()
    reached = np.flatnonzero(best >= share)
    if not len(reached):
        return float("nan")
    at = reached[0]
    if at == 0:
        return float(cpu[0])
    part = (share - best[at - 1]) / (best[at] - best[at - 1])
    return float(cpu[at - 1] + part * (cpu[at] - cpu[at - 1]))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds to each share, for every schedule and seed, beside those of ``authors`` on the same seed."""
    found = []
    for (schedule, seed), group in rows.groupby(["schedule", "seed"]):
        reference = rows[(rows["schedule"] == "authors") & (rows["seed"] == seed)]
        for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8):
            needed, theirs = time_to(group, share), time_to(reference, share)
            found.append(
                {
                    "schedule": schedule,
                    "seed": seed,
                    "share": share,
                    "cpu_seconds": needed,
                    "of_authors": needed / theirs if len(reference) else np.nan,
                }
            )
    return pd.DataFrame(found)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Share of the optimum against CPU seconds, a line for each schedule and seed."""
    figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for number, (schedule, group) in enumerate(rows.groupby("schedule")):
        for at, (_, one) in enumerate(group.groupby("seed")):
            curve = one.sort_values("cpu_seconds")
            label = schedule if at == 0 else None
            axes.plot(curve["cpu_seconds"], curve["share"], "o-", color=f"C{number}", ms=4, label=label)
    axes.set(
        xscale="log", xlabel="CPU seconds of training, one thread", ylabel="share of the exact optimum", ylim=(0, 1)
    )
    ticks = [20, 50, 100, 200, 500, 1000]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train what is missing, then rebuild rows, summary and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 3])
    parser.add_argument(
        "--only", nargs="+", choices=[*ONLINE, *DEFERRED], help="schedules to train; rows: all there is"
    )
    parser.add_argument("--workers", type=int, default=2, help="runs trained at a time")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "schedules")
    args = parser.parse_args()
    jobs: dict[str, list[str]] = {}
    folders = []
    for seed in args.seeds:
        kinds = [(schedule, steps) for schedule, (steps, _) in ONLINE.items()]
        kinds += [(schedule, steps) for schedule in DEFERRED for steps in reversed(BUDGETS)]
        for schedule, steps in kinds:
            arguments, folder = job(schedule, seed, steps, args.runs)
            if args.only is None or schedule in args.only:
                jobs[f"{schedule.replace(' ', '-')}-{steps}-{seed}"] = arguments
            folders.append((schedule, seed, folder))
    train_all(jobs, args.workers, args.runs / "logs")
    rows = pd.DataFrame(
        [
            row
            for schedule, seed, folder in folders
            if (folder / "evaluation.parquet").exists()
            for row in points(schedule, seed, folder)
        ]
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows.to_csv(RESULTS / "rows.csv", index=False, float_format="%.4g")
    summary = summarise(rows)
    summary.to_csv(RESULTS / "summary.csv", index=False, float_format="%.3g")
    draw(rows, RESULTS / "figure.png")
    print(summary.to_string(index=False, float_format=lambda x: f"{x:.2f}"))


if __name__ == "__main__":
    main()
