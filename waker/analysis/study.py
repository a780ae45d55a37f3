"""The numbers of a study: of run folders, or of the small files that were made of them.

Called by ``waker compare`` and the study's page (:mod:`waker.report.study_page`). A :class:`Study` is all that both
need: whatever they show is a function of its rows, each of which names the run, the step and the commit it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from waker.analysis.coverage import coverage_notes
from waker.analysis.data import RunData, by_domain, load_runs, settings_of, stack, theta_sets
from waker.analysis.errors_compared import compared_steps, error_numbers
from waker.analysis.numbers import Comparison, compare_runs
from waker.analysis.numbers_file import NUMBERS, beside, read_notes, read_numbers, read_shares, write_table
from waker.analysis.paired import Over, Pairs
from waker.analysis.same_data import same_data_notes, without_same
from waker.analysis.sampling import COLUMNS as SHARES
from waker.analysis.sampling import sampling_shares
from waker.analysis.source_means import shared
from waker.analysis.steps import RUN, At, Steps
from waker.analysis.summary import quantities
from waker.analysis.variants import by_settings
from waker.curriculum.labels import adapted_label, called
from waker.errors import UserError, unknown

BASELINE = "dr"
"""With which the others are compared unless another is named."""
_FOLDER = 4
"""Last parts of a run's path that are always told: domain, sampler, explorer, seed."""


@dataclass(frozen=True)
class Study:
    """Everything that is compared.

    Attributes:
        numbers: columns :data:`waker.analysis.numbers_file.NUMBERS`; empty where nothing was measured.
        shares: columns :data:`waker.analysis.sampling.COLUMNS`.
        notes: domain and note, what a reader must know.
        lost: what damage took from runs, in lines.
    """

    numbers: pd.DataFrame
    shares: pd.DataFrame
    notes: pd.DataFrame
    lost: tuple[str, ...] = ()

    def of(self, domain: str) -> Study:
        """The part of one domain."""
        parts = (rows[rows["domain"] == domain] for rows in (self.numbers, self.shares, self.notes))
        return Study(*parts)

    @property
    def domains(self) -> list[str]:
        """Those that have numbers."""
        return list(dict.fromkeys(self.numbers["domain"]))


def read_study(
    places: Sequence[Path],
    samplers: Sequence[str] = (),
    seeds: Sequence[int] = (),
    at: At = "common",
    by: Sequence[str] = (),
) -> Study:
    """The numbers of the runs in or under folders, and of files of numbers.

    Args:
        places: folders, and files that :func:`write_study` wrote.
        samplers, seeds: only these; none = all.
        at: the step, of folders alone: a file's numbers are of one step.
        by: settings whose values tell variants of a sampler apart, of folders alone.

    Raises:
        UserError: no runs, two that cannot be told apart, a file that is none of numbers, a sampler or a seed that is
            not there, or a step at which a run was not measured.
    """
    files = [place for place in places if place.is_file()]
    folders = [place for place in places if place not in files]
    if files and at != "common":
        raise UserError(f"the numbers in {files[0]} are of one step: --at needs the run folders")
    if files and by:
        raise UserError(f"the numbers in {files[0]} have no settings: --by needs the run folders")
    runs = by_settings(load_runs(folders), by) if folders else []
    read = [Study(read_numbers(f), read_shares(beside(f, "shares")), read_notes(beside(f, "notes"))) for f in files]
    known = {(run.sampler, run.seed) for run in runs}
    known |= {(row.sampler, row.seed) for study in read for row in study.numbers[["sampler", "seed"]].itertuples()}
    wanted = _wanted(samplers, seeds, known)
    parts = [_selected(study, *wanted) for study in read]
    if kept := [run for run in runs if run.sampler in wanted[0] and run.seed in wanted[1]]:
        parts.append(_of_runs(kept, at))
    if not any(name in wanted[0] and seed in wanted[1] for name, seed in known):
        raise UserError("no run has both one of these samplers and one of these seeds")
    numbers, shares, notes = (
        pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("numbers", "shares", "notes")
    )
    lost = tuple(line for part in parts for line in part.lost)
    study = Study(numbers, shares, notes.drop_duplicates(ignore_index=True), lost)
    _told_apart(study.numbers)
    return study


