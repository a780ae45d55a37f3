"""The quickstart page's picture and table, from the runs of ``make demo``.

    make demo && python -m experiments.demo

Writes ``results/demo/``: ``picture.png`` (rooms of GridHazards; where WAKER-M collected its data, by the laptop
preset's replayed credit; the true model error of both samplers there), ``shares.csv`` (how near the policies come to
the exact optimum; of every seed that was run, by ``waker quickstart --seed N`` beside the demo's 0), ``comparison.csv``
(the table of ``waker compare``), ``table.md`` (the quickstart page's table, from these two) and ``settings.yaml``
(what was run).
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import waker_envs
from waker.analysis.quantities import quantity_of
from waker.analysis.source_means import pooled
from waker.analysis.summary import shown_value
from waker.curriculum.labels import sampler_label, sampler_name
from waker.names import ALL
from waker.storage.run_folder import read_config
from waker.storage.tables import read_rows

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "demo"
METRIC = "open_loop_tv_10"


def montage(sizes: list[float], densities: list[float]) -> np.ndarray:
    """A room for every (hazards, size) without slip, as one picture."""
    env = waker_envs.make("waker/GridHazards-v0", render_mode="rgb_array")
    rows = []
    for density in reversed(densities):
        rooms = []
        for size in sizes:
            env.reset(seed=1, options={"theta": [size, density, 0.0]})
            rooms.append(env.render())
        rows.append(np.concatenate(rooms, 1))
    return np.concatenate(rows, 0)


def table(rows: pd.DataFrame, value: str, how: str) -> pd.DataFrame:
    """``value`` by hazards (down, largest first) and size (across), slip summed or averaged over."""
    wide = rows.pivot_table(index="theta_hazards", columns="theta_size", values=value, aggfunc=how)
    return wide.sort_index(ascending=False)


def heat(axes: Axes, wide: pd.DataFrame, title: str, limits: tuple[float, float], form: str, cmap: str) -> None:
    """One annotated heat map."""
    axes.imshow(wide.to_numpy(), cmap=cmap, vmin=limits[0], vmax=limits[1])
    axes.set_xticks(range(len(wide.columns)), [f"{s:g}" for s in wide.columns])
    axes.set_yticks(range(len(wide.index)), [f"{d:g}" for d in wide.index])
    axes.set(title=title, xlabel="size", ylabel="hazards")
    for (i, j), number in np.ndenumerate(wide.to_numpy()):
        dark = number > sum(limits) / 2
        axes.text(j, i, format(number, form), ha="center", va="center", color="white" if dark else "black")


def label(folder: Path) -> str:
    """What the run's sampler is called: a variant's name says what it credits."""
    config = read_config(folder)
    return sampler_label(config.curriculum.sampler, asdict(config.explorer))


def draw(runs: dict[str, Path], path: Path) -> None:
    """Four panels: rooms, share of WAKER-M's episodes, true error of DR, true error of WAKER-M."""
    episodes = read_rows(runs["waker-m"] / "episodes.parquet")
    share = episodes.groupby(["theta_size", "theta_hazards"]).size().rename("share").reset_index()
    share["share"] /= share["share"].sum()
    errors = {}
    for name, folder in runs.items():
        rows = pooled(read_rows(folder / "model_error.parquet"))
        errors[name] = table(rows[(rows["metric"] == METRIC) & (rows["step"] == rows["step"].max())], "value", "mean")
    worst = max(e.to_numpy().max() for e in errors.values())
    sizes, densities = sorted(share["theta_size"].unique()), sorted(share["theta_hazards"].unique())
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.7), layout="constrained")
    axes[0].imshow(montage(sizes, densities))
    axes[0].set(title="rooms of GridHazards", xticks=[], yticks=[], xlabel="size →", ylabel="hazards →")
    shares, name = table(share, "share", "sum"), label(runs["waker-m"]).replace("waker-m", "WAKER-M")
    heat(axes[1], shares, f"{name}: episodes", (0, shares.to_numpy().max()), ".0%", "Greens")
    heat(axes[2], errors["dr"], "model error after DR", (0, worst), ".2f", "Reds")
    heat(axes[3], errors["waker-m"], f"… after {name}", (0, worst), ".2f", "Reds")
    figure.savefig(path, dpi=110)


