"""Numbers from arrays of returns or errors: robustness, rank correlation, and aggregates over seeds with intervals.

Pure functions, called by the evaluation, the tables and the figures; nothing here knows an environment.
Unless said otherwise, an array must not be empty (ValueError), and a NaN in it makes the result NaN: a missing value is
never quietly taken for a good or a bad one.

The unit of every interval over seeds is the *run*: the tasks of a run share its model and are never counted as
independent. Means over few runs have Student's interval: the percentile bootstrap's covers 0.72 instead of 0.95 with
three runs and 0.81 with five.

Shapes: n episodes, R runs (seeds), K tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A point estimate and its confidence interval."""

    point: float
    low: float
    high: float


def _flat(x: ArrayLike) -> Floats:
    array = np.asarray(x, np.float64).reshape(-1)
    if not len(array):
        raise ValueError("no values to summarise")
    return array


def _alpha(alpha: float) -> None:
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be above 0 and at most 1, got {alpha}")


def mean(x: ArrayLike) -> float:
    """The mean of all values."""
    return float(_flat(x).mean())


def _tail_mean(worst_first: Floats, mass: Floats, alpha: float) -> float:
    """Mean of the first ``alpha`` of the mass; the value on the border counts with the part of its mass inside."""
    before = np.cumsum(mass) - mass
    inside = np.clip(alpha - before, 0.0, mass)
    # Zero mass must also silence values outside the tail, infinite ones included.
    terms = inside[inside > 0] * worst_first[inside > 0]
    return float(terms.sum() / inside.sum())


def tail_weights(x: Floats, mass: Floats, alpha: float) -> Floats:
    """Share of each value in the mean of the lowest ``alpha`` of the mass.

    Args:
        x: values, (…, C).
        mass: of each, (C,), summing to 1.
        alpha: 0 < α ≤ 1.

    Returns:
        (…, C), not negative, summing to 1; the value on the border counts with the part of its mass inside.
    """
    _alpha(alpha)
    order = np.argsort(x, axis=-1, kind="stable")
    sorted_mass = mass[order]
    before = np.cumsum(sorted_mass, -1) - sorted_mass
    inside = np.clip(alpha - before, 0.0, sorted_mass)
    weights = np.empty(np.shape(x))
    np.put_along_axis(weights, order, inside / inside.sum(-1, keepdims=True), -1)
    return weights


def cvar(x: ArrayLike, alpha: float = 0.1, *, largest: bool = False) -> float:
    """Conditional value at risk: the mean of the worst ``alpha`` of the values.

    Of returns of episodes it is the CVaR *over episodes*: hard θ and bad luck together. The CVaR over θ of expected
    returns is :func:`waker.analysis.worst.cvar_of`.

    The exact CVaR of the empirical distribution (Rockafellar & Uryasev 2002, for distributions with atoms): with
    n·α = k + f, k whole and 0 ≤ f < 1, it is (Σ of the k worst + f × the next) / (n·α). At n·α ≤ 1 that is the worst
    value, at α = 1 the mean; for 100 episodes and α = 0.1 the mean of the ten worst.

    Args:
        x: values, flattened.
        alpha: 0 < α ≤ 1.
        largest: the largest values are the worst (errors, regrets) instead of the smallest (returns).
    """
    _alpha(alpha)
    values = _flat(x)
    if np.isnan(values).any():
        return float("nan")
    worst_first = -np.sort(-values) if largest else np.sort(values)
    return _tail_mean(worst_first, np.full(len(values), 1.0 / len(values)), alpha)


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, ties by average rank; pairs with a NaN are left out.

    Returns:
        A value in [−1, 1]; NaN with fewer than two pairs or where one side is constant.
    """
    from scipy.stats import rankdata  # here, as its import takes longer than that of pandas

    a, b = np.asarray(x, np.float64).reshape(-1), np.asarray(y, np.float64).reshape(-1)
    if a.shape != b.shape:
        raise ValueError(f"x has {len(a)} values but y has {len(b)}")
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 2:
        return float("nan")
    ra, rb = rankdata(a[both]), rankdata(b[both])
    ra, rb = ra - ra.mean(), rb - rb.mean()
    norm = float(np.sqrt((ra @ ra) * (rb @ rb)))
    return float(np.clip(ra @ rb / norm, -1.0, 1.0)) if norm > 0 else float("nan")


def iqm(x: ArrayLike) -> float:
    """Interquartile mean: ⌊n/4⌋ values are cut from each end, the rest averaged (Agarwal et al. 2021)."""
    from scipy.stats import trim_mean

    values = _flat(x)
    return float("nan") if np.isnan(values).any() else float(trim_mean(values, 0.25))


def student_quantile(probability: ArrayLike, degrees: ArrayLike) -> Floats:
    """Quantile of Student's t distribution with ``degrees`` degrees of freedom."""
    return np.asarray(stdtrit(np.asarray(degrees, np.float64), np.asarray(probability, np.float64)))


