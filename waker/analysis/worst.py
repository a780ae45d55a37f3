"""The worst of several conditions whose means are known from few noisy episodes. Pure numpy.

A condition ("cell") is a θ, or a pair of θ and task. Three things called "the worst" are different estimands:

- **worst θ**: max over cells of the expected value, μ* = max_c μ_c (:func:`worst_of`);
- **CVaR over θ**: the mean of the worst α of the θ by their expected values (:func:`cvar_of`);
- **CVaR over episodes** (:func:`waker.analysis.metrics.cvar`): the mean of the worst α of single outcomes, which
  holds hard θ and bad luck together. No choice between θ is made, so none of what follows is needed there.

For the first two every estimate errs to a known side, so a bracket is given:

- *plug-in*, the maximum of the means: pessimistic, it takes bad luck for hardness;
- *split*, chosen on one half of the units and scored on the other, both ways: optimistic, a wrong choice is milder;
- *corrected*, between them: the jackknife over units (Arvesen 1969 for several samples), held inside the bracket
  because ties make it jump, and never milder than the mean over cells, for no worst is. For cells that are all alike it
  takes off a third of the plug-in's bias, for one clearly worst cell there is none to take off. Where many cells are
  nearly as bad as the worst it stays well above the true maximum: with 18 θ × 3 tasks of 16 units, of which three θ are
  alike, by 2.4 where the plug-in errs by 3.4 and the split by 0. Two units a θ (two halves of a measurement) are too
  few for a jackknife. There the corrected value is m + √((plug-in − m) · (split − m)), m the mean over cells and both
  estimates by halves. Its expectation is the maximum where cells' means have a Gaussian spread τ and each half adds
  Gaussian noise s: E(plug-in − m) ∝ √(τ² + s²), E(split − m) ∝ τ²/√(τ² + s²), whose product is ∝ τ².

The interval is simultaneous over cells and holds μ* with at least its confidence. A percentile bootstrap of a maximum
does not: with all cells alike it holds μ* in about 0 % of samples, and must not be used. Of strongly skewed outcomes
the interval asks for some ten units a θ.

A *unit* is what was drawn independently: an episode seed of a θ. Rows of one unit (tasks share its layout and its luck)
stay together in halves, jackknife and bootstrap. Larger is worse here; negate returns.

Shapes: M θ, N units of a θ at most, K tasks, C cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker.analysis.metrics import Floats, student_quantile, tail_weights

Rule: TypeAlias = Callable[[Floats], Floats]
"""Means of cells (…, C) → weights (…, C), summing to 1, of the cells that it takes for the worst."""

_DRAWS_AT_ONCE = 2_000_000


class Sample(NamedTuple):
    """Rows by θ, unit and task: sums and counts of rows, both (M, N, K), and how many units each θ has (M,).

    Units are in ascending order; a θ's places beyond its own units have count 0. Rows may be weighted, then sums and
    counts are. ``strata`` (M, N) number the units' samples, whose shares in a θ's mean are fixed (None = one sample).
    """

    sums: Floats
    counts: Floats
    units: NDArray[np.int64]
    strata: NDArray[np.int64] | None = None


class Bracket(NamedTuple):
    """What few episodes say of a worst value; see the module's text. NaN: cannot be told.

    Attributes:
        plug_in: pessimistic.
        split: optimistic; NaN where no θ has two units.
        corrected: between them and no milder than the mean over cells by their rows; NaN with ``split``.
        low, high: limits of the simultaneous interval; NaN where a θ has one unit only.
        cells: weights (M, K) of the cells that all units together take for the worst.
    """

    plug_in: float
    split: float
    corrected: float
    low: float
    high: float
    cells: Floats


def arrange(
    theta: ArrayLike,
    unit: ArrayLike,
    value: ArrayLike,
    task: ArrayLike | None = None,
    *,
    weight: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
) -> Sample:
    """Rows, shape (n,) each, as a :class:`Sample`; rows of the same θ, unit and task are added up.

    Args:
        theta: number of the row's θ, from 0 without gaps.
        unit: a number of the unit; only its order and equality inside a θ matter.
        value: what is averaged.
        task: number of the task, from 0; None = one.
        weight: how many rows the row counts as; None = 1.
        stratum: a number of the sample that the row's unit was drawn for; None = one sample.
    """
    ids, values = np.asarray(theta, np.int64), np.asarray(value, np.float64)
    tasks = np.zeros(len(ids), np.int64) if task is None else np.asarray(task, np.int64)
    pairs, at = np.unique(np.stack([ids, np.asarray(unit, np.int64)], 1), axis=0, return_inverse=True)
    units = np.bincount(pairs[:, 0])
    rank = np.arange(len(pairs)) - np.repeat(np.cumsum(units) - units, units)  # pairs are sorted by θ, then unit
    shape = (len(units), int(units.max()), int(tasks.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    place = (ids, rank[at.reshape(-1)], tasks)
    weights = np.ones(len(ids)) if weight is None else np.asarray(weight, np.float64)
    np.add.at(sums, place, weights * values)
    np.add.at(counts, place, weights)
    if stratum is None:
        return Sample(sums, counts, units)
    strata = np.zeros(shape[:2], np.int64)
    strata[place[:2]] = np.asarray(stratum, np.int64)
    return Sample(sums, counts, units, strata)


def largest(means: Floats) -> Floats:
    """The rule of the worst θ: all weight on the largest mean (the first among equals)."""
    weights = np.zeros(means.shape)
    np.put_along_axis(weights, means.argmax(-1)[..., None], 1.0, -1)
    return weights


def worst_of(sample: Sample, rng: np.random.Generator, *, confidence: float = 0.95, repetitions: int = 1000) -> Bracket:
    """Bracket and interval of μ* = max over cells of the expected value.

    The interval: lower limit max_c(μ̂_c − q·ŝ_c), where q is the quantile of max_c (μ̂*_c − μ̂_c)/ŝ*_c over resampled
    units, so that all lower limits hold at once; upper limit max_c(μ̂_c + q_c·ŝ_c) with each cell's own quantile, for μ*
    exceeds it only if the worst cell exceeds its own. A cell whose units are all equal is not thereby certain: among
    noisy ones it borrows their root mean square error; where all are equal the limits are the value.

    Args:
        sample: from :func:`arrange`; larger is worse.
        rng: for the bootstrap.
        confidence: of the interval.
        repetitions: of the bootstrap; 0 = no interval (NaN).
    """
    return _bracket(sample, lambda _: largest, _Bootstrap(rng, confidence, repetitions, monotone=False))


def cvar_of(
    sample: Sample, alpha: float, rng: np.random.Generator, *, confidence: float = 0.95, repetitions: int = 1000
) -> Bracket:
    """Bracket and interval of the CVaR over θ: the mean of the worst ``alpha`` of the θ, each weighing as its rows.

    The interval is the rule applied to both edges of a band that holds every θ's expectation at once.

    Args:
        sample: from :func:`arrange`, of one task; larger is worse.
        alpha: 0 < α ≤ 1, a share of the θ by weight.
        rng: for the bootstrap.
        confidence: of the interval.
        repetitions: of the bootstrap; 0 = no interval (NaN).
    """

    def rule(valid: NDArray[np.bool_]) -> Rule:
        share = sample.counts.sum(1)[valid]
        return lambda means: tail_weights(-means, share / share.sum(), alpha)

    return _bracket(sample, rule, _Bootstrap(rng, confidence, repetitions, monotone=True))


def geometric(plug_in: float, split: float, centre: float) -> float:
    """centre + √((plug-in − centre)·(split − centre)), of estimates by halves; ``centre`` where one is below it."""
    return float(centre + np.sqrt(max(plug_in - centre, 0.0) * max(split - centre, 0.0)))


class _Bootstrap(NamedTuple):
    """How an interval is made; ``monotone``: its upper limit needs all cells' limits at once."""

    rng: np.random.Generator
    confidence: float
    repetitions: int
    monotone: bool


