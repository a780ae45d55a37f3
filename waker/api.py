"""What a notebook or a script of one's own calls: settings, training, loading, rows. Everything public of ``waker``.

``import waker`` offers these names; they are imported when they are first used.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from waker.analysis.data import RunData, ends_of, load_runs, settings_of, stack
from waker.analysis.marks import marks
from waker.analysis.paired import paired_differences, pairs
from waker.analysis.study import BASELINE, baseline_of, check_quantities, notes_of, read_study, tested
from waker.analysis.summary import summarise
from waker.config import presets
from waker.config.schema import Config
from waker.errors import UserError, unknown
from waker.names import ALL
from waker.run import Run
from waker.storage.files import check_folder
from waker.storage.run_search import one_run
from waker.storage.settings_file import read_settings


def preset(name: str = "laptop", env: str | None = None, sampler: str | None = None) -> Config:
    """The settings of a preset.

    Args:
        name: of the preset (``waker train --help`` lists them).
        env: the environment, whose domain the published presets' numbers depend on; None = the preset's own.
        sampler: the curriculum; None = the preset's own.

    Raises:
        UserError: no such preset, or a published one for an environment that was not published.
        UnknownEnvError: no such environment.
    """
    import waker_envs

    if name not in presets.PRESETS:
        raise unknown("preset", name, presets.PRESETS)
    return presets.preset(name, waker_envs.resolve_id(env) if env else None, sampler)


def load_config(path: str | Path) -> Config:
    """The settings in a file, to train with or to change.

    Args:
        path: a run's ``config.yaml`` or its folder, or a YAML file of your own: a preset's name (``preset``; default
            laptop) and what differs from it, in sections or by the names that ``with_`` takes.

    Raises:
        UserError: there is no such file, or a setting in it is not valid.
        UnknownEnvError: it names an environment that does not exist.
    """
    return read_settings(Path(path))


def train(config: Config, runs: str | Path = "runs") -> Run:
    """Train a run to its end, or go on with it where it was stopped; what ``waker train`` does.

    Args:
        config: see :func:`preset` and :meth:`~waker.config.schema.Config.with_`. A sampler or environment that is
            registered in this process is known.
        runs: the folder of all runs.

    Raises:
        UserError: what the command line would refuse too.
        Paused: Ctrl-C or SIGTERM; the run is saved, and the same call goes on.
    """
    from waker.training.build import train_run

    if not isinstance(config, Config):
        raise UserError(f"config must be a waker.Config, as waker.preset gives one, not {config!r}")
    check_folder("runs", Path(runs))
    _, folder = train_run(config, Path(runs))
    return Run(folder)


def load(folder: str | Path, device: str | None = None) -> Run:
    """A run folder, read only; its newest checkpoint is loaded when something needs the agent.

    Args:
        folder: a run folder, or one above that holds no other.
        device: for the agent; None = the run's own.

    Raises:
        UserError: it is no run folder, or holds several.
    """
    return Run(one_run(Path(folder)), device)


_SHARED = ["domain", "sampler", "explorer", "seed", "group", "step", "mark"]
"""Columns of every table, also of one without rows."""


@dataclass(frozen=True, repr=False)
class Rows:
    """The rows of several runs, each table with the columns ``domain``, ``sampler``, ``explorer``, ``seed`` and
    ``group``, and ``mark``: the step that a row was due at, which the seeds of a study share (``step`` is where it was
    really made)."""

    evaluation: pd.DataFrame
    model_error: pd.DataFrame
    curriculum: pd.DataFrame
    metrics: pd.DataFrame
    episodes: pd.DataFrame

    def __repr__(self) -> str:
        return sizes(self)


def sizes(tables: Rows | Compared) -> str:
    """``Rows(evaluation: 120 rows, …)``: how long the tables of an object are."""
    frames = [(name, table) for name, table in vars(tables).items() if isinstance(table, pd.DataFrame)]
    return f"{type(tables).__name__}({', '.join(f'{name}: {len(table):,} rows' for name, table in frames)})"


def rows(folders: str | Path | Sequence[str | Path]) -> Rows:
    """The saved rows of every run in or below some folders.

    Warns where a run has no learning metrics: `waker sweep` keeps no long ones among its rows.

    Raises:
        UserError: a folder that does not exist or holds no run, or two runs that nothing tells apart.
    """
    if isinstance(folders, str | Path):
        folders = [folders]
    found = load_runs(folders)
    if bare := [run for run in found if run.metrics.empty]:
        warnings.warn(
            f"{len(bare)} of {len(found)} runs have no learning metrics here, {bare[0].folder} for one; a sweep leaves "
            "long ones in the run's own folder",
            stacklevel=2,
        )
    return Rows(**{table: _marked(found, table) for table in Rows.__dataclass_fields__})


@dataclass(frozen=True, repr=False)
class Compared:
    """Runs compared: what ``waker compare`` prints, as tables.

    Attributes:
        numbers: one row a run, task (``all``: of all together) and quantity: columns domain, sampler, explorer, seed,
            task, quantity, value, and the run, step and commit it is of.
        summary: means over seeds with Student's 95 % intervals; columns of :func:`waker.analysis.summary.summarise`.
        differences: paired with the baseline, seed by seed, over all tasks: columns of
            :func:`waker.analysis.paired.paired_differences`; empty where nothing has a pair.
        notes: what a reader must know, by domain.
        baseline: the label that the others were paired with.
    """

    numbers: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    notes: dict[str, list[str]]
    baseline: str

    def __repr__(self) -> str:
        return sizes(self)


def compare(
    folders: str | Path | Sequence[str | Path],
    baseline: str = BASELINE,
    *,
    samplers: Sequence[str] = (),
    seeds: Sequence[int] = (),
    quantities: Sequence[str] = (),
    at: Literal["common", "last"] | int = "common",
    by: Sequence[str] = (),
) -> Compared:
    """Returns, regrets, CVaR, model errors and shares of every run, and each sampler with a baseline, seed by seed.

    Args:
        folders: run folders, folders that hold some, or files of numbers (``…-numbers.csv``).
        baseline: the sampler, or the explorer, that the others are paired with.
        samplers, seeds: only these; none = all.
        quantities: test only these: Holm's correction is over the tests of one domain.
        at: the step: the last at which all runs were measured, each run's own last, or a number.
        by: settings whose values tell variants of a sampler apart (``curriculum.plr.beta``).

    Raises:
        UserError: no runs, none of them evaluated, two that nothing tells apart, a name that no run has, or a step at
            which a run was not measured.
    """
    places = [Path(place) for place in ([folders] if isinstance(folders, str | Path) else folders)]
    study = read_study(places, samplers, seeds, at, by)
    if study.numbers.empty:
        raise UserError("; ".join(["nothing to compare: the runs have no evaluation rows", *study.lost]))
    label, over = baseline_of(study.numbers, baseline)
    check_quantities(study.numbers, quantities)
    paired = pairs(study.numbers, label, over)
    rows = tested(study, paired.rows, label, over)
    differences = paired_differences(rows[rows["task"] == ALL], quantities)
    notes = {domain: notes_of(study, paired, domain) for domain in study.domains}
    return Compared(study.numbers, summarise(study.numbers), differences, notes, label)


def _marked(runs: Sequence[RunData], table: str) -> pd.DataFrame:
    def marked(run: RunData) -> RunData:
        rows: pd.DataFrame = getattr(run, table)
        if "step" not in rows:
            return run
        return replace(run, **{table: rows.assign(mark=marks(rows, settings_of(run), ends_of(run)))})

    found = stack([marked(run) for run in runs], table)
    return found if len(found.columns) else pd.DataFrame(columns=_SHARED)


__all__ = [
    "Compared",
    "Config",
    "Rows",
    "Run",
    "UserError",
    "compare",
    "load",
    "load_config",
    "marks",
    "preset",
    "rows",
    "train",
]
