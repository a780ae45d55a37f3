"""Can the error estimate be trusted? Its rank correlation with the true held-out error over θ, on DR runs.

    python -m experiments.error_estimates [--variants observation deter …] [--seeds 4 5 6] [--workers 2]

Trains a run for each disagreement target and seed under domain randomisation (a curriculum that works equalises what
it measures), measures the model's true error of every θ several times through training, and correlates it with the
estimate the curriculum held at that moment. Writes ``results/error_estimates/``: ``rows.csv`` (one row per variant,
seed, step, metric and subset of θ: all, without slip, with slip), ``summary.csv`` (means over seeds and steps with
Student's intervals over seeds) and ``figure.png``. Beside every correlation stands its ceiling: the true error is
itself measured on a few episodes, and no estimate can be expected to agree with it better
(:mod:`waker.analysis.reliability`).

Runs have the preset's full length. The target, the ensemble's learning rate and what is credited were chosen on seeds
11 and 12, other settings on seed 0, and seeds 1 to 3 were looked at before; none of them is among the default seeds.

Two yardsticks are computed from the same runs. ``slip-blind``: an estimate that knew the true errors but for how much
larger they are, on average, with slip than without (latents that are independent given the state cannot express the
joint outcomes of a slip, and members that predict latents cannot disagree about it). ``one-step``: the true one-step
error taken as an estimate of the error of ten steps, as the two rank θ differently.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from experiments.training import train_all
from waker.analysis.metrics import spearman, student_interval
from waker.analysis.ranking import rank_correlation
from waker.analysis.source_means import pooled
from waker.storage.tables import read_rows

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "error_estimates"
METRICS = ("one_step_tv", "open_loop_tv_10")
TARGETS = ("observation", "deter", "latent", "feature")
"""Of ``explorer.target``; the first is the laptop preset's."""
MEASURED = TARGETS[0]
"""The variant from whose runs' true errors the yardsticks are computed."""
MEASUREMENTS = 8
"""Through a run; the first comes after an eighth of it."""


