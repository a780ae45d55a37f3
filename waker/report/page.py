"""``waker report``: one self-contained HTML page from the rows of one or more runs.

Called by the command line. The page needs no network and no other file: figures are SVG or PNG inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from waker.analysis.data import RunData, by_domain, last_step, load_runs, settings_of
from waker.analysis.reasons import NONE, NOT_SAVED
from waker.analysis.variants import by_settings
from waker.errors import UserError
from waker.names import printable
from waker.report.blocks import Cell, HtmlTable
from waker.report.sections import compared_of, concluded_of, domain_sections
from waker.report.style import colours
from waker.storage.files import atomic

_HERE = Path(__file__).parent


def write_report(folders: Sequence[Path | str], out: Path | str, by: Sequence[str] = ()) -> Path:
    """Read the runs in or under ``folders`` and write the page.

    Args:
        folders: run folders, or folders above them.
        out: the HTML file; its folder is made if need be.
        by: settings whose values tell variants of a sampler apart.

    Returns:
        ``out`` as a path.

    Raises:
        UserError: a folder holds no run, no run has a setting of ``by``, or ``out`` cannot be written.
    """
    out = Path(out)
    write_page(render(by_settings(load_runs(folders), by)), out)
    return out


def write_page(html: str, out: Path) -> None:
    """Write a page; its folder is made if need be.

    Raises:
        UserError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic(out) as file:
            file.write(html.encode())
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from error


def render(runs: Sequence[RunData]) -> str:
    """The page of these runs as HTML."""
    domains = list(dict.fromkeys(r.domain for r in runs))
    parts = by_domain(runs)
    apart = list(dict.fromkeys(part.domain for part in parts))
    content, concluded = [], []
    for domain in apart:
        prefix, here = domain if len(apart) > 1 else "", [part for part in parts if part.domain == domain]
        compared = compared_of(here)
        content.append({"sections": domain_sections(here, prefix, compared)})
        concluded.append(told_of(concluded_of(here, compared), domain, apart))
    samplers = list(dict.fromkeys(r.sampler for r in runs))
    seeds = sorted({r.seed for r in runs})
    steps = [step for step in map(last_step, runs) if step is not None]
    versions: dict[str, str] = next((r.config["versions"] for r in runs if r.config.get("versions")), {})
    facts = [
        ("runs", len(runs)),
        ("samplers", printable(", ".join(samplers))),
        ("seeds", ", ".join(map(str, seeds))),
        ("explorer", ", ".join(dict.fromkeys(r.explorer for r in runs))),
        ("agent steps", span(steps) if steps else "–"),
        *([("preset", ", ".join(presets))] if (presets := _presets(runs)) else []),
        *((name, version) for name, version in versions.items() if name in ("waker", "torch")),
    ]
    return fill(
        title=printable(f"{' and '.join(domains)}: {' against '.join(samplers)}"),
        subtitle="Exploration without reward, policies trained only in imagination, and how robust they are over "
        "environment parameters θ.",
        facts=facts,
        domains=content,
        conclusions=concluded,
        notes=_notes(runs),
        runs_table=_runs_table(runs),
        configs=_configs(runs),
    )


def fill(
    *,
    notes_title: str = "Not everything was measured.",
    runs_lead: str = "What was run. Settings that are the same in all runs are listed once, below.",
    footer: str = "Made by waker report from the rows saved in the run folders; the same rows make the same page.",
    **content: Any,
) -> str:
    """A page as HTML.

    Args:
        notes_title: over the notes.
        runs_lead: under the heading of the runs.
        footer: what made the page, of what.
        content: title, subtitle, facts (pairs of name and value), domains (mappings with ``sections``), conclusions
            (sentences, some may be empty), notes, runs_table, configs (pairs of title and text).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    blocks: Any = environment.get_template("blocks.html").module
    drawing = {"draw_table": blocks.table, "draw_figure": blocks.figure}
    words = {"notes_title": notes_title, "runs_lead": runs_lead, "footer": footer}
    return environment.get_template("template.html").render(**content, **words, **drawing)


def told_of(conclusion: str, domain: str, domains: Sequence[str]) -> str:
    """A domain's conclusion, with its name where there are several; empty where it has none."""
    return f"{printable(domain)}: {conclusion}" if conclusion and len(domains) > 1 else conclusion


def span(steps: Sequence[int]) -> str:
    """``20,000``, or ``10,000 to 20,000`` where runs have other lengths (by more than the last episodes')."""
    few, many = (f"{step:,}" for step in (min(steps), max(steps)))
    return many if min(steps) >= 0.98 * max(steps) else f"{few} to {many}"


def _presets(runs: Sequence[RunData]) -> list[str]:
    """The presets that runs began with, of those that recorded it."""
    return [name for name in dict.fromkeys(str(settings_of(run).get("preset") or "") for run in runs) if name]


def _notes(runs: Sequence[RunData]) -> list[str]:
    """What is missing, the runs that lack the same named together."""
    lacking: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            lacking.setdefault(note, []).append(run.label)
    return [
        f"{note[0].upper()}{note[1:]}: {'all runs' if len(labels) == len(runs) > 1 else ', '.join(labels)}."
        for note, labels in lacking.items()
    ]


def _runs_table(runs: Sequence[RunData]) -> HtmlTable:
    palette = colours(r.sampler for r in runs)
    flats = [settings_of(r) for r in runs]
    keys = [k for k in dict.fromkeys(k for f in flats for k in f) if len({str(f.get(k)) for f in flats}) > 1]
    rows = []
    for run, flat in zip(runs, flats, strict=True):
        differing = "; ".join(f"{k} = {flat[k]}" for k in keys if k in flat)
        steps = last_step(run)
        updates = run.metrics["updates"].max() if "updates" in run.metrics else None
        rows.append(
            [
                Cell(printable(run.label), colour=palette[run.sampler]),
                Cell.of(NONE if steps is None else f"{steps:,}", "no row tells a step"),
                Cell.of(NONE if updates is None else f"{int(updates):,}", "no learning metrics"),
                Cell.of(f"{len(run.episodes):,}" if not run.episodes.empty else NONE, "no training episodes"),
                Cell.of((run.config.get("git") or NONE)[:10], NOT_SAVED),
                Cell(printable(differing or "none"), path=True),
            ]
        )
    return HtmlTable(["run", "steps", "updates", "episodes", "commit", "settings that differ"], rows)


def _configs(runs: Sequence[RunData]) -> list[tuple[str, str]]:
    """The settings all runs share, and the versions they ran with, as YAML."""
    flats = [settings_of(r) for r in runs]
    common = {k: v for k, v in flats[0].items() if all(f.get(k) == v for f in flats)} if flats else {}
    found = []
    if common:
        found.append(("Settings of all runs", yaml.safe_dump(common, sort_keys=False, allow_unicode=True)))
    versions = {r.label: {k: v for k, v in r.config.items() if k in ("git", "versions")} for r in runs}
    if any(versions.values()):
        found.append(("Commits and versions", yaml.safe_dump(versions, sort_keys=False, allow_unicode=True)))
    return found
