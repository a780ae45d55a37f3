"""At which step runs are compared. Called by :mod:`waker.evaluation.numbers` and the report.

Runs of one comparison may have stopped at different steps. Their numbers are taken at the last step at which all of
them were measured; where there is none, runs are kept apart: each under a name that tells its step, so that nothing
pools what is not comparable. Whatever was decided is told in a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pandas as pd

from waker.errors import UserError

GROUP = ["domain", "sampler", "explorer"]
RUN = [*GROUP, "seed"]
"""Columns that tell runs apart."""

Run: TypeAlias = tuple[str, str, str, int]
At: TypeAlias = Literal["common", "last"] | int
"""The last step that all runs share, each run's own last, or a step."""
MEASURED = ("evaluation", "model_error")


@dataclass(frozen=True)
class Steps:
    """What was decided.

    Attributes:
        at: run → table → step, for :data:`MEASURED` tables that have rows with steps.
        apart: runs whose sampler is shown with its step.
        left_out: runs that have no measurement where others have.
        notes: one line each.
    """

    at: Mapping[Run, Mapping[str, int]]
    apart: frozenset[Run] = frozenset()
    left_out: frozenset[Run] = frozenset()
    notes: tuple[str, ...] = field(default=())

    def until(self, run: Run) -> int | None:
        """The step up to which the run's data counts; None = all of it."""
        return max(self.at[run].values()) if self.at.get(run) else None

    def sampler(self, run: Run) -> str:
        """The sampler's name in the comparison."""
        return f"{run[1]} @ {self.until(run)}" if run in self.apart else run[1]

    def cut(self, rows: pd.DataFrame, table: str) -> pd.DataFrame:
        """The rows that count: of measured tables those at the step, of others those up to it."""
        if rows.empty:
            return rows
        parts = []
        for key, part in rows.groupby(RUN, sort=False):
            run = run_key(key)
            if run in self.left_out:
                continue
            if "step" in part and table in MEASURED and table in self.at.get(run, {}):
                part = part[part["step"] == self.at[run][table]]
            elif "step" in part and table not in MEASURED and (last := self.until(run)) is not None:
                part = part[part["step"] <= last]
            if run in self.apart:
                part = part.assign(sampler=self.sampler(run))
            parts.append(part)
        return pd.concat(parts) if parts else rows.iloc[:0]


def run_key(values: Sequence[Any]) -> Run:
    """Values of :data:`RUN`'s columns as a key."""
    domain, sampler, explorer, seed = values
    return str(domain), str(sampler), str(explorer), int(seed)


def choose_steps(
    evaluation: pd.DataFrame, model_error: pd.DataFrame, episodes: pd.DataFrame, at: At = "common"
) -> Steps:
    """Choose a step for every run, domain by domain.

    Args:
        evaluation, model_error, episodes: rows of runs, any of them empty.
        at: see :data:`At`.

    Raises:
        UserError: a step at which a run was not measured.
    """
    found: dict[Run, dict[str, set[int]]] = {}
    for table, rows in (("evaluation", evaluation), ("model_error", model_error), ("episodes", episodes)):
        if rows.empty or "step" not in rows:
            continue
        for key, part in rows.groupby(RUN, sort=False):
            steps = found.setdefault(run_key(key), {})
            if table in MEASURED:
                steps[table] = set(map(int, part["step"].unique()))
    chosen: dict[Run, dict[str, int]] = {}
    apart: set[Run] = set()
    without: set[Run] = set()
    notes: list[str] = []
    for domain in dict.fromkeys(run[0] for run in found):
        runs = {run: tables for run, tables in found.items() if run[0] == domain and tables}
        if not runs:
            continue
        missing = [run for run, tables in found.items() if run[0] == domain and not tables]
        if missing:
            without.update(missing)
            notes.append(f"{_named(missing)}: not measured yet, left out")
        decided, separate, lines = _decide(runs, at)
        chosen |= decided
        apart |= set(runs) if separate else set()
        notes += lines
    return Steps(chosen, frozenset(apart), frozenset(without), tuple(notes))


def _decide(runs: dict[Run, dict[str, set[int]]], at: At) -> tuple[dict[Run, dict[str, int]], bool, list[str]]:
    """Steps of one domain's runs, whether runs are kept apart, and what to tell."""
    last = {run: max(max(steps) for steps in tables.values()) for run, tables in runs.items()}
    if isinstance(at, int):
        lacking = [run for run, tables in runs.items() if any(at not in steps for steps in tables.values())]
        if lacking:
            raise UserError(f"{_named(lacking)}: not measured at step {at}; {_lasts(last)}")
        return {run: dict.fromkeys(tables, at) for run, tables in runs.items()}, False, []
    everywhere = set.intersection(*(steps for tables in runs.values() for steps in tables.values()))
    if at == "common" and everywhere:
        step = max(everywhere)
        beyond = {run: end for run, end in last.items() if end > step}
        told = f"all runs are compared at step {step}, the last at which all were measured ({_lasts(beyond)})"
        return {run: dict.fromkeys(tables, step) for run, tables in runs.items()}, False, [told] if beyond else []
    tables = list(dict.fromkeys(table for of_run in runs.values() for table in of_run))
    shared = {t: set.intersection(*(of_run[t] for of_run in runs.values() if t in of_run)) for t in tables}
    if at == "common" and all(shared.values()):
        steps = {table: max(common) for table, common in shared.items()}
        told = ", ".join(f"{table.replace('_', ' ')} at step {step}" for table, step in steps.items())
        return {run: {t: steps[t] for t in of_run} for run, of_run in runs.items()}, False, [f"compared: {told}"]
    own = {run: _own(of_run) for run, of_run in runs.items()}
    if len(set(last.values())) == 1 and at == "last":
        return own, False, []
    why = "these runs" if at == "last" else "no step at which all runs were measured: they"
    return own, True, [f"{why} are not pooled, each is at its own last step ({_lasts(last)})"]


def _own(tables: dict[str, set[int]]) -> dict[str, int]:
    """A run's last step at which all was measured, else each table's last."""
    both = set.intersection(*tables.values())
    return dict.fromkeys(tables, max(both)) if both else {table: max(steps) for table, steps in tables.items()}


def _named(runs: Sequence[Run]) -> str:
    return ", ".join(f"{sampler} seed {seed}" for _, sampler, _, seed in runs)


def _lasts(last: Mapping[Run, int]) -> str:
    """``dr seed 0 and dr seed 1 end at 40, dr seed 2 ends at 80``."""
    by_step: dict[int, list[Run]] = {}
    for run, step in last.items():
        by_step.setdefault(step, []).append(run)
    return "; ".join(f"{_named(runs)}: last at {step}" for step, runs in sorted(by_step.items()))