def arguments(variant: str, seed: int, steps: int, runs: Path) -> list[str]:
    """Arguments of ``waker train`` for one run."""
    return [
        *("--preset", "laptop", "--curriculum.sampler", "dr", "--seed", str(seed), "--runs", str(runs / variant)),
        *("--explorer.target", variant, "--train.steps", str(steps), "--train.adapt-updates", "0"),
        *("--evaluation.every", str(steps // MEASUREMENTS)),
    ]


def run_folder(variant: str, seed: int, runs: Path) -> Path:
    """The folder of one run."""
    return runs / variant / "gridhazards" / "dr" / "plan2explore" / f"seed-{seed}"


def measured(folder: Path) -> bool:
    """Whether a run has been measured to its end."""
    rows = read_rows(folder / "model_error.parquet")
    return not rows.empty and rows["step"].nunique() == MEASUREMENTS


def correlations(variant: str, seed: int, runs: Path) -> pd.DataFrame:
    """Rows of one run: variant, subset, seed, step, metric, spearman, ceiling, theta."""
    folder = run_folder(variant, seed, runs)
    curriculum, errors = read_rows(folder / "curriculum.parquet"), read_rows(folder / "model_error.parquet")
    errors = errors[errors["metric"].isin(METRICS)]
    whole = pooled(errors)
    subsets = {
        "all": errors,
        "no slip": errors[errors["theta_slip"] == 0],
        "slip": errors[errors["theta_slip"] > 0],
    }
    found = [rank_correlation(curriculum, rows).assign(variant=variant, subset=n) for n, rows in subsets.items()]
    if variant == MEASURED:
        # A yardstick made of the measurement shares its noise: the ceiling is not one of it.
        found.append(slip_blind(whole).assign(variant="slip-blind", subset="all", seed=seed, ceiling=float("nan")))
        found.append(between(whole).assign(variant="one-step", subset="all", seed=seed, ceiling=float("nan")))
    columns = ["variant", "subset", "seed", "step", "metric", "spearman", "ceiling", "theta"]
    return pd.concat(found)[columns]


def slip_blind(errors: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of the true error with itself after the means with and without slip have been made equal."""
    found = []
    for (step, metric), group in errors.groupby(["step", "metric"]):
        value = group["value"] - group.groupby(group["theta_slip"] > 0)["value"].transform("mean")
        correlation = spearman(value.to_numpy(), group["value"].to_numpy())
        found.append({"step": step, "metric": metric, "spearman": correlation, "theta": len(group)})
    return pd.DataFrame(found)


def between(errors: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of the one-step error with the open-loop error."""
    found = []
    for step, group in errors.groupby("step"):
        table = group.pivot_table(index="theta_id", columns="metric", values="value")
        correlation = spearman(table[METRICS[0]].to_numpy(), table[METRICS[1]].to_numpy())
        found.append({"step": step, "metric": METRICS[1], "spearman": correlation, "theta": len(table)})
    return pd.DataFrame(found)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over steps and seeds, with Student's 95 % interval over seeds, the mean of the last step, and ceilings."""
    found = []
    for (variant, metric, subset), group in rows.groupby(["variant", "metric", "subset"]):
        per_seed = group.groupby("seed")["spearman"].mean().to_numpy()
        interval = student_interval(per_seed)
        ordinal = group.groupby("seed")["step"].rank()
        found.append(
            {
                "variant": variant,
                "metric": metric,
                "subset": subset,
                "seeds": len(per_seed),
                "mean": per_seed.mean(),
                "low": max(interval.low, -1.0),
                "high": min(interval.high, 1.0),
                "first": group[ordinal == 1]["spearman"].mean(),
                "last": group[ordinal == ordinal.max()]["spearman"].mean(),
                "ceiling": group["ceiling"].mean(),
                "last_ceiling": group[ordinal == ordinal.max()]["ceiling"].mean(),
            }
        )
    return pd.DataFrame(found)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Correlation against step: a panel per metric, a line per variant (mean over seeds), dots for single runs.

    Dotted: each variant's ceiling, where rows are of episodes.
    """
    rows = rows[rows["subset"] == "all"]
    # Runs are measured at the first tick past the same mark: a few steps apart.
    rows = rows.assign(step=(rows["step"] / 100).round() * 100)
    colours = {variant: f"C{number}" for number, variant in enumerate(sorted(rows["variant"].unique()))}
    figure, axes = plt.subplots(1, len(METRICS), figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, metric in zip(axes, METRICS, strict=True):
        for variant, group in rows[rows["metric"] == metric].groupby("variant"):
            colour = colours[variant]
            mean = group.groupby("step")["spearman"].mean()
            axis.plot(mean.index, mean, color=colour, label=variant)
            axis.plot(group["step"], group["spearman"], ".", color=colour, alpha=0.5)
            axis.plot(group.groupby("step")["ceiling"].mean(), ":", color=colour, lw=1)
        axis.axhline(0.6, color="grey", lw=0.8, ls=":")
        axis.set(title=metric, xlabel="agent steps", ylim=(-1, 1))
    axes[0].set_ylabel("Spearman, estimate with true error over θ")
    axes[-1].legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train what is missing, then rebuild rows, summary and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[4, 5, 6])
    parser.add_argument("--steps", type=int, default=40_000, help="agent steps of a run")
    parser.add_argument("--workers", type=int, default=2, help="runs trained at a time")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "error_estimates")
    parser.add_argument("--rows-only", action="store_true", help="train nothing: rows of the runs that are there")
    args = parser.parse_args()
    jobs = {
        f"{variant}-{seed}": arguments(variant, seed, args.steps, args.runs)
        for seed in args.seeds
        for variant in args.variants
    }
    if not args.rows_only:
        train_all(jobs, args.workers, args.runs / "logs")
    wanted = [(v, s) for v in args.variants for s in args.seeds if measured(run_folder(v, s, args.runs))]
    rows = pd.concat([correlations(v, s, args.runs) for v, s in wanted], ignore_index=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows.to_csv(RESULTS / "rows.csv", index=False, float_format="%.4f")
    summary = summarise(rows)
    summary.to_csv(RESULTS / "summary.csv", index=False, float_format="%.3f")
    draw(rows, RESULTS / "figure.png")
    print(summary.to_string(index=False, float_format=lambda x: f"{x:.2f}"))


if __name__ == "__main__":
    main()