def _bracket(sample: Sample, rule_of: Callable[[NDArray[np.bool_]], Rule], bootstrap: _Bootstrap) -> Bracket:
    valid = sample.counts.sum(1) > 0
    if not valid.any():
        raise ValueError("no values to summarise")
    weights = np.zeros(valid.shape)
    nan = float("nan")
    if np.isnan(sample.sums).any():
        return Bracket(nan, nan, nan, nan, nan, weights)
    rule = rule_of(valid)
    means = _means(sample, np.ones(sample.sums.shape[:2]))[valid]
    weights[valid] = rule(means)
    plug_in = float(weights[valid] @ means)
    low, high = _interval(sample, valid, rule, bootstrap)
    halves = _halves(sample, rule_of)
    if halves is None:
        return Bracket(plug_in, nan, nan, low, high, weights)
    by_half, split, centre = halves
    if sample.units.max() == 2:
        corrected = geometric(by_half, split, centre)
    else:
        corrected = plug_in - _jackknife_bias(sample, valid, rule, plug_in)
    share = sample.counts.sum(1)[valid]
    whole = float(share @ means / share.sum())  # the worst of several is no milder than their mean
    corrected = min(max(corrected, split, whole), plug_in)
    return Bracket(plug_in, split, corrected, low, high, weights)


