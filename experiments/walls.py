"""Do GridCleanUp's policies know their goals at walls that training never showed? ``python -m experiments.walls RUN…``

RUN are finished runs (``waker train --preset grid``), evaluated at their end on the suites ``swapped`` and ``ends``,
where the goals lie at other walls and the optimum is the same by symmetry. Suites draw θ evenly; ``dr`` draws them as
training did, half of its episodes without a block, and is made even here: the mean over θ of each one's mean. No
episode is the same in two suites.

Writes ``results/boards/walls.csv``: seed, suite, policy (learned or random), return, optimal_return, completion,
episodes. Rows of other seeds stay. Seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from experiments.kept_rows import with_others

RESULTS = Path(__file__).parents[1] / "results" / "boards" / "walls.csv"
SUITES = ("dr", "swapped", "ends")
VALUES = ["return", "optimal_return", "completion"]


def walls(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Means of the last evaluation, by suite and policy, each θ alike."""
    last = evaluation[(evaluation["step"] == evaluation["step"].max()) & evaluation["suite"].isin(SUITES)]
    by = ["seed", "suite", "policy"]
    means = last.groupby([*by, "theta_id"])[VALUES].mean().groupby(by).mean()
    return means.assign(episodes=last.groupby(by).size()).reset_index()


def main() -> None:
    """Write the rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of rows")
    asked = parser.parse_args()
    found = pd.concat([walls(pd.read_parquet(run / "evaluation.parquet")) for run in asked.runs], ignore_index=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with_others(asked.out, found, ("seed",)).to_csv(asked.out, index=False, float_format="%.4g")
    print(found.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
