"""Tables from numbers: what ``waker compare``, ``waker quickstart`` and the report print.

:mod:`waker.analysis.numbers` makes one number for each (run, task, quantity); here they become means over the seeds
of each sampler with intervals, and text. Everything is a function of saved rows, so a table can always be made again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from waker.analysis.leading import leaders
from waker.analysis.metrics import student_interval
from waker.analysis.quantities import LIMITS, plain, quantity_of, shown_order
from waker.analysis.steps import GROUP
from waker.names import ALL

PLUG_IN = "(plug-in)"
"""Stands behind a worst case of which the pessimistic estimate alone is known."""
FEW, FEW_MARK = 5, "†"
"""Intervals of fewer seeds have the mark: so few cannot tell whether what Student's interval assumes holds."""
FEW_TOLD = f"{FEW_MARK} fewer than {FEW} seeds"


def summarise(numbers: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean over seeds with Student's interval, for each sampler, task and quantity.

    One seed has no interval over seeds; of a quantity with a bracket the interval over the run's episodes stands there.

    Args:
        numbers: from :func:`waker.analysis.numbers.compare_runs`.
        confidence: of the interval.

    Returns:
        Columns domain, sampler, explorer, task, quantity, mean, low, high (NaN where there is none), seeds, interval
        (over ``seeds`` or ``episodes``, or empty), leads (:func:`waker.analysis.leading.leaders`).
    """
    rows = []
    for key, group in numbers.groupby([*GROUP, "task"], sort=False):
        by_quantity = dict(iter(group.groupby("quantity", sort=False)["value"]))
        for quantity, column in by_quantity.items():
            if plain(quantity) in LIMITS:
                continue
            values = column.to_numpy(float)
            point, low, high = student_interval(values, confidence)
            over = "seeds" if len(values) > 1 else ""
            if len(values) == 1 and f"{quantity}_low" in by_quantity:
                low, high = (float(by_quantity[f"{quantity}_{limit}"].iloc[0]) for limit in ("low", "high"))
                over = "episodes"
            if (bounds := quantity_of(quantity).bounds) is not None:
                low, high = max(low, bounds[0]), min(high, bounds[1])
            over = "" if np.isnan(low) else over
            about = {"quantity": quantity, "mean": point, "low": low, "high": high, "seeds": len(values)}
            rows.append({**dict(zip([*GROUP, "task"], key, strict=True)), **about, "interval": over})
    columns = [*GROUP, "task", "quantity", "mean", "low", "high", "seeds", "interval"]
    summary = pd.DataFrame(rows, columns=columns)
    return summary.assign(leads=leaders(summary, numbers))


def seeds_told(summary: pd.DataFrame) -> str:
    """``3``, or ``dr 3, waker-m 2`` where groups have other numbers of seeds."""
    seeds = summary.groupby(GROUP, sort=False)["seeds"].max()
    if seeds.nunique() == 1:
        return str(seeds.iloc[0])
    several = summary["explorer"].nunique() > 1
    return ", ".join(f"{s} ({e}) {n}" if several else f"{s} {n}" for (_, s, e), n in seeds.items())


def quantities(summary: pd.DataFrame) -> list[str]:
    """The quantities to show, in the order of tables."""
    return shown_order(summary["quantity"].tolist())


def cell(quantity: str, mean: float, low: float = float("nan"), high: float = float("nan")) -> str:
    """``3.10 [2.95, 3.27]``; shares in per cent; no bracket without an interval, – for NaN."""
    if np.isnan(mean):
        return "–"
    sign = " %" if quantity_of(quantity).percent else ""
    limits = "" if np.isnan(low) else f" [{_digits(quantity, low, mean)}, {_digits(quantity, high, mean)}]"
    return f"{_digits(quantity, mean, mean)}{sign}{limits}"


def _digits(quantity: str, value: float, beside: float) -> str:
    """A number with the digits of the one it stands beside."""
    if quantity_of(quantity).percent:
        return _unsigned_zero(f"{100 * value:.1f}")
    if np.isnan(beside):
        beside = value
    digits = max(0, 2 - int(np.floor(np.log10(max(abs(beside), 1e-3))))) if beside else 2
    return _unsigned_zero(f"{value:.{min(digits, 4)}f}")


def _unsigned_zero(text: str) -> str:
    """What rounds to zero from below is zero."""
    return text.lstrip("-") if float(text) == 0 else text


def difference(quantity: str, mean: float, low: float = float("nan"), high: float = float("nan")) -> tuple[str, str]:
    """``+1.24`` and ``[+0.31, +2.17]`` with the digits that the wider of them is worth; differences of shares in
    percentage points (``+3.1 pp``). The interval is empty where there is none, the number – for NaN."""
    if np.isnan(mean):
        return "–", ""
    size = abs(mean) if np.isnan(low) else max(abs(mean), (high - low) / 2.0)
    told, ends = (_signed(quantity, mean, size), [_signed(quantity, end, size) for end in (low, high)])
    unit = " pp" if quantity_of(quantity).percent else ""
    return f"{told}{unit}", "" if np.isnan(low) else f"[{', '.join(ends)}]"


def _signed(quantity: str, value: float, beside: float) -> str:
    return _digits(quantity, value, beside) if value < 0 else f"+{_digits(quantity, value, beside)}"


def p_value(p: float) -> str:
    """``0.0123``, ``0.34``, ``<0.0001``; – for NaN."""
    if np.isnan(p):
        return "–"
    return "<0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


class Shown(NamedTuple):
    """What a table cell says.

    Attributes:
        value: the number, with what it is where it is not the usual one.
        interval: over seeds, ``[2.95, 3.27]``, or empty.
        bracket: ``3.1 … 8.0``, the optimistic and the pessimistic estimate, and of one seed the interval over its
            episodes; or empty.
    """

    value: str
    interval: str
    bracket: str


def shown_value(rows: pd.DataFrame, quantity: str) -> Shown | None:
    """One quantity of one sampler and task.

    Args:
        rows: a summary's, of this sampler and task.
        quantity: one of :func:`quantities`.

    Returns:
        None where there is no such row.
    """
    names = rows["quantity"].tolist()
    if quantity not in names:
        return None

    def of(column: str, name: str = quantity) -> Any:
        return rows[column].iat[names.index(name)] if name in names else np.nan

    mean, over = of("mean"), of("interval") if "interval" in rows else np.nan
    value, _, interval = cell(quantity, mean, of("low"), of("high")).partition(" [")
    interval = f"[{interval}{few(of('seeds')) if over == 'seeds' else ''}" if interval else ""
    if f"{quantity}_plug_in" not in names:
        return Shown(value, interval, "")
    worst, mild = (float(of("mean", f"{quantity}_{end}")) for end in ("plug_in", "split"))
    if np.isnan(mean) and not np.isnan(worst):
        return Shown(f"{cell(quantity, worst)} {PLUG_IN}", interval, "")
    ends = sorted((mild, worst), reverse=quantity_of(quantity).better != "less")  # the better end first
    bracket = "" if np.isnan(mild) else " … ".join(_digits(quantity, end, mean) for end in ends)
    if over == "episodes" and np.allclose((worst, mild, of("low"), of("high")), mean):
        return Shown(value, "", "")  # known over all episodes: nothing is left to bracket
    if over == "episodes":
        return Shown(value, "", f"{bracket} {interval}")
    return Shown(value, interval, "" if np.allclose((worst, mild), mean) else bracket)


def counted(number: int, name: str) -> str:
    """``1 pair``, ``36 pairs``."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def few(seeds: float) -> str:
    """The mark of intervals over fewer than :data:`FEW` seeds, else nothing."""
    return FEW_MARK if seeds < FEW else ""


def few_seeds(summary: pd.DataFrame) -> bool:
    """Whether an interval of the summary is over so few seeds that it has the mark."""
    return bool(((summary["interval"] == "seeds") & (summary["seeds"] < FEW)).any())


def best(summary: pd.DataFrame, quantity: str, task: str) -> tuple[str, ...] | None:
    """The (domain, sampler, explorer) that is shown to be better than every other, where there is one.

    See :func:`waker.analysis.leading.leaders`; None of tables that older versions wrote, which do not tell.
    """
    if "leads" not in summary:
        return None
    rows = summary[(summary["quantity"] == quantity) & (summary["task"] == task) & summary["leads"].astype(bool)]
    return tuple(rows[GROUP].iloc[0]) if len(rows) else None


def task_order(summary: pd.DataFrame) -> list[str]:
    """All tasks together first, then each in the rows' order."""
    tasks = list(dict.fromkeys(summary["task"]))
    return [ALL, *(t for t in tasks if t != ALL)] if ALL in tasks else tasks