def _means(sample: Sample, weights: Floats) -> Floats:
    """Means of cells (…, M, K) with units weighted by (…, M, N); NaN where nothing was played."""
    sums = np.einsum("...mn,mnk->...mk", weights, sample.sums)
    counts = np.einsum("...mn,mnk->...mk", weights, sample.counts)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _halves(sample: Sample, rule_of: Callable[[NDArray[np.bool_]], Rule]) -> tuple[float, float, float] | None:
    """Plug-in and split by halves of the units (even and odd ranks), mean of both ways, and the mean over cells.

    Cells that were not played in both halves are left out; None if none was.
    """
    even = np.broadcast_to(np.arange(sample.sums.shape[1]) % 2 == 0, sample.sums.shape[:2]).astype(float)
    first, second = _means(sample, even), _means(sample, 1.0 - even)
    valid = ~(np.isnan(first) | np.isnan(second))
    if not valid.any():
        return None
    rule, a, b = rule_of(valid), first[valid], second[valid]
    chosen_a, chosen_b = rule(a), rule(b)
    by_half, split = 0.5 * (chosen_a @ a + chosen_b @ b), 0.5 * (chosen_a @ b + chosen_b @ a)
    return float(by_half), float(split), float(0.5 * (a.mean() + b.mean()))


def _jackknife_bias(sample: Sample, valid: NDArray[np.bool_], rule: Rule, plug_in: float) -> float:
    """Σ over samples of (n − 1)·(mean over its units of the estimate without the unit − the estimate).

    A sample is one stratum of one θ. The rest of a stratum takes the place of the unit that is left out, so that each
    stratum keeps its share in the θ's mean.
    """
    counts, sums = sample.counts.sum(1), sample.sums.sum(1)
    means = np.divide(sums, counts, out=np.zeros(sums.shape), where=counts > 0)
    bias = 0.0
    for theta, own in _samples(sample):
        n = len(own)
        unit_sums, unit_counts = sample.sums[theta, own], sample.counts[theta, own]  # (n, K)
        of_sums, of_counts = unit_sums.sum(0), unit_counts.sum(0)
        rest = of_counts - unit_counts
        scale = of_counts / np.where(rest > 0, rest, 1.0)
        changes = (of_sums - unit_sums) * scale - of_sums
        # A cell with one unit alone cannot do without it: it stays as it is.
        without = np.where(rest > 0, means[theta] + changes / np.maximum(counts[theta], 1e-300), means[theta])
        changed = np.repeat(means[None], n, 0)
        changed[:, theta] = without
        cells = changed[:, valid]
        bias += (n - 1) * float((rule(cells) * cells).sum(1).mean() - plug_in)
    return bias


