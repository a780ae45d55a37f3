"""Maps over θ, for any family: lines for one parameter, heat maps for two, panels of heat maps for more.

Called by :mod:`waker.report.page`. Rows name θ by their ``theta_<name>`` columns; nothing here knows what a name means.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from waker.analysis.data import stands_for
from waker.report.style import HALF, colour_bar, colours, grid, in_lines, legend, number, style, text, tick, uncover

_MOST_VALUES = 50
"""A parameter with more values than this is cut into bins: its space is continuous, or as good as."""
_BINS = 10
_MOST_TICKS = 10
"""Values of one parameter up to which each is named at its axis."""
_MOST_PANELS = 12
_WHOLE, _SCREEN = 11.4, 7.5
"""Inches: the width of a page, and the height of a window."""
_CELLS, _SMALL_CELL = (0.62, 0.52, 0.43, 0.36), 0.13
"""Inches of a cell with its number written in it, the largest that fits; and of one without."""
_GAP = 0.15
_WRITTEN_CELLS = 64
"""Cells of a panel up to which each has its number written in it."""

HARD_COLOUR = "#e8590c"

MAP_COLOURS: Colormap = LinearSegmentedColormap.from_list(
    "waker", ["#f7f8fa", "#dbe4f0", "#a9c3e0", "#6a97c8", "#2f66a8", "#173a6a"]
)


@dataclass(frozen=True)
class Axes2D:
    """Which parameters go where: ``vertical`` × ``horizontal`` in a panel, one panel for each value of ``rest``."""

    horizontal: str
    vertical: str | None
    rest: tuple[str, ...]
    constant: tuple[str, ...]


def layout(rows: pd.DataFrame, names: list[str]) -> Axes2D:
    """The two parameters with most values span the maps (ties: the earlier ones), the others make panels."""
    counts = {n: rows[f"theta_{n}"].nunique() for n in names}
    varying = [n for n in names if counts[n] > 1]
    constant = tuple(n for n in names if counts[n] <= 1)
    if not varying:
        return Axes2D(names[0], None, (), tuple(names[1:]))
    ranked = sorted(varying, key=lambda n: -counts[n])  # stable: ties keep the family's order
    if len(ranked) == 1:
        return Axes2D(ranked[0], None, (), constant)
    pair = [n for n in varying if n in ranked[:2]]
    return Axes2D(pair[1], pair[0], tuple(n for n in varying if n not in pair), constant)


def theta_map(
    rows: pd.DataFrame,
    names: list[str],
    label: str,
    *,
    percent: bool = False,
    from_zero: bool = True,
    hard: pd.DataFrame | None = None,
) -> Figure:
    """One quantity over θ, for each group.

    Args:
        rows: columns theta_<name>…, group, value; rows of one θ and group (seeds) are averaged. Where there is a
            column ``thetas``, a row counts as so many θ.
        names: θ's names.
        label: of the quantity.
        percent: write values in per cent.
        from_zero: the scale begins at zero, else at the smallest value (where only the order matters).
        hard: θ that are outlined, a row each with columns theta_<name>. Of a parameter that is cut into bins none is.
    """
    rows = binned(rows.dropna(subset=["value"]), names)
    rows["weight"] = stands_for(rows)
    axes = layout(rows, names)
    marked = _places(hard, axes)
    with style():
        if axes.vertical is None:
            return _lines(rows, axes, label, percent, marked)
        return _heat_maps(rows, axes, label, percent, from_zero, marked)


def _places(thetas: pd.DataFrame | None, axes: Axes2D) -> set[tuple[float, ...]]:
    """Where θ stand in a figure: the values of the panel's parameters, then the vertical and the horizontal one."""
    if thetas is None or thetas.empty:
        return set()
    shown = [*axes.rest, *([] if axes.vertical is None else [axes.vertical]), axes.horizontal]
    columns = [f"theta_{name}" for name in shown]
    if not set(columns) <= set(thetas):  # of a run whose table names them otherwise
        return set()
    found = thetas[columns].astype(float).round(9)
    return set(found.itertuples(index=False, name=None))


