"""What curves of reward against compute say: asymptote and efficiency with intervals, forecasts, and differences.

Called by ``waker scaling`` and its page. The law is that of :mod:`waker.analysis.scaling_law`, fitted to the mean over
training seeds. Two intervals are made, and what is told is the wider end of both, for they see different things:

- *seeds*: whole curves of training seeds are resampled and fitted anew; the value ± Student's quantile times the spread
  of what they come to, of B and C_mid in logarithms. It sees what seeds differ in; where all of them
  stop before the bend, all of them are wrong together and it does not see that.
- *profile*: all values of a parameter at which the best fit of the others is not significantly worse, by the F
  distribution. It sees how far the points leave the parameter open; a spread of seeds that shifts a whole curve it
  takes for the curve's form.

Whatever was fitted, an asymptote is *identified* only where the window reaches :data:`WINDOW` times C_mid: before that
the bend is not behind one, and the fit may say anything (a curve of A 0.8 seen up to C_mid, with 18 points and noise of
0.03, has fitted asymptotes that spread by 0.2). It also takes :data:`FEWEST` points.

Shapes: S seeds, n points, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri

from waker.analysis.metrics import Floats, student_quantile
from waker.analysis.scaling_law import (
    BEYOND,
    STEEPNESS,
    Curve,
    Fits,
    Fixed,
    Law,
    checked,
    fit_many,
    fit_one,
    fit_power,
)
from waker.errors import UserError

WINDOW = 2.0
"""The last point must lie at this many times C_mid."""
FEWEST = 15
"""Points of a curve whose asymptote is told."""
LEAST = 4
"""Points of a curve that is fitted at all: one more than there are unknowns."""
ALIKE = 0.02
"""Asymptotes that lie no further apart are alike, however small the spread of seeds is (ScaleRL's error bar)."""
CONFIDENCE = 0.95
RESAMPLES = 200
_PROFILE = 60
"""Values of a parameter at which its profile is computed."""
_FINER = 16
"""Values between the last that the profile holds and the next."""
_SEED = 0  # of resamples: the same curves make the same intervals
NAMES = ("asymptote", "steepness", "mid")


class Estimate(NamedTuple):
    """A parameter: its value, the interval that is told, and the two that it is the hull of (NaN: there is none)."""

    value: float
    low: float
    high: float
    seeds: tuple[float, float]
    profile: tuple[float, float]


class Fit(NamedTuple):
    """The law of one curve.

    Attributes:
        law: fitted to the mean over seeds.
        asymptote, steepness, mid: with intervals.
        error: root mean square residual of the mean curve.
        window: the last point's compute over C_mid.
        unidentified: why the asymptote is not told, in words; empty where it is.
    """

    law: Law
    asymptote: Estimate
    steepness: Estimate
    mid: Estimate
    error: float
    window: float
    unidentified: tuple[str, ...]

    @property
    def identified(self) -> bool:
        """Whether the asymptote may be told."""
        return not self.unidentified


class Forecast(NamedTuple):
    """A law fitted to the first half of the compute, judged by the second.

    Attributes:
        until: the compute that was fitted to.
        fitted, judged: points.
        identified: whether the first half alone identifies its asymptote.
        error, largest: mean and largest |forecast − observed mean| of the judged points.
        allowed: twice the spread of seeds, averaged over them; NaN of one seed.
        within: share of judged points whose error is at most twice the spread of seeds there; NaN of one seed.
        inside: share of judged points whose observed mean lies in the forecast's interval by resampled seeds; NaN of
            one seed.
        power_error, power_largest: the same errors of a power law fitted to the same points.
    """

    until: float
    fitted: int
    judged: int
    identified: bool
    error: float
    largest: float
    allowed: float
    within: float
    inside: float
    power_error: float
    power_largest: float

    @property
    def better(self) -> str:
        """Which law has the smaller mean error."""
        return "sigmoid" if self.error < self.power_error else "power law"


class Difference(NamedTuple):
    """Two curves: the first minus the second in A, its steepness over the second's at a common A, likewise C_mid.

    Attributes:
        asymptote: with an interval by resampled seeds, paired.
        margin: |difference| of asymptotes that is told apart.
        common: the mean A that both were fitted anew with; NaN where asymptotes differ.
        steepness, mid: ratios at the common A, with intervals that hold both at once with 95 %; NaN where there is
            none.
        verdict: ``asymptote``, ``efficiency``, ``alike`` or ``cannot tell``.
        why: in words.
    """

    asymptote: tuple[float, float, float]
    margin: float
    common: float
    steepness: tuple[float, float, float]
    mid: tuple[float, float, float]
    verdict: str
    why: str


_NONE = (float("nan"),) * 3


def fit_curve(curve: Curve, resamples: int = RESAMPLES) -> Fit:
    """Fit the law, with intervals.

    Raises:
        UserError: the curve is none, or has fewer than :data:`LEAST` points; one line.
    """
    compute, _ = checked(curve.compute, curve.rewards, curve.floor)
    if len(compute) < LEAST:
        raise UserError(f"a curve needs {LEAST} points and has {len(compute)}")
    law, error = fit_one(compute, curve.mean, curve.floor)
    drawn = _resampled(curve, resamples)
    asymptote, steepness, mid = (
        _estimate(name, getattr(law, name), curve, law, error, None if drawn is None else getattr(drawn, name))
        for name in NAMES
    )
    residual, window = float(np.sqrt(error / len(compute))), float(compute[-1] / law.mid)
    return Fit(law, asymptote, steepness, mid, residual, window, _reasons(curve, law))


def _reasons(curve: Curve, law: Law) -> tuple[str, ...]:
    """Why the asymptote is not identified."""
    n, window = len(curve.compute), float(curve.compute[-1] / law.mid)
    found = [f"{n} points, fewer than {FEWEST}"] if n < FEWEST else []
    if window < WINDOW:
        found.append(f"the window ends at {window:.2g} of the fitted C_mid, before {WINDOW:g}")
    if law.mid <= curve.compute[0] * 1.001:
        found.append("the fitted C_mid lies at the first point or before it: nothing was seen of the rise")
    if law.asymptote - law.floor < 1e-9:
        found.append("nothing rises above the reward at zero compute")
    return tuple(found)


def _draws(seeds: int, resamples: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.random.default_rng(_SEED).integers(seeds, size=(resamples, seeds))


def _resampled(curve: Curve, resamples: int) -> Fits | None:
    """Fits of means over resampled seeds; None of one seed."""
    seeds = len(curve.rewards)
    if seeds < 2 or not resamples:
        return None
    means = curve.rewards[_draws(seeds, resamples)].mean(1)  # (R, n)
    return fit_many(curve.compute, means, curve.floor)


def _reach(drawn: Floats, seeds: int, tail: float = (1.0 - CONFIDENCE) / 2.0, least: float = 0.0) -> float:
    """Half of Student's interval from what resampled seeds came to, (R,).

    A bootstrap's spread of a mean of n is √((n − 1)/n) of its standard error (Hesterberg 2015).

    Args:
        least: of the quantile.
    """
    quantile = max(least, float(student_quantile(1.0 - tail, seeds - 1)))
    return quantile * float(np.sqrt(seeds / (seeds - 1))) * float(drawn.std())


def _seed_interval(name: str, value: float, curve: Curve, drawn: Floats) -> tuple[float, float]:
    """Student's interval from resampled seeds, of B and C_mid in logarithms; within the range that is fitted in."""
    low, high = _range(name, curve)
    if name == "asymptote":
        half = _reach(drawn, len(curve.rewards))
        ends = value - half, value + half
    else:
        half = _reach(np.log(drawn), len(curve.rewards))
        ends = float(value * np.exp(-half)), float(value * np.exp(half))
    return max(low, ends[0]), min(high, ends[1])


def _estimate(name: str, value: float, curve: Curve, law: Law, error: float, drawn: Floats | None) -> Estimate:
    by_seeds = (float("nan"),) * 2 if drawn is None else _seed_interval(name, value, curve, drawn)
    by_profile = profile_interval(curve, name, law, error)
    ends = [end for end in (*by_seeds, *by_profile, value) if not np.isnan(end)]
    return Estimate(value, min(ends), max(ends), by_seeds, by_profile)


def profile_interval(curve: Curve, name: str, law: Law, error: float) -> tuple[float, float]:
    """All values of a parameter that the mean curve does not speak against, as the F test with one degree has it.

    The variance of a point is that of the fit's residuals, or that of the mean over seeds where it is larger.

    Args:
        curve: n ≥ 4 points.
        name: one of :data:`NAMES`.
        law, error: the best fit of the mean, and its sum of squared residuals.

    Returns:
        Its ends; where nothing speaks against the end of the range that is looked through, that end.
    """
    n = len(curve.compute)
    variance, degrees = error / (n - 3), n - 3
    if len(curve.rewards) > 1:
        of_mean = float((curve.spread**2).mean()) / len(curve.rewards)
        if of_mean > variance:
            variance, degrees = of_mean, max(degrees, (len(curve.rewards) - 1) * n)
    allowed = error + variance * float(fdtri(1, degrees, CONFIDENCE)) + 1e-15
    low, high = _range(name, curve)
    if name == "asymptote":
        grid = np.linspace(low, high, _PROFILE)
    else:
        grid = np.geomspace(low, high, _PROFILE)
    grid = np.unique(np.append(grid, np.clip(getattr(law, name), low, high)))

    def errors_at(values: Floats) -> Floats:
        rows = np.repeat(curve.mean[None], len(values), 0)
        return fit_many(curve.compute, rows, curve.floor, Fixed(**{name: values})).error

    errors = errors_at(grid)
    inside = np.flatnonzero(errors <= allowed)
    if not len(inside):
        return float(getattr(law, name)), float(getattr(law, name))
    ends = []
    for at, step in ((inside[0], -1), (inside[-1], 1)):
        if not 0 <= at + step < len(grid):
            ends.append(float(grid[at]))
            continue
        finer = np.linspace(grid[at], grid[at + step], _FINER)
        ends.append(_crossing(finer, errors_at(finer), allowed, error))
    return ends[0], ends[1]


def _range(name: str, curve: Curve) -> tuple[float, float]:
    """Where a parameter is looked for, as in the fit."""
    if name == "asymptote":
        return curve.floor, 1.0
    return STEEPNESS if name == "steepness" else (float(curve.compute[0]), BEYOND * float(curve.compute[-1]))


def _crossing(grid: Floats, errors: Floats, allowed: float, least: float) -> float:
    """Where a profile crosses what is allowed: the first value beyond it, and the last before.

    Between the two the root of what the error rises above the least is a straight line: the error is nearly a parabola.

    Args:
        grid, errors: (n,), of which the first lies inside and the last does not.
    """
    beyond = int(np.flatnonzero(errors > allowed)[0])
    root = np.sqrt(np.clip(errors[[max(beyond - 1, 0), beyond]] - least, 0.0, None))
    share = (np.sqrt(allowed - least) - root[0]) / (root[1] - root[0])
    return float(grid[max(beyond - 1, 0)] + np.clip(share, 0.0, 1.0) * (grid[beyond] - grid[max(beyond - 1, 0)]))


def forecast(curve: Curve, resamples: int = RESAMPLES) -> Forecast:
    """Fit the points up to half of the compute, and judge the forecast of the others.

    Raises:
        UserError: fewer than :data:`LEAST` points in the first half; one line.
    """
    checked(curve.compute, curve.rewards, curve.floor)
    until = float(curve.compute[-1]) / 2.0
    first = curve.until(until)
    n = len(first.compute)
    if n < LEAST:
        raise UserError(f"a forecast needs {LEAST} points in the first half of the compute, and there are {n}")
    later, seen = curve.compute[n:], curve.mean[n:]
    law, _ = fit_one(first.compute, first.mean, curve.floor)
    power, _ = fit_power(first.compute, first.mean)
    off, power_off = np.abs(law.at(later) - seen), np.abs(power.at(later) - seen)
    allowed, within, inside = (float("nan"),) * 3
    if len(curve.rewards) > 1:
        spread = 2.0 * curve.spread[n:]
        allowed, within = float(spread.mean()), float((off <= spread).mean())
        inside = _inside(first, later, seen, curve.spread[n:], law, resamples)
    known = not _reasons(first, law)
    return Forecast(
        until,
        n,
        len(later),
        known,
        float(off.mean()),
        float(off.max()),
        allowed,
        within,
        inside,
        float(power_off.mean()),
        float(power_off.max()),
    )


def _inside(first: Curve, later: Floats, seen: Floats, spread: Floats, law: Law, resamples: int) -> float:
    """Share of later points whose observed mean lies in the interval of the forecast.

    The interval: the resampled forecasts' variance and that of the observed mean, by Student's quantile.
    """
    drawn, seeds = _resampled(first, resamples), len(first.rewards)
    if drawn is None:
        return float("nan")
    laws = zip(drawn.asymptote, drawn.steepness, drawn.mid, strict=True)
    forecasts = np.stack([Law(first.floor, *map(float, one)).at(later) for one in laws])  # (R, n')
    variance = forecasts.var(0) * seeds / (seeds - 1) + spread**2 / seeds
    reach = float(student_quantile((1.0 + CONFIDENCE) / 2.0, seeds - 1)) * np.sqrt(variance)
    return float((np.abs(law.at(later) - seen) <= reach).mean())


def compare_curves(one: Curve, other: Curve, resamples: int = RESAMPLES) -> Difference:
    """Two curves by their asymptotes first; where these are alike, by steepness and C_mid at a common asymptote.

    All is fitted to the means over the seeds that both have, which are resampled in pairs. Asymptotes differ where they
    lie further apart than :data:`ALIKE` and than Student's quantile (at least 2) times the spread of the resampled
    difference.

    Raises:
        UserError: a curve is none, or too short.
    """
    common = tuple(seed for seed in one.seeds if seed in other.seeds)
    if len(common) < 2:
        return Difference(_NONE, np.nan, np.nan, _NONE, _NONE, "cannot tell", "fewer than two seeds that both have")
    pair = [curve.of_seeds(common) for curve in (one, other)]
    fits = [fit_curve(curve, 0) for curve in pair]
    laws = [fit.law for fit in fits]
    gap = laws[0].asymptote - laws[1].asymptote
    if open_ := [why for fit in fits for why in fit.unidentified]:
        return Difference((gap, *_NONE[:2]), np.nan, np.nan, _NONE, _NONE, "cannot tell", f"not identified: {open_[0]}")
    drawn = [_resampled(curve, resamples) for curve in pair]
    assert drawn[0] is not None and drawn[1] is not None
    reach = _reach(drawn[0].asymptote - drawn[1].asymptote, len(common), least=2.0)
    margin = max(ALIKE, reach)
    of_asymptote = (gap, gap - reach, gap + reach)
    if abs(gap) > margin:
        why = f"asymptotes differ by {gap:+.3f}, more than {margin:.3f}"
        return Difference(of_asymptote, margin, np.nan, _NONE, _NONE, "asymptote", why)
    level = float(np.mean([law.asymptote for law in laws]))
    refitted = [fit_one(c.compute, c.mean, c.floor, Fixed(asymptote=level))[0] for c in pair]
    levels = (drawn[0].asymptote + drawn[1].asymptote) / 2.0
    again = [_resampled_at(curve, levels, resamples) for curve in pair]

    # Two parameters are looked at, either of which may tell curves apart: Bonferroni's share for each.
    both = (1.0 - CONFIDENCE) / 4.0

    def ratio(of: Callable[[Law], float], many: Callable[[Fits], Floats]) -> tuple[float, float, float]:
        value = float(np.log(of(refitted[0]) / of(refitted[1])))
        half = _reach(np.log(many(again[0]) / many(again[1])), len(common), both, least=2.0)
        return float(np.exp(value)), float(np.exp(value - half)), float(np.exp(value + half))

    steepness = ratio(lambda law: law.steepness, lambda fits: fits.steepness)
    mid = ratio(lambda law: law.mid, lambda fits: fits.mid)
    apart = [name for name, (_, low, high) in (("B", steepness), ("C_mid", mid)) if low > 1.0 or high < 1.0]
    verdict = "efficiency" if apart else "alike"
    why = f"asymptotes are alike (within {margin:.3f}), "
    why += f"but {' and '.join(apart)} differ at a common one" if apart else "and so are B and C_mid at a common one"
    return Difference(of_asymptote, margin, level, steepness, mid, verdict, why)


def _resampled_at(curve: Curve, levels: Floats, resamples: int) -> Fits:
    """Fits of means over resampled seeds with given asymptotes, (R,)."""
    means = curve.rewards[_draws(len(curve.rewards), resamples)].mean(1)
    return fit_many(curve.compute, means, curve.floor, Fixed(asymptote=levels))
