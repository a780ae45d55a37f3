"""Curves of reward against compute, from run folders, from a study's numbers, or from a file of curves.

Called by ``waker scaling``. A reward is a share of the exact optimum, 1 − normalised regret: what a policy (or a plan
in the model) is worth in an episode is divided by the mean optimum of its θ and task. Three numbers are made of a
measurement: the *mean*; the *CVaR*, the mean share of the worst tenth of the θ, averaged over tasks; and the *worst*
pair of θ and task. The last two are of the means over the measurement's own episodes, and not corrected for being
chosen among them: every measurement of every run meets the same episodes, so that a curve is one of a fixed set.

A file of curves has one row for each run, measurement and number, with the columns :data:`CURVES`; it is what is
committed, and read again instead of run folders. A file of numbers (``waker compare --page``) is of one step and has
the mean alone; several of them, of several steps, are a curve.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from waker.analysis.data import RunData
from waker.analysis.metrics import Floats, tail_weights
from waker.analysis.numbers_file import read_numbers
from waker.analysis.plans_compared import over_all_episodes
from waker.analysis.quantities import TAIL, worth
from waker.analysis.scaling_law import Curve
from waker.analysis.steps import RUN, deciding, of_policy
from waker.errors import UserError
from waker.names import ALL, DR_SUITE, EXPECTED, PLANNED
from waker.storage.files import reading

MEASURES = {"mean": "mean over θ", "cvar": f"CVaR {TAIL:g} over θ", "worst": "worst θ"}
CURVES = (*RUN, "step", "updates", "flop", "measure", "value", "floor")
"""``updates`` made and ``flop`` spent until the measurement, empty where they are not known; ``floor``: of random
actions."""
AXES = {"step": "agent steps", "flop": "FLOP"}
_MARK = 0.02
"""Measurements of several seeds whose compute differs by a smaller share may be one point of a curve."""
_MOST = 0.5
"""A seed with a smaller share of the median seed's measurements lacks most of them."""
_OF_NUMBERS = ("fraction_of_optimum", "planned_fraction_of_optimum")


def share_numbers(rows: pd.DataFrame) -> dict[str, float]:
    """The three shares of one measurement's rows, of one suite; NaN where no θ has a positive optimum.

    Args:
        rows: with ``worth`` and ``optimal_return``, ``task`` and ``theta_…``.

    Raises:
        UserError: no column names a θ.
    """
    coordinates = [c for c in rows if str(c).startswith("theta_")]
    if not coordinates:
        raise UserError("shares of the optimum are over θ, and no column theta_… names one")
    known = rows.dropna(subset=["optimal_return", "worth"])
    cells = known.groupby([*coordinates, "task"], dropna=False, sort=False)["optimal_return"].transform("mean")
    known, best = known[cells > 0], cells[cells > 0]
    if known.empty:
        return dict.fromkeys(MEASURES, float("nan"))
    share = (known["worth"] / best).to_numpy(float)
    theta = known.groupby(coordinates, dropna=False, sort=False).ngroup().to_numpy()
    cell = pd.DataFrame({"theta": theta, "task": known["task"].to_numpy(), "share": share})
    means = cell.groupby(["task", "theta"])["share"].agg(["mean", "size"])
    tails = [_tail(part["mean"].to_numpy(float), part["size"].to_numpy(float)) for _, part in means.groupby("task")]
    return {"mean": float(share.mean()), "cvar": float(np.mean(tails)), "worst": float(means["mean"].min())}


def _tail(shares: Floats, rows: Floats) -> float:
    """Mean of the lowest tenth of the θ of one task, each weighing as its rows."""
    return float(tail_weights(shares, rows / rows.sum(), TAIL) @ shares)


