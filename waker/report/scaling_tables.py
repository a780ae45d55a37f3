"""Fits, forecasts and differences of curves as lines of text, for a terminal and for the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from waker.analysis.reasons import NONE
from waker.analysis.scaling_curves import MEASURES
from waker.names import printable

Lines = tuple[list[str], list[list[str]]]
"""Heads, and one line of cells a row."""


def number(value: Any, digits: int = 3) -> str:
    """``0.812``; large ones as ``1.2e+12``; – for none."""
    if pd.isna(value):
        return NONE
    return f"{value:.3g}" if abs(value) >= 1000 or digits == 0 else f"{value:.{digits}f}"


def interval(row: Any, name: str, digits: int = 3, show: Callable[[Any], str] | None = None) -> str:
    """``0.812 [0.780, 0.851]``; without an interval the number alone."""
    told = show or (lambda value: number(value, digits))
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if pd.isna(value):
        return NONE
    return told(value) if pd.isna(low) or pd.isna(high) else f"{told(value)} [{told(low)}, {told(high)}]"


def compute(value: Any) -> str:
    """``20,000`` steps, ``1.4e+12`` FLOP."""
    if pd.isna(value):
        return NONE
    return f"{value:,.0f}" if value < 1e6 else f"{value:.3g}"


def _group(row: Any, several: bool) -> str:
    return printable(f"{row['sampler']} ({row['explorer']})" if several else str(row["sampler"]))


def _rows(table: pd.DataFrame) -> tuple[list[dict[str, Any]], bool]:
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    return rows, table["explorer"].nunique() > 1


def fit_rows(fits: pd.DataFrame) -> Lines:
    """One line a curve; an asymptote that is not identified is not told."""
    rows, several = _rows(fits)
    lines = []
    for row in rows:
        told = [interval(row, "asymptote"), interval(row, "steepness", 2), interval(row, "mid", show=compute)]
        if not row["identified"]:
            told = ["not identified", NONE, NONE]
        why = printable(row["why"]) if row["why"] else ""
        about = [_group(row, several), MEASURES[row["measure"]], f"{row['points']} × {row['seeds']}"]
        lines.append([*about, *told, number(row.get("error")), why])
    return ["sampler", "share of optimum", "points × seeds", "A", "B", "C_mid", "residual", "why"], lines


def forecast_rows(forecasts: pd.DataFrame) -> Lines:
    """One line a curve whose first half could be fitted."""
    rows, several = _rows(forecasts)
    lines = []
    for row in rows:
        if row["why"]:
            continue
        errors = [number(row["error"]), number(row["largest"]), number(row["allowed"])]
        shares = [f"{row['fitted']:.0f} → {row['judged']:.0f}", *errors, number(row["inside"], 2)]
        power = [number(row["power_error"]), str(row["better"])]
        known = "yes" if row["identified"] else "no"
        lines.append([_group(row, several), MEASURES[row["measure"]], *shares, *power, known])
    heads = ["sampler", "share of optimum", "fitted → judged", "mean error", "largest", "2 × spread of seeds"]
    return [*heads, "within its interval", "power law's error", "better", "identified"], lines


def difference_rows(differences: pd.DataFrame) -> Lines:
    """One line a comparison."""
    rows, several = _rows(differences)
    lines = []
    for row in rows:
        told = [interval(row, "asymptote"), interval(row, "steepness", 2), interval(row, "mid", 2)]
        if row["verdict"] == "cannot tell":
            told = [NONE] * 3
        lines.append(
            [_group(row, several), MEASURES[row["measure"]], *told, str(row["verdict"]), printable(row["why"])]
        )
    return ["sampler", "share of optimum", "A − baseline's", "B ratio", "C_mid ratio", "verdict", "why"], lines
