"""Does a curriculum move the asymptote or the efficiency? The law of reward against compute on the study's runs.

    python -m experiments.scaling collect --main RUNS [--saved-30k RUNS] [--saved-40k RUNS]
    python -m experiments.scaling

``collect`` reads run folders of ``study.yaml`` and of the two variants of ``study_saved.yaml`` (docs: study.md) and
writes ``results/scaling/curves.csv``: shares of the optimum of the plans of each run at 5,000, 10,000, 15,000 and
20,000 agent steps, and of DR at the ends of its runs of 30,000 and 40,000. Without a verb everything else is made again
from that file: ``fits.csv``, ``forecasts.csv``, ``differences.csv`` and ``figure.png``. A minute on one core.

What these runs can tell is limited before any fit: four measurements (DR: six), where :mod:`waker.analysis.scaling`
wants fifteen. And the learning rate is annealed over a run's own length: a measurement half-way through a run of 20,000
steps is not what a run of 10,000 steps ends with, and DR's last two points are ends of longer runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from waker.analysis.numbers_file import write_table
from waker.analysis.scaling_curves import curve_frame, read_curves
from waker.analysis.scaling_study import scaling_of
from waker.report.scaling_page import conclusion, curves_figure
from waker.report.scaling_rows import collect

RESULTS = Path(__file__).parents[1] / "results" / "scaling"


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last measurement."""
    return rows[rows["step"] == rows.groupby(["sampler", "seed"])["step"].transform("max")]


def gathered(main: Path, longer: list[Path]) -> pd.DataFrame:
    """Curves of the main runs, with the ends of longer ones, which are called as their sampler is."""
    parts = [collect([main])[0]]
    for folder in longer:
        last = ends(collect([folder])[0])
        parts.append(last.assign(sampler=last["sampler"].str.replace(r" \[.*\]", "", regex=True)))
    return curve_frame(pd.concat(parts).to_dict("records"))


def answer(folder: Path, resamples: int = 200) -> str:
    """Make all tables and the figure from the curves in ``folder``; what they say, in a sentence."""
    found = scaling_of(read_curves(folder / "curves.csv"), resamples=resamples)
    for name, table in (("fits", found.fits), ("forecasts", found.forecasts), ("differences", found.differences)):
        numbers = table.select_dtypes("number").columns
        write_table(folder / f"{name}.csv", table.assign(**{c: table[c].map(_rounded) for c in numbers}))
    figure = curves_figure(found, [key for key in found.curves if key[4] == "step"], "agent steps")
    figure.savefig(folder / "figure.png", dpi=120)
    print(found.fits[["sampler", "measure", "axis", "points", "asymptote", "window", "why"]].to_string(index=False))
    print(found.forecasts[found.forecasts["why"] == ""].to_string(index=False, float_format="%.3g"))
    return conclusion(found)


def _rounded(value: float) -> float:
    return value if pd.isna(value) else float(f"{value:.6g}")


def main() -> None:
    """Gather, or answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of curves and answers")
    verbs = parser.add_subparsers(dest="verb")
    gather = verbs.add_parser("collect", help="curves from run folders")
    gather.add_argument("--main", type=Path, required=True, help="runs of study.yaml")
    gather.add_argument("--saved-30k", type=Path, help="runs of study_saved.yaml, 30k")
    gather.add_argument("--saved-40k", type=Path, help="runs of study_saved.yaml, 40k")
    arguments = parser.parse_args()
    if arguments.verb == "collect":
        rows = gathered(arguments.main, [p for p in (arguments.saved_30k, arguments.saved_40k) if p is not None])
        numbers = ["flop", "value", "floor"]
        rows = rows.assign(updates=rows["updates"].astype(int), **{c: rows[c].map(_rounded) for c in numbers})
        write_table(arguments.results / "curves.csv", rows)
        return
    print(answer(arguments.results))


if __name__ == "__main__":
    main()