def run_curves(
    run: RunData, random: pd.DataFrame | None, flop: float | None, adapted: float = 0.0
) -> list[dict[str, Any]]:
    """Rows of one run: the three shares at each of its measurements.

    Args:
        random: what random actions are worth, a row for each θ and task of DR: ``theta_…``, ``task``, ``return``; None
            = not known, and the floor is 0.
        flop: of an update; None = not known.
        adapted: FLOP of the adaptation that follows a measurement.
    """
    rows = deciding(run.evaluation) if len(run.evaluation) else run.evaluation
    if rows.empty or rows["optimal_return"].isna().all():
        return []
    identity = {"domain": run.domain, "sampler": run.sampler, "explorer": run.explorer, "seed": run.seed}
    expected = of_policy(run.evaluation, EXPECTED).assign(**identity)
    if "policy" in rows and (rows["policy"] == PLANNED).all():
        parts = []
        for step, part in rows.assign(**identity).groupby("step", sort=False):
            parts.append(over_all_episodes(part, expected[expected["step"] == step] if len(expected) else expected))
        rows = pd.concat(parts)
    rows = rows[rows["suite"] == DR_SUITE]
    rows = rows.assign(worth=worth(rows))
    found: list[dict[str, Any]] = []
    for step, part in rows.groupby("step"):
        floors = _floors(part, random)
        updates = float(part["updates"].max()) if "updates" in part else np.nan
        spent = np.nan if flop is None else updates * flop + adapted
        about = {**identity, "step": int(step), "updates": updates, "flop": spent}
        found += [
            {**about, "measure": name, "value": value, "floor": floors[name]}
            for name, value in share_numbers(part).items()
        ]
    return found


def _floors(rows: pd.DataFrame, random: pd.DataFrame | None) -> dict[str, float]:
    """The shares of random actions in the same episodes; 0 where they are not known."""
    if random is None or random.empty:
        return dict.fromkeys(MEASURES, 0.0)
    coordinates = [c for c in rows if str(c).startswith("theta_") and c in random]
    keys = [*coordinates, "task"]
    values = random[[*keys, "return", "optimal_return"]].rename(columns={"return": "earned", "optimal_return": "best"})
    merged = rows.merge(values, how="left", on=keys)
    if merged["earned"].isna().any():
        return dict.fromkeys(MEASURES, 0.0)
    return share_numbers(merged.assign(worth=merged["earned"], optimal_return=merged["best"]))


def numbers_curves(path: Path, floor: float) -> list[dict[str, Any]]:
    """Rows of a file of numbers: the mean share at its step.

    Raises:
        UserError: the file is none of numbers, or names no step, or no share of the optimum.
    """
    rows = read_numbers(path)
    of_all = rows[rows["task"] == ALL]
    quantity = next((name for name in _OF_NUMBERS if (of_all["quantity"] == name).any()), None)
    if quantity is None:
        raise UserError(f"{path} has no share of the optimum ({' or '.join(_OF_NUMBERS)})")
    kept = of_all[of_all["quantity"] == quantity]
    if not kept["step"].map(lambda step: str(step).isdecimal()).all():
        raise UserError(f"{path} does not tell the step of every run")
    return [
        {
            **{name: row[name] for name in RUN},
            "step": int(row["step"]),
            "updates": np.nan,
            "flop": np.nan,
            "measure": "mean",
            "value": float(row["value"]),
            "floor": floor,
        }
        for row in kept.to_dict("records")
    ]


def read_curves(path: Path) -> pd.DataFrame:
    """A file of curves, with the columns :data:`CURVES`.

    Raises:
        UserError: what is wrong with it, and in which row.
    """
    with reading(path), path.open(encoding="utf-8", errors="surrogatepass", newline="") as file:
        head, *lines = list(csv.reader(file, strict=True)) or [[]]
    if missing := [name for name in CURVES if name not in head]:
        raise UserError(f"{path} is no file of curves: it lacks the column{'s' * (len(missing) > 1)} "
                        f"{', '.join(missing)}")  # fmt: skip
    if not lines:
        raise UserError(f"{path} holds no curves")
    for at, line in enumerate(lines, 1):
        if len(line) != len(head):
            raise UserError(f"{path}, row {at}: {len(line)} fields instead of {len(head)}")
    rows = pd.DataFrame(lines, columns=head)[list(CURVES)]
    for name in ("seed", "step", "updates", "flop", "value", "floor"):
        values = pd.to_numeric(rows[name], errors="coerce").astype(float)
        wrong = np.isinf(values) | (values.isna() & ((rows[name] != "") | (name not in ("updates", "flop"))))
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise UserError(f"{path}, row {at + 1}: {name} is {rows[name].iloc[at]!r}, not a number")
        rows = rows.assign(**{name: values.astype(int) if name in ("seed", "step") else values})
    if unknown := sorted(set(rows["measure"]) - set(MEASURES)):
        raise UserError(f"{path}: {unknown[0]!r} is no measure; there are {', '.join(MEASURES)}")
    if (rows["step"] < 1).any():
        raise UserError(f"{path}: step {int(rows['step'].min())} is not above 0")
    return rows


