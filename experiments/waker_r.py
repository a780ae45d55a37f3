"""The answers of ``waker_r.md``: which part of waker-r's rule makes it collapse onto one θ.

    python -m experiments.waker_r RUNS [RUNS …]
    python -m experiments.waker_r

RUNS are the folders of the runs of ``waker_r.yaml`` and ``waker_r_beside.yaml``, checkpoints included. Writes
``results/waker_r/``: ``rows.csv``, a row a run: the share of episodes of the θ that had most in each tenth of the
training (``favourite-1`` … ``-10``), their mean over the second half (``favourite``), the most tenths in a row with one
favourite (``longest``), the rank correlation of the estimate with the true error, and the exact worst and mean regret
of plans; rows of other runs stay. Then, and without RUNS from these rows alone, ``summary.csv``: means over seeds, and
the paired differences from ``published``.
"""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.kept_rows import with_others
from experiments.study_plans import of_run, regrets
from waker.analysis.data import RunData, load_run
from waker.analysis.metrics import student_interval
from waker.analysis.paired import paired_test
from waker.analysis.ranking import primary_metric, rank_correlation
from waker.names import DR_SUITE

RESULTS = Path(__file__).parents[1] / "results" / "waker_r"
TENTHS = 10
FIRST = "published"
QUANTITIES = ("favourite", "longest", "estimate_rank", "worst_regret", "mean_regret")


def favourites(episodes: pd.DataFrame, steps: int) -> list[tuple[int, float]]:
    """The θ that had most episodes in each tenth of the training, and its share of them.

    Args:
        episodes: columns step (at its end) and theta_id.
        steps: of the training.

    Raises:
        ValueError: a tenth without an episode.
    """
    tenth = np.minimum((episodes["step"].to_numpy() - 1) * TENTHS // steps, TENTHS - 1)
    counts = [np.bincount(episodes["theta_id"].to_numpy()[tenth == number]) for number in range(TENTHS)]
    return [(int(count.argmax()), float(count.max() / count.sum())) for count in counts]


def longest(chosen: list[int]) -> int:
    """The most in a row that are the same."""
    return max(len(list(same)) for _, same in groupby(chosen))


def row_of(folder: Path, name: str) -> dict[str, Any]:
    """What is read of one run."""
    run = load_run(folder)
    found = favourites(run.episodes, int(run.config["config"]["train"]["steps"]))
    shares = [share for _, share in found]
    regret = regrets(pd.DataFrame(of_run(folder))).set_index("suite").loc[DR_SUITE]
    return {
        "variant": name,
        "seed": run.seed,
        **{f"favourite-{number}": share for number, share in enumerate(shares, 1)},
        "favourite": float(np.mean(shares[TENTHS // 2 :])),
        "longest": longest([theta for theta, _ in found]),
        "estimate_rank": _estimate_rank(run),
        "worst_regret": regret["worst"],
        "mean_regret": regret["mean"],
    }


def _estimate_rank(run: RunData) -> float:
    """At the last measurement, of the metric that stands for the model's error."""
    errors = run.model_error[run.model_error["step"] == run.model_error["step"].max()]
    metric = primary_metric(errors["metric"].unique())
    return float(rank_correlation(run.curriculum, errors[errors["metric"] == metric])["spearman"].iloc[-1])


def runs_in(place: Path) -> list[tuple[Path, str]]:
    """Run folders with checkpoints, and the variant or else the sampler of each."""
    found = []
    for checkpoints in sorted(place.rglob("checkpoints")):
        folder = checkpoints.parent
        inside = folder.relative_to(place).parts  # [variant], domain, sampler, explorer, seed
        found.append((folder, inside[0] if len(inside) > 4 else inside[1]))
    return found


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns variant, quantity, n, mean, low, high, and the paired difference from :data:`FIRST` with its interval."""
    told = []
    for variant, of in rows.groupby("variant", sort=False):
        for quantity in QUANTITIES:
            values = of.set_index("seed")[quantity]
            mean, low, high = student_interval(values)
            row = {"variant": variant, "quantity": quantity, "n": len(values), "mean": mean, "low": low, "high": high}
            pairs = (values - rows[rows["variant"] == FIRST].set_index("seed")[quantity]).dropna()
            if variant != FIRST and len(pairs) > 1:
                test = paired_test(pairs)
                row |= {"difference": test.difference, "difference_low": test.low, "difference_high": test.high}
            told.append(row)
    return pd.DataFrame(told)


def main() -> None:
    """Read what is given; write rows and summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of finished runs; none: from the rows alone")
    found = [row_of(folder, name) for place in parser.parse_args().runs for folder, name in runs_in(place)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    if found:
        rows = with_others(RESULTS / "rows.csv", pd.DataFrame(found), ["variant", "seed"])
        rows.to_csv(RESULTS / "rows.csv", index=False, float_format="%.5g")
    told = summary(pd.read_csv(RESULTS / "rows.csv"))
    told.to_csv(RESULTS / "summary.csv", index=False, float_format="%.4g")
    print(told.to_string(index=False, float_format="{:.3g}".format, na_rep=""))


if __name__ == "__main__":
    main()
