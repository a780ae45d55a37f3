"""How figures look, and how they are put into a page. Called by every module of figures and by the page.

Figures are made without pyplot: no global state, no display, nothing to close.
"""

from __future__ import annotations

import base64
import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from waker.curriculum.labels import sampler_name
from waker.names import printable

INK, GREY, LIGHT = "#1f2933", "#7b8794", "#e4e7eb"
_KNOWN = {
    "dr": "#52606d",
    "waker-m": "#d9480f",
    "waker-r": "#1971c2",
    "gradual-expansion": "#2b8a3e",
    "hardest-oracle": "#9c36b5",
    "reweighting-oracle": "#e8a200",
    "error-oracle": "#c2255c",
    "regret-oracle": "#087f5b",
}
"""The same sampler has the same colour in every figure of every report."""
_OTHERS = ("#0b7285", "#a61e4d", "#5c940d", "#364fc7", "#862e9c", "#5f3dc4")

_RC: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.edgecolor": "#9aa5b1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # names are shown as they are: two dollars make no formula
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "svg.hashsalt": "waker",
}

HALF = 7.1
"""Inches of a figure that has room beside another one on a page."""
NARROW = 3.8
"""Inches of a figure that a phone shows without making it smaller."""
_TITLE, _LABEL = 36, 40
"""Characters of a title's line, and of an entry of a legend, in a figure of that width."""
_TITLE_CHARACTER = 0.1
"""Inches of a panel that a title's character takes, with what stands beside the panel."""
_EDGE = 1.8
"""Points by which a line is wider than the one of the same values that lies over it."""
_BAR = 2.6
"""Inches of a bar of colours."""
_LEGEND_HANDLE, _LEGEND_CHARACTER = 0.55, 0.066
"""Inches that an entry of a legend takes: its line with what is around it, and each character."""


def style() -> AbstractContextManager[None]:
    """The house style, inside a ``with`` block; matplotlib's own settings are left alone."""
    return mpl.rc_context(_RC)


def colours(groups: Iterable[str]) -> dict[str, str]:
    """A colour for each group; a sampler's colour does not depend on what else is shown.

    A variant of a sampler has its colour, but for where both are shown.
    """
    unique = sorted(dict.fromkeys(groups), key=lambda g: g not in _KNOWN)  # published ones choose first
    found: dict[str, str] = {}
    for group in unique:
        if (colour := _KNOWN.get(sampler_name(group))) and colour not in found.values():
            found[group] = colour
    others = [g for g in dict.fromkeys(unique) if g not in found]
    return found | {g: _OTHERS[i % len(_OTHERS)] for i, g in enumerate(others)}


def grid(panels: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``panels`` axes in rows of at most ``columns``; a panel is width × height inches."""
    columns = max(1, min(columns, panels))
    rows = -(-panels // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[panels:]:
        unused.set_axis_off()
    for panel in axes[:panels]:
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: tick(value)))
    return figure, list(axes[:panels])


def titled(panel: Axes, name: str, width: float) -> None:
    """Give a panel of so many inches a title, in lines where it is longer than the panel."""
    panel.set_title(in_lines(name, width))


def in_lines(name: str, width: float) -> str:
    """A title in at most three lines that fit into so many inches, and into a phone; an arrow keeps its word."""
    fit = min(_TITLE, max(12, int(width / _TITLE_CHARACTER)))
    whole = printable(name, 3 * fit).replace("← ", "←\u00a0").replace(" →", "\u00a0→")
    return textwrap.fill(whole, fit, max_lines=3, placeholder=" …").replace("\u00a0", " ")


def tick(value: float) -> str:
    """A number at an axis, whole by itself: 1,201, 0.0005, 5e−7. No exponent stands apart at the axis' end."""
    return f"{value:,.6g}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def uncover(figure: Figure) -> None:
    """Draw lines wider that others of the same values would hide, so that the edges of all are seen."""
    for panel in figure.axes:
        lines = [line for line in panel.lines if np.size(line.get_xdata())]
        span = np.ptp(panel.get_ylim())
        for at, line in enumerate(lines):
            behind = {str(other.get_color()) for other in lines[at + 1 :] if _hides(other, line, 0.004 * span)}
            line.set_linewidth(line.get_linewidth() + _EDGE * len(behind - {str(line.get_color())}))
            line.set_markersize(line.get_markersize() + 1.4 * _EDGE * len(behind - {str(line.get_color())}))


def _hides(over: Line2D, line: Line2D, near: float) -> bool:
    """Whether nearly all of a line's points lie behind those of another."""
    (x, y), (other_x, other_y) = (np.asarray(one.get_xydata(), float).T for one in (line, over))
    if len(x) != len(other_x) or not np.array_equal(x, other_x):
        return False
    return bool(np.mean(np.abs(y - other_y) <= near) >= 0.9)


def legend(figure: Figure, entries: dict[str, str], **extra: Any) -> None:
    """A legend of colours above all panels; ``extra`` holds further (handle, label) pairs."""
    handles: list[Any] = [Line2D([], [], color=colour, lw=2.4, label=text(name)) for name, colour in entries.items()]
    handles += [Line2D([], [], color=GREY, label=label, **look) for label, look in extra.items()]
    # Labels apart from the handles: a handle whose own label begins with "_" would be left out.
    labels = [label if not (label := str(handle.get_label())).startswith("_") else f" {label}" for handle in handles]
    _legend_of(figure, handles, labels)


def _legend_of(figure: Figure, handles: list[Any], labels: list[str]) -> None:
    """The legend with as many entries a line as fit."""
    widest = _LEGEND_HANDLE + _LEGEND_CHARACTER * max(map(len, labels))
    fit = max(1, int(figure.get_figwidth() / widest))
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(handles), fit, 6), borderpad=0.2)