def _confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")


def student_interval(x: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of independent values, one a run, with Student's interval; one value alone has none (NaN)."""
    _confidence(confidence)
    values = _flat(x)
    point = float(values.mean())
    if len(values) < 2 or np.isnan(point):
        return Interval(point, float("nan"), float("nan"))
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    reach = float(student_quantile((1.0 + confidence) / 2.0, len(values) - 1)) * error
    return Interval(point, point - reach, point + reach)


def means_over_seeds(rows: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Means of one number a seed with Student's 95 % interval: the columns of ``keys``, mean, low, high and seeds."""
    found = []
    for key, part in rows.groupby(list(keys), sort=False):
        interval = student_interval(part[value])
        found.append((*key, *interval, len(part)))
    return pd.DataFrame(found, columns=[*keys, "mean", "low", "high", "seeds"])


def _scores(x: ArrayLike) -> Floats:
    """Scores as (R, K): one row a run, one column a task; a vector is R runs of one task."""
    scores = np.asarray(x, np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"scores must have shape (runs, tasks), got {scores.shape}")
    return scores


def run_interval(x: ArrayLike, statistic: Callable[[Floats], float] = mean, *, confidence: float = 0.95) -> Interval:
    """A statistic of the scores of several runs, with a studentised interval over whole runs.

    The standard error is the jackknife's, leaving out one run with all its tasks; the quantile is Student's with R − 1
    degrees of freedom. For a mean this is exactly Student's interval of the runs' means. Agarwal et al. 2021 resample
    tasks of a run apart, which is right where a task is a training of its own; here one model serves all tasks.

    Args:
        x: scores, shape (R, K), or (R,) for one task.
        statistic: (R, K) → number, smooth in the scores; :func:`mean`, :func:`iqm` or one's own.
        confidence: of the interval; a single run has none (NaN).
    """
    _confidence(confidence)
    scores = _scores(x)
    point, runs = float(statistic(scores)), len(scores)
    if runs < 2:
        return Interval(point, float("nan"), float("nan"))
    without = np.array([statistic(np.delete(scores, run, 0)) for run in range(runs)])
    error = np.sqrt((runs - 1) / runs * ((without - without.mean()) ** 2).sum())
    reach = float(student_quantile((1.0 + confidence) / 2.0, runs - 1) * error)
    return Interval(point, point - reach, point + reach)


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """P(X > Y) + ½·P(X = Y) over random runs, averaged over tasks.

    Agarwal et al. 2021: Mann–Whitney's U / (Rₓ·R_y) in each task.

    Args:
        x, y: scores of two algorithms, shapes (Rₓ, K) and (R_y, K), or vectors for one task; higher is better.
    """
    a, b = _scores(x), _scores(y)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"x has {a.shape[1]} tasks but y has {b.shape[1]}")
    if np.isnan(a).any() or np.isnan(b).any():
        return float("nan")
    wins = np.sign(a[:, None] - b[None])  # (Rx, Ry, K) 1, 0 or −1
    return float(((wins + 1.0) / 2.0).mean())


def improvement_interval(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """:func:`probability_of_improvement` with an interval whose units are whole runs.

    Newcombe's score interval for Mann–Whitney's probability (2006, Statistics in Medicine 25, method 5) with Student's
    quantile of Rₓ + R_y − 2 degrees of freedom. It does not collapse where every run of x beats every run of y, as a
    bootstrap of whole runs does. However many tasks, it is as wide as for one: tasks of a run share its model, and
    their mean varies at most as much as if they were one task, so it covers at least its confidence.

    Args:
        x, y: as for :func:`probability_of_improvement`.
        confidence: of the interval; with fewer than two runs on a side there is none (NaN).
    """
    _confidence(confidence)
    a, b = _scores(x), _scores(y)
    point, m, n = probability_of_improvement(a, b), len(a), len(b)
    if np.isnan(point) or min(m, n) < 2:
        return Interval(point, float("nan"), float("nan"))
    quantile = float(student_quantile((1.0 + confidence) / 2.0, m + n - 2))
    p = np.linspace(0.0, 1.0, 10_001)
    half = (m + n) / 2.0 - 1.0
    variance = p * (1.0 - p) * (1.0 + half * ((1.0 - p) / (2.0 - p) + p / (1.0 + p))) / (m * n)
    inside = p[(p - point) ** 2 <= quantile**2 * variance + 1e-12]
    return Interval(point, min(float(inside.min()), point), max(float(inside.max()), point))