def _samples(sample: Sample) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Of each θ and stratum with two units or more: the θ, and the places of the units."""
    for theta in np.flatnonzero(sample.units >= 2):
        places = np.arange(sample.units[theta])
        strata = np.zeros(len(places), np.int64) if sample.strata is None else sample.strata[theta, : len(places)]
        for stratum in np.unique(strata):
            if (strata == stratum).sum() >= 2:
                yield int(theta), places[strata == stratum]


def _estimates(sample: Sample, weights: Floats) -> tuple[Floats, Floats]:
    """Means of cells and their standard errors, (D, M, K) each, as of ratios of sums of rows; 0 where none was.

    Args:
        sample: M θ with N units.
        weights: of the units, (D, M, N), as many as there are units for each θ.
    """
    s, c = sample.sums, sample.counts
    moments = np.concatenate([s, c, s * s, s * c, c * c], -1)  # (M, N, 5K)
    total = np.matmul(weights.transpose(1, 0, 2), moments).transpose(1, 0, 2)  # (D, M, 5K): far faster than einsum
    sums, counts, squares, products, both = np.split(total, 5, -1)
    played = np.maximum(counts, 1e-300)
    means = sums / played
    spread = squares - 2 * means * products + means**2 * both  # Σ w (S − mC)²
    spread = np.where(spread > 1e-12 * squares, spread, 0.0)  # rounding of equal values
    n = np.maximum(sample.units[:, None], 2)
    return means, np.sqrt(spread * n / (n - 1)) / played


def _interval(sample: Sample, valid: NDArray[np.bool_], rule: Rule, bootstrap: _Bootstrap) -> tuple[float, float]:
    """Limits of the interval, from a band over cells."""
    if not 0 < bootstrap.confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {bootstrap.confidence}")
    if (sample.units < 2).any() or not bootstrap.repetitions:
        return float("nan"), float("nan")
    everything = np.ones((1, *sample.sums.shape[:2]))
    whole = _estimates(sample, everything)[0][0]
    centred = sample._replace(sums=sample.sums - whole[:, None] * sample.counts)
    spread = _estimates(centred, everything)[1][0]
    noisy = valid & (spread > 1e-9 * np.abs(whole))
    means = whole[valid]
    if not noisy.any():
        exact = float(rule(means) @ means)
        return exact, exact
    errors = np.where(noisy, spread, np.sqrt((spread[noisy] ** 2).mean()))[valid]
    lower, upper, own = _quantiles(centred, noisy, bootstrap)
    below = means - lower * errors
    above = means + (upper if bootstrap.monotone else own[valid]) * errors
    return float(rule(below) @ below), float(rule(above) @ above)


def _quantiles(centred: Sample, noisy: NDArray[np.bool_], bootstrap: _Bootstrap) -> tuple[float, float, Floats]:
    """Quantiles of studentised deviations of resampled means.

    Args:
        centred: a sample whose cells all have mean 0.
        noisy: (M, K) cells with any spread.
        bootstrap: whose confidence leaves half of the rest above each quantile.

    Returns:
        Of max over cells of the deviation upwards, of max downwards, and of each cell's own deviation downwards (M, K).
        Where so few units were drawn that a resample often has no spread, Student's quantile with Bonferroni's share of
        the tail stands for the maxima; a cell's own lies between Student's and that.
    """
    m, n, k = centred.sums.shape
    tail = (1.0 - bootstrap.confidence) / 2.0
    at_once = max(1, _DRAWS_AT_ONCE // (m * n * k))
    up, down, cells = [], [], []
    there = np.arange(n) < centred.units[:, None]  # (M, N)
    offsets = np.arange(m)[:, None] * n
    for first in range(0, bootstrap.repetitions, at_once):
        draws = min(at_once, bootstrap.repetitions - first)
        drawn = (bootstrap.rng.random((draws, m, n)) * centred.units[:, None]).astype(np.int64) + offsets
        flat = (drawn + (np.arange(draws) * m * n)[:, None, None])[:, there]
        weights = np.bincount(flat.reshape(-1), minlength=draws * m * n).reshape(draws, m, n).astype(float)
        means, errors = _estimates(centred, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.nan_to_num(means[:, noisy] / errors[:, noisy], nan=0.0, posinf=np.inf, neginf=-np.inf)
        up.append(ratio.max(1))
        down.append((-ratio).max(1))
        cells.append(-ratio)
    degrees = np.broadcast_to(centred.units[:, None] - 1, noisy.shape)[noisy]
    share = tail / len(degrees)
    single = student_quantile(1.0 - tail, degrees)
    bonferroni = float(student_quantile(1.0 - share, degrees).max())
    own = np.full(noisy.shape, float(single.max()))
    found = np.quantile(np.concatenate(cells), 1.0 - tail, axis=0, method="higher")
    own[noisy] = np.clip(found, single, bonferroni)
    both = [float(np.quantile(np.concatenate(part), 1.0 - tail, method="higher")) for part in (up, down)]
    lower, upper = (q if np.isfinite(q) else bonferroni for q in both)
    return lower, upper, own