def shares(runs: dict[str, Path]) -> pd.DataFrame:
    """Share of the exact optimum on DR (Σ return / Σ optimal return): by task in the easiest room, hazard-free, all."""
    rows = []
    for folder in runs.values():
        found = read_rows(folder / "evaluation.parquet")
        found = found[(found["policy"] == "learned") & (found["suite"] == "dr")]
        free = found[found["theta_hazards"] == 0]
        easiest = free[(free["theta_size"] == free["theta_size"].min()) & (free["theta_slip"] == 0)]
        groups = {f"easiest room, {task}": part for task, part in easiest.groupby("task")}
        for group, part in {**groups, "hazard-free": free, "all": found}.items():
            share = part["return"].sum() / part["optimal_return"].sum()
            rows.append({"sampler": label(folder), "group": group, "share": share, "episodes": len(part)})
    return pd.DataFrame(rows)


ROWS = ("mean_return", "cvar_0.1", "cvar_0.1_theta", "fraction_of_optimum")
WORST_ROWS = ("worst_regret", "worst_model_error", "hard_share")
"""Rows of the table, before and after the shares of parts of Θ."""


def readme_table(comparison: pd.DataFrame, parts: pd.DataFrame) -> str:
    """The quickstart page's table in Markdown: a row a quantity over all tasks, a column a sampler.

    Args:
        comparison: the summary that ``waker compare`` writes.
        parts: :func:`shares` of the demo's seed.
    """
    samplers = list(dict.fromkeys(parts["sampler"]))
    rows = comparison[comparison["task"] == ALL]
    lines = [["all tasks, 18 θ", *map(_head, samplers)], ["---"] * (1 + len(samplers))]
    lines += [[quantity_of(q).title, *(_cell(rows[rows["sampler"] == s], q) for s in samplers)] for q in ROWS]
    groups = parts.pivot_table(index="group", columns="sampler", values="share", sort=False)
    for group, share in groups.drop(index="all", errors="ignore").iterrows():
        lines.append([f"… {group}", *(f"{100 * share[s]:.1f} %" for s in samplers)])
    lines += [[quantity_of(q).title, *(_cell(rows[rows["sampler"] == s], q) for s in samplers)] for q in WORST_ROWS]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _head(sampler: str) -> str:
    """``WAKER-M (replayed credit)``."""
    return sampler_name(sampler).upper() + sampler.removeprefix(sampler_name(sampler))


def _cell(rows: pd.DataFrame, quantity: str) -> str:
    """``6.3 (5.1 … 6.4)``: a worst case with its bracket in one cell."""
    told = shown_value(rows, quantity)
    if told is None:
        return "–"
    bracket = told.bracket.partition(" [")[0]
    return " ".join(filter(None, [told.value, f"({bracket})" if bracket else "", told.interval]))


def main() -> None:
    """Rebuild ``results/demo`` from the runs of the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    args = parser.parse_args()
    domain = args.runs / "gridhazards"
    folders = {name: domain / name / "plan2explore" for name in ("dr", "waker-m")}
    runs = {name: folder / "seed-0" for name, folder in folders.items()}
    seeds = sorted(path.name for path in folders["dr"].glob("seed-*"))
    RESULTS.mkdir(parents=True, exist_ok=True)
    draw(runs, RESULTS / "picture.png")
    by_seed = {seed: shares({name: folder / seed for name, folder in folders.items()}) for seed in seeds}
    table_of_shares = pd.concat(by_seed, names=["seed", None]).reset_index("seed")
    table_of_shares.to_csv(RESULTS / "shares.csv", index=False, float_format="%.4f")
    print(table_of_shares.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    shutil.copy(domain / "comparison.csv", RESULTS / "comparison.csv")
    (RESULTS / "table.md").write_text(readme_table(pd.read_csv(domain / "comparison.csv"), by_seed["seed-0"]))
    shutil.copy(runs["waker-m"] / "config.yaml", RESULTS / "settings.yaml")


if __name__ == "__main__":
    main()
