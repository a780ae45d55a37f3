"""The answers of ``fresh_layouts.md``: what plans in learned models are worth in rooms that training never showed.

    python -m experiments.fresh_layouts RUNS [RUNS …]

RUNS are folders of finished runs of GridHazards. Writes ``results/fresh_layouts/``: ``rows.csv`` (latent, seed, suite,
share of the optimum of plans in the model, and ``episodes``, each task's counted) and ``summary.csv`` (mean over
training seeds with Student's 95 % interval). Seconds; the runs cost five CPU minutes each with the preset ``grid``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from waker.analysis.data import load_runs, settings_of
from waker.analysis.metrics import means_over_seeds
from waker.names import PLANNED

RESULTS = Path(__file__).parents[1] / "results" / "fresh_layouts"


def shares(runs: list[Path]) -> pd.DataFrame:
    """One row a run and suite, of its last evaluation."""
    rows = []
    for run in load_runs(runs):
        played = run.evaluation
        planned = played[(played["policy"] == PLANNED) & (played["step"] == played["step"].max())]
        for suite, of in planned.groupby("suite", sort=False):
            value, optimum = of["exact_value"].sum(), of["optimal_return"].sum()
            about = {"latent": settings_of(run)["model.latent"], "seed": run.seed, "suite": suite}
            rows.append({**about, "share": value / optimum, "episodes": len(of)})
    return pd.DataFrame(rows)


def main() -> None:
    """Write the rows and their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    found = shares(parser.parse_args().runs)
    RESULTS.mkdir(parents=True, exist_ok=True)
    found.to_csv(RESULTS / "rows.csv", index=False, float_format="%.4f")
    summary = means_over_seeds(found, ["latent", "suite"], "share")
    summary.to_csv(RESULTS / "summary.csv", index=False, float_format="%.4f")
    print(summary.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
