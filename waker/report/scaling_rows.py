"""Rows of curves of run folders, with what they cost: FLOP by the settings, and the reward at zero compute.

Called by ``waker scaling`` and :mod:`experiments.scaling`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from waker.analysis.data import RunData, check_told_apart, load_runs
from waker.analysis.flops import uncounted, update_flops
from waker.analysis.scaling_curves import after, curve_frame, numbers_curves, read_curves, run_curves
from waker.analysis.variants import by_settings
from waker.collection.family import Family
from waker.config.saved import config_from
from waker.config.schema import Config
from waker.errors import UserError
from waker.evaluation.random_actions import random_rows
from waker.training.update_work import adaptation_flop, update_work
from waker_envs import ThetaError, UnknownEnvError


class Cost(NamedTuple):
    """What settings tell: FLOP of an update, and of the adaptation after a measurement."""

    update: float
    adaptation: float


def collect(
    places: Sequence[Path], floor: float | None = None, skip: int | None = None, by: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Curves of run folders, files of curves and files of numbers; and what is not known of them, in lines.

    Args:
        places: folders, and CSV files.
        floor: the reward at zero compute, for what tells none; None = exactly that of random actions, where the family
            knows all its tables, else 0.
        skip: measurements up to this step are left out; None = of run folders those of the random prefill.
        by: settings whose values tell variants of a sampler apart, of run folders alone.

    Raises:
        UserError: no runs, two that nothing tells apart, a file that is neither, or nothing that was measured.
    """
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for file in [place for place in places if place.is_file()]:
        found = _of_file(file, 0.0 if floor is None else floor)
        rows += found
        if floor is None and not any(row["floor"] for row in found):
            notes.append(f"{file} tells no reward at zero compute: 0 is taken; --floor gives another")
    if folders := [place for place in places if not place.is_file()]:
        found, told = _of_folders(folders, floor, skip, by)
        rows, notes = rows + found, notes + told
    frame = curve_frame(rows)
    frame = after(frame, skip) if skip is not None else frame
    if frame["value"].notna().sum() == 0:
        raise UserError("nothing to fit: no measurement has an exact optimum (`waker evaluate` measures)")
    return frame, notes


def _of_file(file: Path, floor: float) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8", errors="surrogateescape") as opened:
        head = opened.readline()
    if "quantity" in head:
        return numbers_curves(file, floor)
    return [{str(k): v for k, v in row.items()} for row in read_curves(file).to_dict("records")]


def _of_folders(
    folders: Sequence[Path], floor: float | None, skip: int | None, by: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    families: dict[str, tuple[Family | None, pd.DataFrame | None]] = {}
    costs: dict[str, Cost | None] = {}
    runs = by_settings(load_runs(folders), by)
    check_told_apart(runs)
    for run in runs:
        config = _config(run)
        family, random = _family(config, families, notes)
        cost = _cost(config, family, costs, notes)
        found = run_curves(run, random, None if cost is None else cost.update, 0.0 if cost is None else cost.adaptation)
        if floor is not None:
            found = [{**row, "floor": floor} for row in found]
        prefill = config.train.prefill if config is not None and skip is None else 0
        rows += [row for row in found if row["step"] > prefill]
        if not found:
            notes.append(f"{run.label}: no measurement with an exact optimum")
    return rows, list(dict.fromkeys(notes))


def _config(run: RunData) -> Config | None:
    settings = run.config.get("config", run.config)
    try:
        return config_from(settings) if isinstance(settings, dict) and settings else None
    except UserError:
        return None


def _family(
    config: Config | None, known: dict[str, tuple[Family | None, pd.DataFrame | None]], notes: list[str]
) -> tuple[Family | None, pd.DataFrame | None]:
    """The environments of a configuration, and what random actions are worth there; None where that is not known."""
    if config is None:
        notes.append("runs without settings: FLOP and the reward at zero compute are not known")
        return None, None
    key = json.dumps([config.env, config.env_kwargs, config.longest_episode], sort_keys=True)
    if key not in known:
        try:
            family = Family.of(config)
            random = pd.DataFrame(random_rows(family))
        except (UserError, UnknownEnvError, ThetaError) as error:
            known[key] = None, None
            notes.append(f"{config.env}: FLOP and the reward at zero compute are not known: {error}")
        else:
            known[key] = family, random if len(random) else None
            if not len(random):
                notes.append(f"{config.env} does not tell what random actions are worth: 0 is taken; --floor gives "
                             "another")  # fmt: skip
    return known[key]


def _cost(config: Config | None, family: Family | None, known: dict[str, Cost | None], notes: list[str]) -> Cost | None:
    if config is None or family is None:
        return None
    key = json.dumps([repr(family.spec), *(repr(part) for part in _parts(config))])
    if key not in known:
        spec = family.spec
        update = update_work(spec, config).flop if uncounted(spec, config) else update_flops(spec, config)
        known[key] = Cost(update, adaptation_flop(spec, config))
    return known[key]


def _parts(config: Config) -> tuple[Any, ...]:
    """What decides the cost of an update."""
    train = config.train
    shape = train.batch, train.length, train.task_policies, train.adapt_updates, train.adapt_batch, train.adapt_heads
    return config.model, config.behaviour, config.explorer, config.adapt, shape, train.adapt_repeats