def stacked(figure: Figure) -> bool:
    """Put the panels of a figure that is wider than a phone below each other, each with its labels.

    Returns:
        Whether it was wider: a narrow one is left as it is.
    """
    if figure.get_figwidth() <= NARROW:
        return False
    placed = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    panels = [axes for axes in placed if axes.get_visible() and axes.axison]
    if not panels:
        return False
    place = panels[0].get_gridspec()
    height = figure.get_figheight() / (place.nrows if place is not None else 1)
    for axes in placed:
        if axes not in panels:
            figure.delaxes(axes)
    figure.set_size_inches(NARROW, max(height, 1.6) * len(panels))
    below = figure.add_gridspec(len(panels), 1)
    for at, panel in enumerate(panels):
        panel.set_subplotspec(below[at])
        panel.tick_params(labelleft=True, labelbottom=True)
        lines = panel.get_title(loc="left").splitlines()
        panel.set_title("\n".join(textwrap.fill(line, _TITLE, max_lines=2) for line in lines), loc="left")
    for bar in {id(one): one for panel in panels for image in panel.images if (one := image.colorbar)}.values():
        image, form, label = bar.mappable, bar.formatter, bar.ax.get_ylabel()
        bar.remove()
        colour_bar(figure, image, panels, label, form, above=True)
    for name in ("xlabel", "ylabel"):
        written = {label for panel in panels if (label := getattr(panel, f"get_{name}")())}
        for panel in panels if len(written) == 1 else ():
            getattr(panel, f"set_{name}")(next(iter(written)))
    for old in list(figure.legends):
        handles, labels = old.legend_handles, [_cut(one.get_text()) for one in old.get_texts()]
        old.remove()
        _legend_of(figure, handles, labels)
    return True


def colour_bar(
    figure: Figure, image: ScalarMappable, panels: list[Axes], label: str, form: Any = None, above: bool = False
) -> None:
    """A bar of an image's colours beside the top of the panels (or above them), no longer than :data:`_BAR` inches.

    Args:
        form: a formatter of its numbers; None = :func:`tick`.
    """
    whole = figure.get_figwidth() if above else figure.get_figheight()
    length = min(_BAR, 0.9 * whole)
    place: dict[str, Any] = {"location": "top", "anchor": (0.0, 1.0)} if above else {"anchor": (0.0, 1.0)}
    bar = figure.colorbar(
        image,
        ax=panels,
        fraction=0.06,
        pad=0.15 / whole if above else 0.02,
        shrink=length / whole,
        aspect=length / 0.14,
        format=form or mpl.ticker.FuncFormatter(lambda value, _: tick(value)),
        **place,
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.set_label(label, fontsize=8.5)


def _cut(label: str) -> str:
    """A name that leaves room for panels on a phone."""
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"


def steps_axis(axes: Axes, label: str = "agent steps") -> None:
    """An x axis in thousands of steps where there are thousands."""
    axes.set_xlabel(label)
    first, last = axes.dataLim.intervalx
    if first == last:
        one_step(axes, first)
        return
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda x, _: f"{x / 1000:g} k" if x >= 1000 else f"{x:g}"))


def one_step(axes: Axes, step: float) -> None:
    """An x axis of one measurement: its step alone, whole, in the middle."""
    axes.set_xlim(step - 1.0, step + 1.0)
    axes.set_xticks([step], [tick(step)])


def apart(groups: Iterable[str]) -> dict[str, float]:
    """By how much the dots of each group move from the step of :func:`one_step`, so that none covers another."""
    names = list(dict.fromkeys(groups))
    return {name: 0.22 * (at - (len(names) - 1) / 2) for at, name in enumerate(names)}


def text(name: str) -> str:
    """A name in a figure: one short line of characters that can be drawn."""
    return printable(name, 48)


def number(value: float) -> str:
    """A few significant digits, as short as can be: 0.07, 1.3, 12, 1.2e-5."""
    if not np.isfinite(value):
        return ""
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def data_uri(figure: Figure, kind: str = "svg") -> str:
    """The figure as a ``data:`` URI: no page needs another file. Photographs (``png``) are drawn at twice the size."""
    buffer = io.BytesIO()
    with style(), _drawn_once(figure), warnings.catch_warnings():
        # Names may be in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if kind == "svg":
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        else:
            figure.savefig(buffer, format="png", dpi=200)
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@contextmanager
def _drawn_once(figure: Figure) -> Iterator[None]:
    """``savefig`` lays a figure out by drawing it whole into nothing; inside, it is laid out and nothing more.

    Its second drawing, with the layout that was found, is as before: so is the file.
    """
    draw = figure.draw

    def laid_out_or_drawn(renderer: RendererBase) -> None:
        engine = figure.get_layout_engine()  # gone in the second drawing
        if isinstance(engine, ConstrainedLayoutEngine):
            engine.execute(figure)
        else:
            draw(renderer)

    figure.draw = laid_out_or_drawn  # type: ignore[method-assign]
    try:
        yield
    finally:
        del figure.draw
