"""One HTML page of curves of reward against compute: laws, forecasts and differences. Called by ``waker scaling``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from waker.analysis.scaling import FEWEST, WINDOW
from waker.analysis.scaling_curves import AXES, MEASURES
from waker.analysis.scaling_law import Curve, fit_one, fit_power, linearised
from waker.analysis.scaling_study import Group, Key, Scaling
from waker.errors import UserError
from waker.names import printable
from waker.report.blocks import Cell, HtmlTable, Picture, Section
from waker.report.page import fill, write_page
from waker.report.scaling_tables import Lines, compute, difference_rows, fit_rows, forecast_rows
from waker.report.style import GREY, colours, grid, legend, style, titled

_WIDTH = 4.7
_CURVES = (
    "Dots: training seeds; circles: their mean. Lines: the fitted law, full within the measurements, dashed up to "
    "twice their compute, and drawn pale where its asymptote is not identified. Dotted: random actions."
)
_FORECASTS = (
    "The law (full) and a power law (dotted) fitted to the first half of the compute, left of the vertical line, and "
    "the means that came after it."
)
_LINES = (
    "F = C_mid^B / ((A − R₀)/(R − R₀) − 1) against compute, both logarithmic, of curves whose asymptote is identified: "
    "by the law a straight line of slope B."
)


def write_scaling_page(found: Scaling, out: Path, notes: Sequence[str] = ()) -> None:
    """Write the page.

    Raises:
        UserError: it cannot be written, or ``out`` is a folder.
    """
    if not out.name or out.is_dir():
        raise UserError(f"the page must be a file, and {out} is a folder")
    content = []
    pairs = list(dict.fromkeys(found.fits[["domain", "axis"]].itertuples(index=False, name=None)))
    for domain, axis in pairs:
        content.append({"sections": _sections(found, str(domain), str(axis), len({d for d, _ in pairs}) > 1)})
    fits = found.fits
    names = named(found.curves)
    groups = fits.drop_duplicates(["domain", "sampler", "explorer"])
    runs = HtmlTable(
        ["curve", "points", "seeds"],
        [
            [Cell(printable(names[domain, sampler, explorer])), Cell(str(points)), Cell(str(seeds))]
            for domain, sampler, explorer, points, seeds in groups[
                ["domain", "sampler", "explorer", "points", "seeds"]
            ].itertuples(index=False, name=None)
        ],
    )
    html = fill(
        title=printable(f"{' and '.join(dict.fromkeys(map(str, fits['domain'])))}: reward against compute"),
        subtitle="Whether a curriculum moves what training comes to in the end, or how fast it comes there.",
        facts=[("curves", len(fits)), ("identified", int(fits["identified"].sum()))],
        domains=content,
        conclusions=[conclusion(found)],
        notes=[printable(note) for note in notes],
        runs_table=runs,
        configs=[],
        notes_title="What to know of these curves.",
        runs_lead="Which curves there are.",
        footer="Made by waker scaling from measurements through training; the same rows make the same page.",
    )
    write_page(html, out)


def named(keys: Iterable[Key]) -> dict[Group, str]:
    """What each group is called among others: its sampler, with its domain and explorer where these are several."""
    groups = list(dict.fromkeys(key[:3] for key in keys))
    domains, explorers = ({group[at] for group in groups} for at in (0, 2))
    found = {}
    for domain, sampler, explorer in groups:
        before, behind = f"{domain}, " * (len(domains) > 1), f" ({explorer})" * (len(explorers) > 1)
        found[domain, sampler, explorer] = f"{before}{sampler}{behind}"
    return found


def conclusion(found: Scaling) -> str:
    """What can be told, in a sentence."""
    identified = int(found.fits["identified"].sum())
    whole = f"The asymptote of {identified} of {len(found.fits)} curves is identified"
    if found.differences.empty:
        return f"{whole}."
    counts = found.differences["verdict"].value_counts()
    return f"{whole}; of {len(found.differences)} comparisons: {', '.join(f'{n} {v}' for v, n in counts.items())}."


def _sections(found: Scaling, domain: str, axis: str, named: bool) -> list[Section]:
    def of(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["domain"] == domain) & (table["axis"] == axis)]

    keys = [key for key in found.curves if key[0] == domain and key[4] == axis]
    prefix = f"{printable(domain)}, " if named else ""
    unit = AXES[axis]
    lead = (
        f"R₀ + (A − R₀)/(1 + (C_mid/C)^B) fitted to means over training seeds. An asymptote A is told where there are "
        f"at least {FEWEST} points and the last lies at {WINDOW:g} C_mid or beyond; intervals are the wider of "
        "resampled seeds and profile likelihood."
    )
    points = _points_of(found, keys)
    figures = [Picture.of(curves_figure(found, keys, unit), _CURVES, f"Curves, {unit}", rows=points)]
    if drawn := lines_figure(found, keys, unit):
        figures.append(Picture.of(drawn, _LINES, f"Linearised, {unit}"))
    anchor = f"{domain}-{axis}" if named else axis
    sections = [Section(f"{anchor}-fits", f"{prefix}against {unit}", lead, [_table(fit_rows(of(found.fits)))], figures)]
    judged = of(found.forecasts)
    judged = judged[judged["why"] == ""]
    if len(judged):
        known = set(judged[["sampler", "explorer", "measure"]].itertuples(index=False, name=None))
        here = [key for key in keys if key[1:4] in known]
        figure = Picture.of(forecasts_figure(found, here, unit), _FORECASTS, f"Forecasts, {unit}")
        lead = "How well the first half of the compute tells the second, and whether a power law does better."
        tables = [_table(forecast_rows(judged))]
        sections.append(Section(f"{anchor}-forecasts", f"{prefix}forecasts, {unit}", lead, tables, [figure]))
    if len(differences := of(found.differences)):
        base = printable(differences["baseline"].iloc[0])
        lead = f"Against {base}: asymptotes first; where they are alike, B and C_mid."
        tables = [_table(difference_rows(differences))]
        sections.append(Section(f"{anchor}-differences", f"{prefix}compared, {unit}", lead, tables))
    return sections


def _table(lines: Lines) -> HtmlTable:
    heads, rows = lines
    cells = [[_cell(head, cell) for head, cell in zip(heads, row, strict=True)] for row in rows]
    return HtmlTable(heads, cells, 2)


def _points_of(found: Scaling, keys: Sequence[Key]) -> pd.DataFrame:
    """What the curves are drawn of: one row a seed and point."""
    return pd.DataFrame(
        {"sampler": key[1], "explorer": key[2], "measure": key[3], "seed": seed, "compute": at, "share": share}
        for key in keys
        for seed, row in zip(found.curves[key].seeds, found.curves[key].rewards, strict=True)
        for at, share in zip(found.curves[key].compute, row, strict=True)
    )


def _cell(head: str, cell: str) -> Cell:
    return Cell(cell, path=True) if head == "why" else Cell.of(cell, "not identified, or of one seed")


def _panels(keys: Sequence[Key], draw: Callable[[Axes, Key, str], None], unit: str) -> Figure:
    """A panel for each measure, a colour for each domain, sampler and explorer."""
    measures = [m for m in MEASURES if any(key[3] == m for key in keys)]
    with style():
        names = named(keys)
        palette = colours(names.values())
        figure, panels = grid(len(measures), 2, _WIDTH, 3.1)
        for panel, measure in zip(panels, measures, strict=True):
            for key in keys:
                if key[3] == measure:
                    draw(panel, key, palette[names[key[:3]]])
            titled(panel, MEASURES[measure], _WIDTH)
            panel.set(xscale="log", xlabel=unit)
            panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            panel.xaxis.set_major_formatter(lambda value, _: compute(value))
            panel.xaxis.set_minor_formatter(NullFormatter())
        legend(figure, palette)
        return figure


def _points(panel: Axes, curve: Curve, colour: str) -> None:
    for row in curve.rewards:
        panel.scatter(curve.compute, row, s=5, color=colour, alpha=0.35, linewidths=0)
    panel.plot(curve.compute, curve.mean, "o", color=colour, ms=3.5, mfc="white")


def curves_figure(found: Scaling, keys: Sequence[Key], unit: str) -> Figure:
    """Measurements with the fitted laws."""

    def draw(panel: Axes, key: Key, colour: str) -> None:
        curve = found.curves[key]
        _points(panel, curve, colour)
        panel.axhline(curve.floor, color=GREY, lw=0.8, ls=":")
        if (fit := found.laws.get(key)) is not None:
            pale = 1.0 if fit.identified else 0.35
            inside = np.geomspace(curve.compute[0] / 2.0, curve.compute[-1], 100)
            beyond = np.geomspace(curve.compute[-1], 2.0 * curve.compute[-1], 30)
            panel.plot(inside, fit.law.at(inside), color=colour, lw=1.6, alpha=pale)
            panel.plot(beyond, fit.law.at(beyond), color=colour, lw=1.2, ls="--", alpha=pale)
        panel.set_ylabel("share of optimum")

    return _panels(keys, draw, unit)


def forecasts_figure(found: Scaling, keys: Sequence[Key], unit: str) -> Figure:
    """Both laws of the first half, and what came after."""

    def draw(panel: Axes, key: Key, colour: str) -> None:
        curve = found.curves[key]
        first = curve.until(curve.compute[-1] / 2.0)
        law, power = fit_one(first.compute, first.mean, curve.floor)[0], fit_power(first.compute, first.mean)[0]
        at = np.geomspace(curve.compute[0], curve.compute[-1], 100)
        _points(panel, curve, colour)
        panel.plot(at, law.at(at), color=colour, lw=1.5)
        panel.plot(at, power.at(at), color=colour, lw=1.2, ls=":")
        panel.axvline(first.compute[-1], color=GREY, lw=0.8)
        panel.set_ylabel("share of optimum")

    return _panels(keys, draw, unit)


def lines_figure(found: Scaling, keys: Sequence[Key], unit: str) -> Figure | None:
    """The linearised law of identified curves; None where there is none."""
    known = [key for key in keys if key in found.laws and found.laws[key].identified]
    if not known:
        return None

    def draw(panel: Axes, key: Key, colour: str) -> None:
        curve, law = found.curves[key], found.laws[key].law
        seen = linearised(curve.mean, law.floor, law.asymptote, law.mid, law.steepness)
        panel.plot(curve.compute, seen, "o", color=colour, ms=3)
        panel.plot(curve.compute, curve.compute**law.steepness, color=colour, lw=1.2)
        panel.set(yscale="log", ylabel="F")

    return _panels(known, draw, unit)
