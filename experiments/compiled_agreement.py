"""Do compiled updates learn what eager ones learn? Several seeds of both on GridHazards.

    python -m experiments.compiled_agreement [--seeds 5] [--workers 1] [--runs runs/compiled_agreement]

Protocol, fixed before the runs: preset ``laptop`` on GridHazards with WAKER-M, shortened to 16,000 agent steps (698
updates, the learning rate annealed over them) and 800 adaptation updates, the first 100 of the reward heads alone; one
evaluation at the end, 180 episodes of the DR suite a task. Every seed is run with ``--train.compile off`` and with
``compile``, everything else alike. Compared are the means of the last five metric rows of either phase (losses of
model, KL, ensemble and the credited error; of adaptation the losses of reward heads, actors and critics, averaged over
tasks) and the share of the exact optimum in the smallest room, without hazards, and over all θ. A seed's two runs draw
the same numbers but soon part, as rounding does, so seeds are not paired: the two groups agree where Welch's interval
of the difference of means holds zero, at 95 % for all quantities together (Bonferroni).

Writes ``results/compiled_agreement/``: ``rows.csv`` (every run's quantities, processor seconds among them),
``agreement.csv`` (means with their own 95 % intervals, the difference and its interval) and ``settings.yaml``. Needs
scipy. About 20 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from experiments.demo import shares
from experiments.training import train_all

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "compiled_agreement"
MODES = ("off", "compile")
STEPS, UPDATES, ADAPTED = 16_000, 698, 800
EXPLORING = ("model_loss", "kl_loss", "ensemble_loss", "credit")
ADAPTING = ("adapt/reward_loss", "adapt/actor_loss", "adapt/critic_loss")
ROWS = 5
"""Last metric rows of a phase whose mean is compared."""
RUN = Path("gridhazards/waker-m/plan2explore")


def arguments(seed: int, mode: str, runs: Path) -> list[str]:
    """Arguments of ``waker train``."""
    return [
        *("--preset", "laptop", "--sampler", "waker-m", "--seed", str(seed), "--runs", str(runs / mode)),
        *("--steps", str(STEPS), "--model.optimizer.anneal", str(UPDATES), "--evaluation.every", "0"),
        *("--train.adapt-updates", str(ADAPTED), "--train.adapt-heads", "100", "--train.compile", mode),
    ]


def last(rows: list[dict[str, float]], name: str) -> float:
    """The mean of the last rows that have a metric, or its entries (``name/entry``)."""
    found = [[v for k, v in row.items() if k == name or k.startswith(f"{name}/")] for row in rows]
    return float(np.mean([np.mean(values) for values in found if values][-ROWS:]))


def quantities(folder: Path) -> dict[str, float]:
    """All that is compared, and the processor seconds of training (noted, not compared)."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = {name: last(rows, name) for name in (*EXPLORING, *ADAPTING)}
    optimum = shares({"waker-m": folder})
    easiest = optimum[optimum["group"].str.startswith("easiest room")]
    found["share, smallest room"] = float(easiest["share"].mean())
    for group in ("hazard-free", "all"):
        found[f"share, {group}"] = float(optimum.loc[optimum["group"] == group, "share"].iloc[0])
    return found | {"cpu_seconds": rows[-1]["time/cpu_seconds"]}


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of both modes and Welch's interval of their difference, quantity by quantity."""
    names = [name for name in rows.columns if name not in ("mode", "seed", "cpu_seconds")]
    table = []
    for name in names:
        eager, compiled = (rows.loc[rows["mode"] == mode, name].to_numpy(np.float64) for mode in MODES)
        test = stats.ttest_ind(compiled, eager, equal_var=False)
        alone, together = test.confidence_interval(0.95), test.confidence_interval(1.0 - 0.05 / len(names))
        table.append(
            {
                "quantity": name,
                **_mean("off", eager),
                **_mean("compile", compiled),
                "difference": compiled.mean() - eager.mean(),
                "low_95": alone.low,
                "high_95": alone.high,
                "low": together.low,
                "high": together.high,
                "agree": bool(together.low <= 0.0 <= together.high),
            }
        )
    return pd.DataFrame(table)


def _mean(mode: str, values: NDArray[np.float64]) -> dict[str, float]:
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return {mode: values.mean(), f"{mode}_low": values.mean() - half, f"{mode}_high": values.mean() + half}


def main() -> None:
    """Train what is missing, and rebuild ``results/compiled_agreement``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "compiled_agreement")
    args = parser.parse_args()
    pairs = [(seed, mode) for seed in range(args.seeds) for mode in MODES]
    jobs = {f"{mode}-{seed}": arguments(seed, mode, args.runs) for seed, mode in pairs}
    train_all(jobs, args.workers, args.runs / "logs")
    RESULTS.mkdir(parents=True, exist_ok=True)
    folders = {pair: args.runs / pair[1] / RUN / f"seed-{pair[0]}" for pair in pairs}
    rows = pd.DataFrame([{"mode": m, "seed": s, **quantities(folder)} for (s, m), folder in folders.items()])
    table = compared(rows)
    rows.to_csv(RESULTS / "rows.csv", index=False, float_format="%.5f")
    table.to_csv(RESULTS / "agreement.csv", index=False, float_format="%.5f")
    shutil.copy(folders[(0, "compile")] / "config.yaml", RESULTS / "settings.yaml")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4f}"))


if __name__ == "__main__":
    main()
