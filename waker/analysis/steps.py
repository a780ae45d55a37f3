"""At which step runs are compared. Called by :mod:`waker.analysis.numbers` and the report.

Runs of one comparison may have stopped at different steps. Their numbers are taken at the last step at which all of
them were measured; where there is none, runs are kept apart: each under a name that tells its step, so that nothing
pools what is not comparable. Whatever was decided is told in a line.

A measurement is due at a *mark* and made when all slots have stepped, so that runs of one schedule measure up to as
many steps later as there are slots: steps that differ by less are one mark, called by the smallest of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pandas as pd

from waker.errors import UserError
from waker.names import PLANNED

GROUP = ["domain", "sampler", "explorer"]
RUN = [*GROUP, "seed"]
"""Columns that tell runs apart."""

Run: TypeAlias = tuple[str, str, str, int]
At: TypeAlias = Literal["common", "last"] | int
"""The last step that all runs share, each run's own last, or a step."""
MEASURED = ("evaluation", "model_error")
_APART = " @ "

_NEARLY = 1e-3
"""Steps that differ by so small a share are one mark, however many slots there were."""


@dataclass(frozen=True)
class Steps:
    """What was decided.

    Attributes:
        at: run → table → step, for :data:`MEASURED` tables that have rows with steps.
        apart: runs whose sampler is shown with its step, and the mark.
        left_out: runs that have no measurement where others have.
        notes: one line each.
    """

    at: Mapping[Run, Mapping[str, int]]
    apart: Mapping[Run, int] = field(default_factory=dict)
    left_out: frozenset[Run] = frozenset()
    notes: tuple[str, ...] = ()

    def until(self, run: Run) -> int | None:
        """The step up to which the run's data counts, the first of its tables' steps; None = all of it."""
        return min(self.at[run].values()) if self.at.get(run) else None

    def sampler(self, run: Run) -> str:
        """The sampler's name in the comparison."""
        return f"{run[1]}{_APART}{self.apart[run]}" if run in self.apart else run[1]

    def cut(self, rows: pd.DataFrame, table: str, beside: str | None = None) -> pd.DataFrame:
        """The rows that count: of measured tables those at the step, of others those up to it.

        Args:
            rows: of a table.
            table: its name.
            beside: the table whose step counts for runs that have none for ``table``, as they are measured together.
        """
        if rows.empty:
            return rows
        parts = []
        for key, part in rows.groupby(RUN, sort=False):
            run = run_key(key)
            if run in self.left_out:
                continue
            of_run = self.at.get(run, {})
            step = of_run.get(table, of_run.get(beside or table))
            if "step" in part and table in MEASURED and step is not None:
                part = part[part["step"] == step]
            elif "step" in part and table not in MEASURED and (last := self.until(run)) is not None:
                part = part[part["step"] <= last]
            if run in self.apart:
                part = part.assign(sampler=self.sampler(run))
            parts.append(part)
        return pd.concat(parts) if parts else rows.iloc[:0]


def of_policy(evaluation: pd.DataFrame, policy: str) -> pd.DataFrame:
    """The rows of one policy; rows that name none are of learned ones."""
    if "policy" in evaluation:
        return evaluation[evaluation["policy"] == policy]
    return evaluation if policy == "learned" else evaluation.iloc[:0]


