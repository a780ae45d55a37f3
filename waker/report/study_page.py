"""One HTML page of a study, and beside it the numbers that it is made of. Called by ``waker compare --page``.

The page needs no network. Every table and figure names the runs, steps and commits its rows are of, and a CSV file
beside the page that has its numbers. From ``<page>-numbers.csv`` (with its shares and notes) the same page is made
again without the run folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from waker.analysis.conclusion import conclusion
from waker.analysis.numbers_file import write_table
from waker.analysis.paired import Over
from waker.analysis.reasons import NONE, NOT_SAVED
from waker.analysis.same_data import nothing_told
from waker.analysis.steps import RUN
from waker.analysis.study import Study, notes_of, write_study
from waker.errors import UserError
from waker.names import printable
from waker.report.blocks import Cell, HtmlTable
from waker.report.page import fill, span, told_of, write_page
from waker.report.study_sections import Shown, study_sections
from waker.report.study_tables import tables_of
from waker.report.style import colours
from waker.storage.files import saving

_COMMIT = 10
"""Characters of a commit that are shown."""


def write_study_page(
    study: Study, out: Path, baseline: str = "dr", over: Over = "sampler", quantities: Sequence[str] = ()
) -> dict[str, Path]:
    """Write the page and the files beside it.

    Args:
        study: what to show.
        out: the HTML file; its folder is made if need be.
        baseline, over: see :func:`waker.analysis.paired.pairs`.
        quantities: those to test; none = all of which more or less is better.

    Returns:
        Table → its file; ``numbers`` is the one to keep.

    Raises:
        SaveFailed, UserError: a file cannot be written, or ``out`` is a folder.
    """
    if not out.name or out.is_dir():
        raise UserError(f"the page must be a file, and {out} is a folder")
    tables, paired = tables_of(study, baseline, over, quantities)
    numbers = out.with_name(f"{out.stem}-numbers.csv")
    files = {"numbers": numbers}
    with saving(f"the numbers of {out}"):
        write_study(study, numbers)
        for name, rows in tables.rows.items():
            files[name] = out.with_name(f"{out.stem}-{name}.csv")
            write_table(files[name], rows)
    names = {name: path.name for name, path in files.items()}
    content, concluded = [], []
    for domain in study.domains:
        notes = notes_of(study, paired, domain)
        told = conclusion(tables.of(domain).paired, baseline, over, notes) or nothing_told(notes)
        concluded.append(told_of(told, domain, study.domains))
        of_domain = study.of(domain)
        shown = Shown(tables.of(domain), baseline, over, notes, rows_of(of_domain.numbers), names)
        content.append({"sections": study_sections(shown, domain if len(study.domains) > 1 else "")})
    runs = study.numbers.drop_duplicates(RUN)
    html = fill(
        title=printable(f"{' and '.join(study.domains)}: {over}s against {baseline}"),
        subtitle="Samplers of environment parameters θ compared seed by seed: robustness of policies trained in "
        "imagination, error of the world model, and what was sampled.",
        facts=[
            ("runs", len(runs)),
            ("samplers", runs["sampler"].nunique()),
            ("seeds", _ranges(runs["seed"])),
            ("baseline", printable(baseline)),
            ("agent steps", _steps(runs)),
        ],
        domains=content,
        conclusions=concluded,
        notes=[printable(line) for line in study.lost],
        runs_table=_runs_table(runs, names["numbers"]),
        configs=[],
        notes_title="Not everything could be read.",
        runs_lead="Which runs the numbers are of: their folders below the folder of runs, the agent step of the "
        "measurement, and the commit that made them.",
        footer=f"Made by waker compare from {printable(numbers.name)}, which has every number by run, task and "
        "quantity; the same file makes the same page.",
    )
    write_page(html, out)
    return files


def rows_of(numbers: pd.DataFrame) -> str:
    """``10 runs (dr seeds 10–14, waker-m seeds 10–14) at step 40,000, commit 0123456789``."""
    runs = numbers.drop_duplicates(RUN)
    several = runs["explorer"].nunique() > 1
    told = [
        printable(f"{sampler}{f' ({explorer})' if several else ''} seed{'s' if len(of) > 1 else ''} ")
        + _ranges(of["seed"])
        for (sampler, explorer), of in runs.groupby(["sampler", "explorer"], sort=False)
    ]
    commits = [commit[:_COMMIT] for commit in dict.fromkeys(runs["commit"]) if commit]
    made = f", commit{'s' if len(commits) > 1 else ''} {printable(', '.join(commits))}" if commits else ""
    steps = _steps(runs)
    return f"{len(runs)} runs ({', '.join(told)}){f' at step {steps}' if steps != '–' else ''}{made}"


def _steps(runs: pd.DataFrame) -> str:
    known = [int(step) for step in runs["step"] if str(step).isdecimal()]
    return span(known) if known else "–"


def _ranges(seeds: pd.Series) -> str:
    """``10–14, 17``."""
    parts: list[list[int]] = []
    for seed in sorted({int(seed) for seed in seeds}):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)


def _runs_table(runs: pd.DataFrame, file: str) -> HtmlTable:
    palette = colours(runs["sampler"])
    rows = [
        [
            Cell(printable(run["sampler"]), colour=palette[run["sampler"]]),
            Cell(printable(run["run"]), path=True),
            Cell(str(run["seed"])),
            Cell.of(f"{int(run['step']):,}" if str(run["step"]).isdecimal() else NONE, NOT_SAVED),
            Cell.of(printable(str(run["commit"])[:_COMMIT] or NONE), NOT_SAVED),
        ]
        for run in runs.to_dict("records")
    ]
    return HtmlTable(["sampler", "run", "seed", "step", "commit"], rows, 2, f"Numbers of all runs: {printable(file)}")
