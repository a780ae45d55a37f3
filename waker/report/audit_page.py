"""One HTML page of an audit of a learned reward, and its rows as CSV beside it. Called by ``waker audit``.

The page needs no network and no other file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from waker.analysis.numbers_file import write_table
from waker.analysis.reasons import NONE
from waker.errors import UserError
from waker.names import printable
from waker.preferences.imprint import POOLED, WITHIN
from waker.preferences.resistance import CLASSES
from waker.report.audit_figures import classes_figure, edits_figure, imprint_figure
from waker.report.blocks import Cell, HtmlTable, Picture, Section, Source
from waker.report.page import fill, write_page
from waker.storage.files import saving
from waker.training.audit_results import SHARE, SHIFT, Audit

IMPRINT_LEAD = (
    "What the reward pays for having a feature, all others equal, in standard deviations of the reward over the steps "
    "of the replay. A head that pays for other things besides the task has less of its deviation left for the task, so "
    "a smaller imprint than the truth's is no mistake by itself. The differences are of both rewards in another unit, "
    "in which the best states pay 1 more than the median one: what the head pays for a feature beyond the task, if "
    "both are of one size there. A preference tells no size, so no number here says it without that."
)
POOLED_CAPTION = (
    "Pooled: all steps are compared with each other. In brackets the 95 % interval, its errors robust to whatever "
    "steps of a room share. p is Bonferroni's over the features, of the head's difference from the true reward, or of "
    "the head's imprint where the truth is not known."
)
WITHIN_CAPTION = (
    "Within: steps are compared with others of their room alone (fixed effects), so that nothing a room has explains "
    "them. What is the same all over a room has no such imprint."
)
RESISTANCE_LEAD = (
    "Answers with a choice, by whether the head agreed with them before it had learned and agrees now. Resistance is "
    "what it still contradicts: resisted and reversed. In brackets Wilson's 95 % interval."
)
ROBUSTNESS_LEAD = (
    "New pairs whose right answer the head gives, seen after an edit that changes nothing of the true reward. Each "
    "that turns wrong shows that the head looks at what was edited."
)
ROBUSTNESS_CAPTION = (
    "Redrawn: with no edit, by latents drawn from the posterior in place of its modes. Log odds: of turning wrong by "
    "the edit against that (half a pair is added where a count is 0). Chosen, rejected: that segment alone is edited."
)
THETA_LEAD = (
    "What share of the optimum the policy loses, by features of θ, all others equal: per unit of the feature, over "
    "the evaluated episodes of domain randomisation. Errors are robust to what episodes of one θ share."
)
SHIFT_LEAD = (
    "The angle by which (reward of the chosen, reward of the rejected segment) turned while the head learned, below 0 "
    "towards the chosen one, by the features of both."
)


def write_audit(audit: Audit, out: Path) -> dict[str, Path]:
    """Write the page and the rows beside it.

    Args:
        out: the HTML file; its folder is made if need be.

    Returns:
        ``page`` and each table that has rows → its file.

    Raises:
        SaveFailed, UserError: a file cannot be written, or ``out`` is a folder.
    """
    if not out.name or out.is_dir():
        raise UserError(f"the page must be a file, and {out} is a folder")
    files: dict[str, Path] = {}
    with saving(f"the rows of {out}"):
        for name, rows in audit.tables.items():
            if not rows.empty:
                files[name] = out.with_name(f"{out.stem}-{name}.csv")
                write_table(files[name], rows)
    write_page(render(audit, files), out)
    return {"page": out, **files}


def render(audit: Audit, files: Mapping[str, Path]) -> str:
    """The page as HTML; ``files`` have the rows of its tables."""
    about = audit.about
    makers = (_imprint, _resistance, _robustness, _theta)
    sections = [section for make in makers if (section := make(audit, _sources(audit, files))) is not None]
    whose = f"the head for {about['head']}"
    facts = [
        ("head", printable(about["head"])),
        ("taught by", about["taught by"]),
        ("true task", printable(about["task"]) or "not known"),
        *((name, _thousands(about[name])) for name in ("steps", "rooms", "episodes") if name in about),
        *((name, _thousands(about[name])) for name in ("answers", "new pairs") if name in about),
    ]
    row = [
        Cell(printable(about["run"]), path=True),
        Cell(_thousands(about["step"])),
        Cell(printable(about["features"])),
    ]
    return fill(
        title=printable(f"Audit of {whose}"),
        subtitle="What a learned reward pays for, which answers it contradicts, which edits mislead it, and where its "
        "policy fails.",
        facts=facts,
        domains=[{"sections": sections}],
        conclusions=[audit.constant.told] if audit.constant else ["The head pays the same in every step."],
        notes=[printable(f"{note[0].upper()}{note[1:]}.") for note in audit.notes],
        runs_table=HtmlTable(["run", "agent steps", "features"], [row]),
        configs=[],
        notes_title="Not everything could be looked at.",
        runs_lead="Which run was audited, and by which features.",
        footer="Made by waker audit; the rows of every table lie beside the page.",
    )


def _sources(audit: Audit, files: Mapping[str, Path]) -> dict[str, Source]:
    return {
        name: Source(f"{len(audit.tables[name])} rows", path.name) for name, path in files.items() if name != "page"
    }


def _thousands(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _number(row: pd.Series | None, digits: int = 2) -> Cell:
    """An estimate with its interval; else the reason."""
    if row is None:
        return Cell.of(NONE, "the reward is the same everywhere, or not known")
    if pd.isna(row["estimate"]):
        return Cell.of(NONE, printable(str(row["why"])))
    if pd.isna(row["low"]):
        return Cell(f"{row['estimate']:+.{digits}f}", printable(str(row["why"])))
    return Cell(f"{row['estimate']:+.{digits}f}", f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]")


def _p(value: float) -> str:
    return NONE if pd.isna(value) else "< .001" if value < 0.001 else f"{value:.3f}"


def _one(rows: pd.DataFrame, reward: str, feature: str) -> pd.Series | None:
    found = rows[(rows["reward"] == reward) & (rows["feature"] == feature)]
    return found.iloc[0] if len(found) else None


def _imprint_table(rows: pd.DataFrame, effects: str, caption: str, source: Source) -> HtmlTable:
    of = rows[rows["effects"] == effects]
    shown = [r for r in dict.fromkeys(of["reward"]) if r != "head − before"]
    judged = "head − true" if "head − true" in shown else "head"
    lines = []
    for feature in dict.fromkeys(of["feature"]):
        tag = str(of.loc[of["feature"] == feature, "tag"].iloc[0])
        tested = _one(of, judged, feature)
        p = NONE if tested is None else _p(float(tested["p_adjusted"]))
        cells = [_number(_one(of, reward, feature)) for reward in shown]
        told = Cell.of(p, "no estimate")
        lines.append([Cell(printable(feature)), Cell(tag or "·"), *cells, told])
    return HtmlTable(["feature", "kind", *shown, f"p ({judged})"], lines, 2, caption, source=source)


def _imprint(audit: Audit, sources: Mapping[str, Source]) -> Section | None:
    rows = audit.imprint[audit.imprint["reward"] != SHIFT]
    shift = audit.imprint[audit.imprint["reward"] == SHIFT]
    if rows.empty:
        return None
    tables = [
        _imprint_table(rows, effects, caption, sources["imprint"])
        for effects, caption in ((POOLED, POOLED_CAPTION), (WITHIN, WITHIN_CAPTION))
    ]
    caption = "Dots are imprints, lines their 95 % intervals; differences, in their own unit, are in the table alone."
    figure = Picture.of(imprint_figure(rows), caption, "Imprint of each feature", rows=rows)
    lines = [
        [Cell(printable(row["feature"])), _number(row), Cell(_p(row["p_adjusted"]))] for _, row in shift.iterrows()
    ]
    more = [HtmlTable(["feature", "radians", "p"], lines, 1, SHIFT_LEAD, source=sources["imprint"])] if lines else []
    title = "Feature imprint"
    return Section(
        "imprint", title, IMPRINT_LEAD, tables, [figure], more="Reward shift while it learned", more_tables=more
    )


def _share(row: pd.Series, name: str = "share") -> Cell:
    if pd.isna(row[name]):
        return Cell.of(NONE, "no pair")
    return Cell(f"{100 * row[name]:.1f} %", f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]")


def _resistance(audit: Audit, sources: Mapping[str, Source]) -> Section | None:
    rows = audit.resistance
    if rows.empty:
        return None
    lines = []
    kinds = list(dict.fromkeys(rows["pairs"]))
    for name in dict.fromkeys(rows["class"]):
        of = [rows[(rows["class"] == name) & (rows["pairs"] == kind)].iloc[0] for kind in kinds]
        cells = [cell for row in of for cell in (Cell(str(row["hits"])), _share(row))]
        lines.append([Cell(name), *cells])
    heads = ["class", *(head for kind in kinds for head in (kind, "share"))]
    caption = (
        "Before: at the head's own beginning, drawn again, or by the head that --before names. Answers are those that "
        "it was taught by; new pairs are labelled by the true rewards, and it has not learned from them."
    )
    figure = Picture.of(
        classes_figure(rows[rows["class"].isin(CLASSES)]), "The four classes.", "Alignment resistance", rows=rows
    )
    table = HtmlTable(heads, lines, 1, caption, source=sources["resistance"])
    return Section("resistance", "Alignment resistance", RESISTANCE_LEAD, [table], [figure])


def _robustness(audit: Audit, sources: Mapping[str, Source]) -> Section | None:
    rows = audit.robustness
    if rows.empty:
        return None
    lines = []
    for _, row in rows.iterrows():
        odds = Cell.of(NONE, "no right pair was edited")
        if not pd.isna(row["log_odds"]):
            odds = Cell(f"{row['log_odds']:+.2f}", f"[{row['log_odds_low']:+.2f}, {row['log_odds_high']:+.2f}]")
        redrawn = NONE if pd.isna(row["redrawn"]) else f"{100 * row['redrawn']:.1f} %"
        related = NONE if pd.isna(row["correlation"]) else f"{row['correlation']:.3f}"
        lines.append(
            [
                Cell(printable(row["edit"])),
                Cell(row["side"]),
                Cell(str(row["right"])),
                _share(row),
                Cell.of(redrawn, "no right pair was edited"),
                odds,
                Cell.of(related, "too few pairs"),
            ]
        )
    heads = ["edit", "in", "right pairs", "turn wrong", "redrawn", "log odds", "correlation"]
    table = HtmlTable(heads, lines, 2, ROBUSTNESS_CAPTION, source=sources["robustness"])
    caption = (
        "Share of the right pairs that turn wrong when both segments are edited, with Wilson's 95 % interval; crosses: "
        "with no edit, by latents drawn anew."
    )
    figure = Picture.of(edits_figure(rows), caption, "Right pairs that turn wrong", rows=rows)
    return Section("robustness", "Robustness under edits", ROBUSTNESS_LEAD, [table], [figure])


def _theta(audit: Audit, sources: Mapping[str, Source]) -> Section | None:
    rows = audit.theta
    if rows.empty:
        return None
    lines = [
        [
            Cell(printable(row["feature"])),
            _number(row, 3),
            Cell(f"{row['estimate'] * row['spread']:+.3f}"),
            Cell(_p(row["p_adjusted"])),
        ]
        for _, row in rows.iterrows()
    ]
    caption = f"{rows['n'].iloc[0]} episodes of {rows['groups'].iloc[0]} θ. p is Bonferroni's over the features."
    heads = ["feature of θ", SHARE, "per standard deviation", "p"]
    table = HtmlTable(heads, lines, 1, caption, source=sources["theta"])
    return Section("theta", "What makes the policy fail", THETA_LEAD, [table])