def deciding(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The rows whose steps decide: of learned policies, or where no run has any, of plans in the model."""
    learned = of_policy(evaluation, "learned")
    return of_policy(evaluation, PLANNED) if learned.empty else learned


def step_told(sampler: str) -> int | None:
    """The step in a sampler's name in a comparison, where runs are kept apart by it (:meth:`Steps.sampler`)."""
    _, found, step = sampler.rpartition(_APART)
    return int(step) if found and step.isascii() and step.isdigit() else None


def run_key(values: Sequence[Any]) -> Run:
    """Values of :data:`RUN`'s columns as a key."""
    domain, sampler, explorer, seed = values
    return str(domain), str(sampler), str(explorer), int(seed)


_Marks: TypeAlias = dict[Run, dict[str, dict[int, int]]]
"""Run → table → mark → step."""


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
    found: dict[Run, dict[str, list[int]]] = {}
    for table, rows in (("evaluation", evaluation), ("model_error", model_error), ("episodes", episodes)):
        if rows.empty or "step" not in rows:
            continue
        for key, part in rows.groupby(RUN, sort=False):
            steps = found.setdefault(run_key(key), {})
            if table in MEASURED:
                steps[table] = sorted(map(int, part["step"].unique()))
    slots = int(episodes["slot"].max()) + 1 if "slot" in episodes and len(episodes) else 1
    chosen: dict[Run, dict[str, int]] = {}
    apart: dict[Run, int] = {}
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
        decided, separate, lines = _decide(_marks(runs, slots), at, slots)
        chosen |= decided
        apart |= separate
        notes += lines
    return Steps(chosen, apart, frozenset(without), tuple(notes))


def _marks(runs: dict[Run, dict[str, list[int]]], slots: int) -> _Marks:
    """Steps by their marks; where two steps of one run would be one mark, every step is its own."""
    steps = sorted({step for tables in runs.values() for of_table in tables.values() for step in of_table})
    mark_of: dict[int, int] = {}
    mark = steps[0]
    for step in steps:
        mark = mark if step - mark <= max(slots - 1, _NEARLY * mark) else step
        mark_of[step] = mark
    every = [of_table for tables in runs.values() for of_table in tables.values()]
    if any(len({mark_of[step] for step in of_table}) < len(of_table) for of_table in every):
        mark_of = {step: step for step in steps}
    return {
        run: {t: {mark_of[step]: step for step in of_t} for t, of_t in tables.items()} for run, tables in runs.items()
    }


def _decide(runs: _Marks, at: At, slots: int) -> tuple[dict[Run, dict[str, int]], dict[Run, int], list[str]]:
    """Steps of one domain's runs, the marks of runs that are kept apart, and what to tell."""

    def steps_at(mark: Mapping[str, int]) -> dict[Run, dict[str, int]]:
        return {run: {table: marks[mark[table]] for table, marks in of_run.items()} for run, of_run in runs.items()}

    tables = list(dict.fromkeys(table for of_run in runs.values() for table in of_run))
    last = {run: max(max(marks) for marks in of_run.values()) for run, of_run in runs.items()}
    everywhere = set.intersection(*(set(marks) for of_run in runs.values() for marks in of_run.values()))
    if isinstance(at, int):
        near = [mark for mark in everywhere if 0 <= mark - at < slots]
        if not near:
            raise UserError(f"not all runs were measured at step {at:,}; {_lasts(last)}")
        return steps_at(dict.fromkeys(tables, min(near))), {}, []
    if at == "common" and everywhere:
        mark = max(everywhere)
        beyond = {run: end for run, end in last.items() if end > mark}
        told = f"all runs are compared at step {mark:,}, the last at which all were measured ({_lasts(beyond)})"
        return steps_at(dict.fromkeys(tables, mark)), {}, [told] if beyond else []
    shared = {t: set.intersection(*(set(of_run[t]) for of_run in runs.values() if t in of_run)) for t in tables}
    if at == "common" and all(shared.values()):
        marks = {table: max(common) for table, common in shared.items()}
        told = ", ".join(f"{table.replace('_', ' ')} at step {mark:,}" for table, mark in marks.items())
        return steps_at(marks), {}, [f"compared: {told}; training data up to step {min(marks.values()):,}"]
    own = {run: _own(of_run) for run, of_run in runs.items()}
    if len(set(last.values())) == 1 and at == "last":
        return own, {}, []
    why = "these runs" if at == "last" else "no step at which all runs were measured: they"
    return own, last, [f"{why} are not pooled, each is at its own last step ({_lasts(last)})"]


def _own(tables: dict[str, dict[int, int]]) -> dict[str, int]:
    """A run's last step at which all was measured, else each table's last."""
    both = set.intersection(*map(set, tables.values()))
    return {table: marks[max(both or marks)] for table, marks in tables.items()}


def _named(runs: Sequence[Run]) -> str:
    return ", ".join(f"{sampler} seed {seed}" for _, sampler, _, seed in runs)


def _lasts(last: Mapping[Run, int]) -> str:
    """``dr seed 0, dr seed 1: last at 40; dr seed 2: last at 80``."""
    by_step: dict[int, list[Run]] = {}
    for run, step in last.items():
        by_step.setdefault(step, []).append(run)
    return "; ".join(f"{_named(runs)}: last at {step:,}" for step, runs in sorted(by_step.items()))