def notes_of(study: Study, paired: Pairs, domain: str) -> list[str]:
    """What to know of a domain's numbers and of its pairs, in lines."""
    return [*study.of(domain).notes["note"], *paired.notes.get(domain, ())]


def tested(study: Study, rows: pd.DataFrame, baseline: str, over: Over) -> pd.DataFrame:
    """The pairs, or probabilities of improvement, without :func:`waker.analysis.same_data.without_same`'s."""
    notes = {str(domain): list(part["note"]) for domain, part in study.notes.groupby("domain", sort=False)}
    return without_same(rows, baseline, notes) if over == "sampler" else rows


def baseline_of(numbers: pd.DataFrame, name: str) -> tuple[str, Over]:
    """Which label ``name`` means, and whether it is a sampler or an explorer.

    The default may be absent: then nothing is compared with it.

    Raises:
        UserError: a name that no run has, or that may mean several samplers.
    """
    samplers, explorers = set(numbers["sampler"]), set(numbers["explorer"])
    found = called(name, sorted(samplers))
    if len(found) > 1:
        raise UserError(f"--baseline {name!r} may mean {' or '.join(map(repr, found))}: name one of them")
    if not found and name in explorers:
        return name, "explorer"
    if not found and name != BASELINE:
        raise unknown("baseline among these runs:", name, samplers | explorers)
    return next(iter(found), name), "sampler"


def check_quantities(numbers: pd.DataFrame, wanted: Sequence[str]) -> None:
    """Refuse a quantity that no run has.

    Raises:
        UserError: naming the nearest.
    """
    known = quantities(numbers)
    for quantity in wanted:
        if quantity not in known:
            raise unknown("quantity among these runs:", quantity, known)


def _wanted(
    samplers: Sequence[str], seeds: Sequence[int], known: Collection[tuple[str, int]]
) -> tuple[set[str], set[int]]:
    """The labels of samplers and the seeds that are asked for.

    Raises:
        UserError: a sampler or a seed that no run has.
    """
    labels, present = {sampler for sampler, _ in known}, {int(seed) for _, seed in known}
    wanted = set()
    for sampler in samplers:
        if not (found := called(sampler, sorted(labels))):
            raise unknown("sampler among these runs:", sampler, labels)
        wanted.update(found)
    for seed in seeds:
        if seed not in present:
            raise UserError(f"no run with seed {seed}; there are {', '.join(map(str, sorted(present)))}")
    return wanted or labels, set(seeds) or present


def _selected(study: Study, samplers: set[str], seeds: set[int]) -> Study:
    numbers, shares = (
        rows[rows["sampler"].isin(samplers) & rows["seed"].isin(seeds)] for rows in (study.numbers, study.shares)
    )
    return Study(numbers, shares, study.notes[study.notes["domain"].isin(numbers["domain"])])


def _told_apart(numbers: pd.DataFrame) -> None:
    again = numbers[numbers.duplicated([*RUN, "task", "quantity"])]
    if len(again):
        domain, sampler, explorer, seed = again.iloc[0][RUN]
        raise UserError(
            f"two of these places have numbers of {domain}, {sampler}, {explorer}, seed {seed}: name only one of them"
        )


def write_study(study: Study, numbers: Path) -> None:
    """Write the numbers, and beside them shares and notes: :func:`read_study` reads the same study.

    Raises:
        OSError: one could not be written.
    """
    write_table(numbers, study.numbers)
    write_table(beside(numbers, "shares"), study.shares)
    write_table(beside(numbers, "notes"), study.notes)


