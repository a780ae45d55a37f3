"""All fits, forecasts and differences of a table of curves, as rows: what ``waker scaling`` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from waker.analysis.scaling import RESAMPLES, Fit, compare_curves, fit_curve, forecast
from waker.analysis.scaling_curves import AXES, MEASURES, curve_of
from waker.analysis.scaling_law import Curve
from waker.curriculum.labels import called
from waker.errors import UserError

Group = tuple[str, str, str]
"""Domain, sampler, explorer."""
Key = tuple[str, str, str, str, str]
"""A group, measure and axis: what one curve is of."""
MORE = "evaluate more often"
KEY = ("domain", "sampler", "explorer", "measure", "axis")
FITS = (
    *KEY,
    *("seeds", "points", "first", "last", "floor", "identified", "why"),
    *(f"{name}{end}" for name in ("asymptote", "steepness", "mid") for end in ("", "_low", "_high")),
    *("window", "error"),
)
FORECASTS = (
    *KEY,
    *("until", "fitted", "judged", "identified", "error", "largest", "allowed", "within", "inside"),
    *("power_error", "power_largest", "better", "why"),
)
DIFFERENCES = (
    *KEY,
    "baseline",
    *("asymptote", "asymptote_low", "asymptote_high", "margin", "common"),
    *("steepness", "steepness_low", "steepness_high", "mid", "mid_low", "mid_high", "verdict", "why"),
)


class Scaling(NamedTuple):
    """Tables with the columns :data:`FITS`, :data:`FORECASTS` and :data:`DIFFERENCES`; the curves and their fits by
    key; and what was left out, in lines."""

    fits: pd.DataFrame
    forecasts: pd.DataFrame
    differences: pd.DataFrame
    curves: Mapping[Key, Curve]
    laws: Mapping[Key, Fit]
    notes: tuple[str, ...]


def scaling_of(
    rows: pd.DataFrame,
    baseline: str = "dr",
    measures: Sequence[str] = tuple(MEASURES),
    axes: Sequence[str] = tuple(AXES),
    resamples: int = RESAMPLES,
) -> Scaling:
    """Fit every curve, judge its forecast, and compare it with the baseline's.

    Args:
        rows: with the columns :data:`waker.analysis.scaling_curves.CURVES`.
        baseline: a sampler; where no run has it nothing is compared.
        measures, axes: which curves.
        resamples: of seeds, for intervals.
    """
    curves, left = _curves(rows, measures, axes)
    notes = [f"{key[1]}: {line}" for key, lines in left.items() for line in lines]
    fits, forecasts, differences, laws = [], [], [], {}
    for key, curve in curves.items():
        about = dict(zip(KEY, key, strict=True))
        row, fit = _fitted(curve, resamples, left[key])
        fits.append({**about, **row})
        if fit is not None:
            laws[key] = fit
        forecasts.append({**about, **_forecast(curve, resamples)})
        names = {one[1] for one in curves if one[0] == key[0]}
        base = next(iter(called(baseline, sorted(names))), baseline)
        other = curves.get((key[0], base, *key[2:]))
        if other is not None and key[1] != base:
            differences.append({**about, "baseline": base, **_difference(curve, other, resamples)})
    return Scaling(
        pd.DataFrame(fits, columns=list(FITS)),
        pd.DataFrame(forecasts, columns=list(FORECASTS)),
        pd.DataFrame(differences, columns=list(DIFFERENCES)),
        curves,
        laws,
        tuple(dict.fromkeys(notes)),
    )


def _curves(
    rows: pd.DataFrame, measures: Sequence[str], axes: Sequence[str]
) -> tuple[dict[Key, Curve], dict[Key, list[str]]]:
    """The curves, and what was left out of each, in lines: also of those that are none."""
    curves: dict[Key, Curve] = {}
    left: dict[Key, list[str]] = {}
    for (domain, sampler, explorer), group in rows.groupby(["domain", "sampler", "explorer"], sort=False):
        for measure in measures:
            for axis in axes:
                key = str(domain), str(sampler), str(explorer), measure, axis
                found, left[key] = curve_of(group[group["measure"] == measure], axis)
                if found is not None:
                    curves[key] = found
    return curves, left


def _fitted(curve: Curve, resamples: int, left: Sequence[str]) -> tuple[dict[str, Any], Fit | None]:
    about: dict[str, Any] = {
        "seeds": len(curve.seeds),
        "points": len(curve.compute),
        "first": float(curve.compute[0]),
        "last": float(curve.compute[-1]),
        "floor": curve.floor,
    }
    try:
        fit = fit_curve(curve, resamples)
    except UserError as error:
        return {**about, "identified": False, "why": "; ".join((str(error), *(left or [MORE])))}, None
    for name in ("asymptote", "steepness", "mid"):
        of = getattr(fit, name)
        about |= {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}
    told = {"identified": fit.identified, "why": "; ".join((*fit.unidentified, *left))}
    return {**about, **told, "window": fit.window, "error": fit.error}, fit


def _forecast(curve: Curve, resamples: int) -> dict[str, Any]:
    try:
        found = forecast(curve, resamples)
    except UserError as error:
        return {"why": str(error)}
    return {**found._asdict(), "better": found.better, "why": ""}


def _difference(curve: Curve, other: Curve, resamples: int) -> dict[str, Any]:
    try:
        found = compare_curves(curve, other, resamples)
    except UserError as error:
        return {"verdict": "cannot tell", "why": str(error)}
    row: dict[str, Any] = {"margin": found.margin, "common": found.common, "verdict": found.verdict, "why": found.why}
    for name in ("asymptote", "steepness", "mid"):
        value, low, high = getattr(found, name)
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row