def binned(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Rows with parameters of very many values replaced by the middles of :data:`_BINS` bins."""
    rows = rows.copy()
    for name in names:
        values = rows[f"theta_{name}"].astype(float)
        if values.nunique() > _MOST_VALUES:
            edges = np.linspace(values.min(), values.max(), _BINS + 1)
            at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
            values = pd.Series((edges[at] + edges[at + 1]) / 2, index=rows.index)
        rows[f"theta_{name}"] = values.round(9)
    return rows


def means(rows: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Mean of ``value`` in each group of ``keys``, weighted by ``weight``."""
    sums = rows.assign(product=rows["value"] * rows["weight"]).groupby(keys)[["product", "weight"]].sum()
    return (sums["product"] / sums["weight"]).rename("value")


def _lines(rows: pd.DataFrame, axes: Axes2D, label: str, percent: bool, marked: set[tuple[float, ...]]) -> Figure:
    palette = colours(rows["group"])
    figure, (panel,) = grid(1, 1, 5.6, 2.9)
    column = f"theta_{axes.horizontal}"
    for group, of_group in rows.groupby("group", sort=False):
        if "seed" in of_group and of_group["seed"].nunique() > 1:
            for _, one in of_group.groupby("seed"):
                thin = means(one, [column])
                panel.plot(thin.index, _scaled(thin, percent), color=palette[group], lw=0.7, alpha=0.45)
        mean = means(of_group, [column])
        panel.plot(mean.index, _scaled(mean, percent), color=palette[group], lw=2, marker="o", ms=4)
    for (x,) in marked & {(value,) for value in rows[column]}:
        panel.axvline(x, color=HARD_COLOUR, lw=0.9, ls=":", zorder=0)
    panel.set_xlabel(text(axes.horizontal))
    panel.set_ylabel(f"{label} (%)" if percent else label)
    panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
    values = np.unique(rows[column])
    if len(values) <= _MOST_TICKS:
        panel.set_xticks(values, [tick(value) for value in values])
    elif (values == values.round()).all():
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    uncover(figure)
    legend(figure, palette)
    return figure


def _scaled(values: pd.Series, percent: bool) -> np.ndarray:
    return values.to_numpy(float) * (100 if percent else 1)


@dataclass(frozen=True)
class _Placing:
    """How the panels of maps stand on a page; sizes are inches.

    Attributes:
        rows, columns: of panels.
        groups_across: a column is a group and a row a combination of the rest; else each group has rows of its own.
        width, height: of a panel.
        title: lines over a panel.
    """

    rows: int
    columns: int
    groups_across: bool
    width: float
    height: float
    title: int

    @property
    def size(self) -> tuple[float, float]:
        """Of the whole figure, with its labels and its bar of colours."""
        return self.columns * self.width + 1.5, self.rows * self.height + 0.6

    def at(self, group: int, combination: int, combinations: int) -> tuple[int, int]:
        """Row and column of a panel."""
        if self.groups_across:
            down, column = divmod(group, self.columns)
            return down * combinations + combination, column
        down, column = divmod(combination, self.columns)
        return group * -(-combinations // self.columns) + down, column


def _placing(groups: int, combinations: int, cells: tuple[int, int], title: int) -> _Placing:
    """The placing that is seen at once: beside another figure if that is not too tall, else over the page's width.

    Args:
        groups, combinations: their numbers.
        cells: of a panel, across and down.
        title: lines over a panel.
    """
    known = []
    written = cells[0] * cells[1] <= _WRITTEN_CELLS
    for widest in (HALF, _WHOLE):
        for cell in _CELLS if written else (_SMALL_CELL,):
            width, height = max(1.6, cell * cells[0] + _GAP), max(1.0, 0.72 * cell * cells[1]) + 0.2 + 0.15 * title
            fit = max(1, int((widest - 1.5) / width))
            across, beside = min(combinations, fit), min(groups, fit)
            ways = [_Placing(groups * -(-combinations // across), across, False, width, height, title)]
            down = -(-groups // beside) * combinations
            other = _Placing(down, beside, True, width, height, title)
            known += [other, *ways] if combinations == 1 else [*ways, other]
    tall = [placing for placing in known if placing.size[1] <= _SCREEN]
    return tall[0] if tall else min(known, key=lambda placing: placing.size[1])


def _heat_maps(
    rows: pd.DataFrame, axes: Axes2D, label: str, percent: bool, from_zero: bool, marked: set[tuple[float, ...]]
) -> Figure:
    assert axes.vertical is not None
    horizontal, vertical = f"theta_{axes.horizontal}", f"theta_{axes.vertical}"
    rest = [f"theta_{n}" for n in axes.rest]
    xs, ys = np.unique(rows[horizontal]), np.unique(rows[vertical])
    combinations = rows[rest].drop_duplicates().sort_values(rest) if rest else pd.DataFrame(index=[0])
    everything, combinations = len(combinations), combinations.head(_MOST_PANELS)
    groups = list(dict.fromkeys(rows["group"]))
    cells = means(rows, ["group", *rest, vertical, horizontal])
    low, high = float(cells.min()), float(cells.max())
    low = min(0.0, low) if from_zero else low
    placing = _placing(len(groups), len(combinations), (len(xs), len(ys)), 2 if rest else 1)
    figure = Figure(figsize=placing.size, layout="constrained")
    panels = figure.subplots(placing.rows, placing.columns, squeeze=False, sharex=True, sharey=True)
    for panel in panels.ravel():
        panel.set_visible(False)
    shown: list[Axes] = []
    for g, group in enumerate(groups):
        for i, (_, combination) in enumerate(combinations.iterrows()):
            panel = panels[placing.at(g, i, len(combinations))]
            panel.set_visible(True)
            chosen = rows[rows["group"] == group]
            for name in rest:
                chosen = chosen[chosen[name] == combination[name]]
            table = means(chosen, [vertical, horizontal]).unstack()
            values = table.reindex(index=ys, columns=xs).to_numpy(float)
            image = panel.imshow(values, origin="lower", aspect="auto", cmap=MAP_COLOURS, vmin=low, vmax=high)
            where = ", ".join(f"{text(n)} = {combination[f'theta_{n}']:g}" for n in axes.rest)
            title = (in_lines(line, placing.width) for line in (text(group), where) if line)
            panel.set_title("\n".join(title), fontsize=8.5)
            _ticks(panel, xs, ys)
            if len(xs) * len(ys) <= _WRITTEN_CELLS:
                _write(panel, values, low, high, percent, min(7.5, 19 * (placing.width - _GAP) / len(xs)))
            of_panel = {place[-2:] for place in marked if place[:-2] == tuple(combination[rest].astype(float))}
            _outline(panel, xs, ys, of_panel)
            shown.append(panel)
    _name_axes(panels, text(axes.horizontal), text(axes.vertical), everywhere=placing.size[1] > _SCREEN)
    form = FuncFormatter(lambda value, _: f"{100 * value:.3g} %") if percent else None
    colour_bar(figure, image, shown, label, form)
    if everything > len(combinations):
        of = ", ".join(text(name) for name in axes.rest)
        told = f"the first {len(combinations)} of {everything} values of {of}; the tables have all"
        figure.suptitle(textwrap.fill(told, int(11 * placing.size[0])), fontsize=8.5)
    return figure


def _name_axes(panels: np.ndarray, horizontal: str, vertical: str, everywhere: bool) -> None:
    """Names and numbers at the left of each row and below each column; below every panel of a figure that is tall."""
    for line in panels:
        line[0].set_ylabel(vertical)
    for column in panels.T:
        used = [panel for panel in column if panel.get_visible()]
        for panel in used if everywhere else used[-1:]:
            panel.set_xlabel(horizontal)
            panel.tick_params(labelbottom=True)


def _outline(panel: Axes, xs: np.ndarray, ys: np.ndarray, marked: set[tuple[float, ...]]) -> None:
    """A frame around each cell of the marked (y, x)."""
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            if (y, x) in marked:
                frame = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, ec=HARD_COLOUR, lw=1.1)
                panel.add_patch(frame)


def _ticks(panel: Axes, xs: np.ndarray, ys: np.ndarray) -> None:
    """Every value named where there are few, about six of them where there are many."""
    for axis, values in ((panel.xaxis, xs), (panel.yaxis, ys)):
        at = np.unique(np.linspace(0, len(values) - 1, min(len(values), 6)).round().astype(int))
        axis.set_ticks(at, [f"{values[i]:.3g}" for i in at])
    panel.grid(False)
    panel.tick_params(length=0)
    panel.set_facecolor("#ffffff")
    for spine in panel.spines.values():
        spine.set_visible(False)


def _write(panel: Axes, values: np.ndarray, low: float, high: float, percent: bool, size: float) -> None:
    """The number in each cell; a cell that the family does not have stays white with a dot."""
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            panel.text(column, row, "·", ha="center", va="center", fontsize=size, color="#b0b8c1")
            continue
        dark = high > low and (value - low) / (high - low) > 0.55
        written = f"{100 * value:.3g}" if percent else number(value)
        panel.text(column, row, written, ha="center", va="center", fontsize=size, color="white" if dark else "#1f2933")
