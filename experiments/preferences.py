"""How many answers does a task take, and by which method? The study of ``experiments/preferences.md``.

    python -m experiments.preferences RUN… [--arms planned head cpl rest self …] [--task green]
    python -m experiments.preferences --summary

RUN are finished runs of GridHazards (preset laptop), one a training seed. Simulated teachers answer queries about each
run's replay; what is learned from the answers is valued exactly in the true dynamics
(:mod:`experiments.preference_lab`). Arms are in :mod:`experiments.preference_arms`: ``rewards`` (the run's own reward
head and policy), ``planned`` (heads, noiseless and with flips, planned on), ``features``, ``head``, ``cpl``, ``rest``,
``self`` (each round's gold and proxy), ``rules`` (how queries are chosen), ``curve`` (gold against proxy and KL).

Writes ``results/preferences/<arm>.csv``, a cell at a time: what is there is not made again, and a policy that was
stopped goes on. ``--summary`` makes ``summary.csv`` of them: means over training seeds with Student's 95 % intervals,
and ``figure.png``. ``--small`` runs every arm with the smallest sizes; its rows mean nothing and go to the folder of
copies. Each cell tells its processor seconds (column ``cpu_s``).

Processor seconds of an arm and seed, one thread of a shared machine. Only ``self`` was measured as a cell (53 with 200
queries); the others are sums of timed parts (an update of a head 0.025, of a head's policy 0.08, of ``cpl`` 0.02, of
``rest`` 0.011, of ``self`` 0.033; a grow of ``rest`` 1.0) with 1,150 updates of policies, and 1,250 to 3,000 of a head:
``rewards`` 100, ``planned`` 700 to 1,500, ``features`` 350, ``head`` 800 to 1,100, ``cpl`` 220, ``rest`` 250, ``self``
160, ``rules`` 1,500 to 2,200, ``curve`` 150 to 300. About an hour and a half for a seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from experiments.preference_arms import ARMS
from experiments.preference_bench import SMALL, Bench, Cell, Row, Sizes
from waker.analysis.metrics import student_interval
from waker.errors import UserError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "preferences"
CELL = ["seed", "how", "queries"]
_VALUES = ("planned", "sampled", "greedy", "greedy_no_slip", "proxy", "distance")


def done(path: Path, seed: int) -> set[tuple[str, int]]:
    """The cells of a training seed that a file of rows has."""
    if not path.is_file():
        return set()
    rows = pd.read_csv(path)
    mine = rows[rows["seed"] == seed]
    return set(zip(mine["how"].astype(str), mine["queries"].astype(int), strict=True))


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add a whole cell to a file of rows: by another file, so that no cell is ever half there."""
    before = [pd.read_csv(path)] if path.is_file() else []
    both = pd.concat([*before, pd.DataFrame(rows)], ignore_index=True)
    part = path.with_suffix(".part")
    both.to_csv(part, index=False, float_format="%.5g")
    part.replace(path)


def made(cell: Cell) -> list[Row]:
    """A cell's rows; where nothing can be learned from its answers (all tied, say), what was said of it."""
    try:
        return list(cell.make())
    except UserError as error:
        return [{"refused": str(error)}]


def carry_out(bench: Bench, arms: Sequence[str], out: Path) -> None:
    """Make the cells of the arms that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for arm in arms:
        path = out / f"{arm}.csv"
        there = done(path, bench.seed)
        for cell in ARMS[arm](bench):
            if (cell.how, cell.queries) in there:
                continue
            began = time.process_time()
            found = made(cell)
            about = {"arm": arm, "seed": bench.seed, "how": cell.how, "queries": cell.queries}
            spent = {"cpu_s": time.process_time() - began}
            append(path, [{**about, **row, **spent} for row in found])
            last = {k: round(v, 3) if isinstance(v, float) else v for k, v in found[-1].items()}
            print(
                f"{arm}, seed {bench.seed}, {cell.how}, {cell.queries} queries, {spent['cpu_s']:.0f} s: {last}",
                flush=True,
            )


def summary(out: Path) -> pd.DataFrame:
    """Means over training seeds with 95 % intervals of every cell, round and temperature; the widest ones say n = 1."""
    rows = pd.concat([pd.read_csv(path) for path in sorted(out.glob("*.csv")) if path.stem in ARMS], ignore_index=True)
    keys = ["arm", "how", "queries", *(k for k in ("part", "round", "temperature") if k in rows)]
    found = []
    for name, of_cell in rows.groupby(keys, dropna=False, sort=False):
        for value in _VALUES:
            if value in of_cell and of_cell[value].notna().any():
                scores = of_cell.groupby("seed")[value].mean().to_numpy()
                mean, low, high = student_interval(scores)
                measured = {"value": value, "seeds": len(scores), "mean": mean, "low": low, "high": high}
                found.append({**dict(zip(keys, name, strict=True)), **measured})
    return pd.DataFrame(found)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Planned share against the number of queries, and gold against proxy through rounds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    heads = table[(table["arm"] == "planned") & (table["value"] == "planned") & (table["how"] != "constant")]
    for how, part in heads.groupby("how", sort=False):
        left.errorbar(
            part["queries"], part["mean"], [part["mean"] - part["low"], part["high"] - part["mean"]], label=how
        )
    left.set(xlabel="queries asked", ylabel="share of the exact optimum, planned", ylim=(0, 1.03), xscale="log")
    left.legend(fontsize=8)
    most = table["queries"].max()
    for arm in ("rest", "self"):
        part = table[(table["arm"] == arm) & (table["queries"] == most)]
        for value, style in (("sampled", "-"), ("proxy", "--")):
            line = part[part["value"] == value]
            right.plot(line["round"], line["mean"], style, label=f"{arm}, {value}")
    right.set(xlabel="round", ylabel="gold (share of the optimum) and proxy")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Make the rows of some runs, or the summary of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--task", default="green")
    parser.add_argument("--work", type=Path, default=Path("runs-preferences"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args(argv)
    out, sizes = (args.work / "small", SMALL) if args.small else (args.out, Sizes())
    for run in args.runs:
        carry_out(Bench(run.absolute(), args.work.absolute(), args.task, sizes), args.arms, out)
    if args.summary:
        table = summary(out)
        table.to_csv(out / "summary.csv", index=False, float_format="%.4f")
        draw(table, out / "figure.png")
        print(table.to_string())


if __name__ == "__main__":
    main()