def curve_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table, each run's measurement once.

    Raises:
        UserError: two rows of one measurement.
    """
    frame = pd.DataFrame(rows, columns=list(CURVES))
    again = frame[frame.duplicated([*RUN, "step", "measure"])]
    if len(again):
        first = again.iloc[0]
        raise UserError(
            f"two rows of {first['domain']}, {first['sampler']}, {first['explorer']}, seed {first['seed']} at step "
            f"{first['step']}: name only one of them"
        )
    return frame


def curve_of(rows: pd.DataFrame, axis: str) -> tuple[Curve | None, list[str]]:
    """The curve of one group and measure, over the points that every seed has; and what was left out, in lines.

    A seed with fewer than half as many measurements as the median seed is left out: one run that was ended early would
    take their points from all others. None where no compute of this axis is known, or no point is shared.

    Args:
        rows: with the columns :data:`CURVES`, of one domain, sampler, explorer and measure.
        axis: ``step`` or ``flop``.
    """
    known = rows.dropna(subset=[axis, "value"])
    known = known[known[axis] > 0].sort_values([axis, "step"], kind="stable")
    if known.empty:
        return None, []
    known = known.drop_duplicates(["seed", axis], keep="last")
    counts = known.groupby("seed").size()
    few = counts[counts < _MOST * counts.median()]
    notes = [f"seed {seed} is left out: {n} measurements, the median seed has {counts.median():g}"
             for seed, n in few.items()]  # fmt: skip
    known = known[~known["seed"].isin(few.index)]
    known = known.assign(mark=_marks(known["seed"].to_numpy(int), known[axis].to_numpy(float)))
    values = known.pivot_table(index="seed", columns="mark", values="value", aggfunc="last")
    whole = values.dropna(axis=1)
    if whole.shape[1] < values.shape[1]:
        lacking = [int(seed) for seed in values.index[values.isna().any(axis=1)]]
        left = values.shape[1] - whole.shape[1]
        notes.append(f"{left} of {values.shape[1]} points are left out: seeds {', '.join(map(str, lacking))} lack some")
    if whole.empty:
        return None, notes
    compute = known[known["mark"].isin(whole.columns)].groupby("mark")[axis].mean().to_numpy(float)
    floor = float(known["floor"].mean())
    return Curve(compute, whole.to_numpy(float), floor, tuple(int(seed) for seed in whole.index)), notes


def _marks(seeds: NDArray[np.int64], compute: Floats) -> NDArray[np.int64]:
    """The point that each measurement belongs to, counted from 0.

    A point has a seed once, and lies within :data:`_MARK` of its first measurement. A measurement that lies nearer to a
    later one of that first measurement's seed is not joined to it: a seed that lacks one shifts no other.

    Args:
        seeds, compute: of measurements, (n,), in the order of their compute.
    """
    at = np.log(compute)
    of_seed = {int(seed): at[seeds == seed] for seed in np.unique(seeds)}
    marks = np.zeros(len(at), np.int64)
    first, inside = 0, set[int]()
    for i, seed in enumerate(map(int, seeds)):
        away = at[i] - at[first]
        nearest = np.abs(of_seed[int(seeds[first])] - at[i]).min()
        if i and (seed in inside or away > _MARK or nearest < away):
            marks[i:] += 1
            first, inside = i, set()
        inside.add(seed)
    return marks


def after(rows: pd.DataFrame, step: int) -> pd.DataFrame:
    """The rows of measurements behind a step: those before it are of a curriculum that has chosen nothing yet."""
    return rows[rows["step"] > step]


def of_samplers(rows: pd.DataFrame, samplers: Sequence[str]) -> pd.DataFrame:
    """The rows of some samplers; all where none is named.

    Raises:
        UserError: one that is not there.
    """
    for name in samplers:
        if name not in set(rows["sampler"]):
            raise UserError(f"no curve of sampler {name!r}; there are {', '.join(dict.fromkeys(rows['sampler']))}")
    return rows[rows["sampler"].isin(samplers)] if samplers else rows