def _of_runs(runs: Sequence[RunData], at: At) -> Study:
    """The study of runs, every domain by itself and with its own hard θ.

    See :func:`waker.analysis.numbers.compare_runs` and :func:`waker.analysis.data.by_domain`.
    """
    numbers, shares, notes = [], [], []
    parts, paths = by_domain(runs), paths_of([run.folder for run in runs])
    for domain in dict.fromkeys(run.domain for run in parts):
        here = [run for run in parts if run.domain == domain]
        compared, steps = _compared(here, at)
        numbers.append(_traced(compared.numbers, here, steps, paths))
        shares.append(sampling_shares(steps.cut(stack(here, "episodes"), "episodes"), theta_sets(here)))
        notes += [(domain, note) for note in compared.notes]
    lost = tuple(f"{run.folder}: {line}" for run in runs for line in run.lost)
    return Study(
        _joined(numbers, NUMBERS), _joined(shares, SHARES), pd.DataFrame(notes, columns=["domain", "note"]), lost
    )


def _joined(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=list(columns))


def _compared(runs: Sequence[RunData], at: At) -> tuple[Comparison, Steps]:
    """One domain's numbers and what to tell of them; and the steps they are of."""
    evaluation, episodes = stack(runs, "evaluation"), stack(runs, "episodes")
    errors, told = shared(stack(runs, "model_error"))
    compared = compare_runs(evaluation, errors, episodes, theta_sets(runs), at=at)
    steps = compared_steps(evaluation, errors, episodes, at)
    more = error_numbers(stack(runs, "curriculum"), steps.cut(errors, "model_error"))
    numbers = _joined([compared.numbers, more], compared.numbers.columns)
    measured = [run for run in runs if (run.domain, run.sampler, run.explorer, run.seed) in steps.at] or runs
    curriculum = steps.cut(stack(runs, "curriculum"), "curriculum")
    same = same_data_notes(steps.cut(episodes, "episodes"), curriculum)
    lacking = coverage_notes(runs, evaluation, errors, steps)
    notes = (*same, *compared.notes, *lacking, *told, *differing(measured))
    return compared._replace(numbers=numbers, notes=notes), steps


def paths_of(folders: Sequence[Path]) -> dict[Path, str]:
    """As much of each folder's path as tells them all apart: what is above all of them is not told.

    Args:
        folders: of runs, each once.
    """
    longest, told = max(len(folder.parts) for folder in folders), _FOLDER
    while told < longest and len({folder.parts[-told:] for folder in folders}) < len(set(folders)):
        told += 1
    return {folder: "/".join(folder.parts[-told:]) for folder in folders}


def _traced(numbers: pd.DataFrame, runs: Sequence[RunData], steps: Steps, paths: Mapping[Path, str]) -> pd.DataFrame:
    """The numbers with the run, the step and the commit that each is of; ``paths``: how runs are told."""
    rows = []
    for run in runs:
        key = (run.domain, run.sampler, run.explorer, run.seed)
        at = steps.until(key)
        traced = {
            "run": paths[run.folder],
            "step": "" if at is None else str(at),
            "commit": str(run.config.get("git") or ""),
        }
        called = steps.sampler(key)
        rows += [
            {**dict(zip(RUN, key, strict=True)), "sampler": name, **traced} for name in (called, adapted_label(called))
        ]
    return numbers.merge(pd.DataFrame(rows), how="left", on=RUN)[list(NUMBERS)]


def differing(runs: Sequence[RunData]) -> list[str]:
    """A line for settings beside seed, sampler and explorer in which runs differ: then these are compared as well."""
    flats = [settings_of(run) for run in runs]
    known = [flat for flat in flats if flat]
    own = ("seed", "curriculum", "explorer", "preset", "sink_settings")
    keys = [k for k in dict.fromkeys(k for f in known for k in f) if k.split(".")[0] not in own]
    differ = [k for k in keys if len({str(flat.get(k)) for flat in known}) > 1]
    return [f"the runs differ in {', '.join(differ)}"] if differ else []
