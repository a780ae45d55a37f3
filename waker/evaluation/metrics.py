"""Numbers from arrays of returns or errors: robustness, rank correlation, and aggregates over seeds with intervals.

Pure numpy functions, called by the evaluation, the tables and the figures; nothing here knows an environment.
Unless said otherwise, an array must not be empty (ValueError), and a NaN in it makes the result NaN: a missing value is
never quietly taken for a good or a bad one.

Shapes: n episodes, R runs (seeds), K tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A point estimate and its confidence interval."""

    point: float
    low: float
    high: float


class ThetaMeans(NamedTuple):
    """Means by θ: ``theta_id`` (m,) ascending, ``mean`` (m,), ``episodes`` (m,) how many of each."""

    theta_id: NDArray[np.int64]
    mean: Floats
    episodes: NDArray[np.int64]


class WorstTheta(NamedTuple):
    """The θ with the worst mean, and that mean."""

    theta_id: int
    value: float


class Episodes(NamedTuple):
    """Episodes to group by θ: ids (n,) and one value each (n,)."""

    theta_id: NDArray[np.integer[Any]]
    value: Floats


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


def cvar(x: ArrayLike, alpha: float = 0.1, *, largest: bool = False) -> float:
    """Conditional value at risk: the mean of the worst ``alpha`` of the values.

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


def theta_means(theta_id: ArrayLike, x: ArrayLike) -> ThetaMeans:
    """Mean of the values of each θ that occurs.

    Args:
        theta_id: shape (n,), integers; an id below 0 is a θ like any other here.
        x: shape (n,).

    Raises:
        ValueError: shapes differ, or n = 0.
    """
    values, ids = _flat(x), np.asarray(theta_id).reshape(-1)
    if ids.shape != values.shape:
        raise ValueError(f"theta_id has {len(ids)} entries but there are {len(values)} values")
    unique, inverse, count = np.unique(ids, return_inverse=True, return_counts=True)
    return ThetaMeans(unique.astype(np.int64), np.bincount(inverse, weights=values) / count, count.astype(np.int64))


def worst_theta(theta_id: ArrayLike, x: ArrayLike, *, largest: bool = False) -> WorstTheta:
    """The θ with the worst mean (the lowest id among equals).

    The mean is taken on the episodes that chose the θ, so it is biased towards the worst;
    :func:`cvar_selected` and :func:`waker.evaluation.regret.cross_fit_worst_regret` are not.

    Args:
        theta_id, x: as for :func:`theta_means`.
        largest: the largest mean is the worst (errors, regrets) instead of the smallest (returns).
    """
    by_theta = theta_means(theta_id, x)
    if np.isnan(by_theta.mean).any():
        return WorstTheta(int(by_theta.theta_id[np.isnan(by_theta.mean).argmax()]), float("nan"))
    at = int(by_theta.mean.argmax() if largest else by_theta.mean.argmin())
    return WorstTheta(int(by_theta.theta_id[at]), float(by_theta.mean[at]))


def cvar_selected(select: Episodes, score: Episodes, alpha: float = 0.1, *, largest: bool = False) -> float:
    """CVaR over θ, chosen on one set of episodes and scored on a fresh one.

    Plain :func:`cvar` over episodes picks unlucky episodes along with hard θ, and a per-θ CVaR on one set picks the θ
    whose noise was bad. Here the worst ``alpha`` of the θ are those with the worst means on ``select``; the answer is
    the mean over them of their means on ``score``: an unbiased estimate of the chosen θ's true mean (hence, in
    expectation, no worse than the true CVaR over θ: a wrong choice can only be milder).

    Each θ weighs as its share of the episodes of ``select`` (which follow the DR distribution); the θ on the
    border of the tail counts in part, as in :func:`cvar`. θ without episodes in both sets are left out.

    Args:
        select: the episodes that choose.
        score: fresh episodes (other seeds) that measure.
        alpha: 0 < α ≤ 1, a share of the θ by weight.
        largest: the largest values are the worst.

    Raises:
        ValueError: no θ occurs in both sets.
    """
    _alpha(alpha)
    chooser, scorer = theta_means(*select), theta_means(*score)
    common, i, j = np.intersect1d(chooser.theta_id, scorer.theta_id, return_indices=True)
    if not len(common):
        raise ValueError("the two sets of episodes have no θ in common")
    chosen_by, fresh, count = chooser.mean[i], scorer.mean[j], chooser.episodes[i]
    if np.isnan(chosen_by).any() or np.isnan(fresh).any():
        return float("nan")
    order = np.argsort(-chosen_by if largest else chosen_by, kind="stable")
    return _tail_mean(fresh[order], count[order] / count.sum(), alpha)


def _average_ranks(x: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2.0)[inverse])


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, ties by average rank; pairs with a NaN are left out.

    Returns:
        A value in [−1, 1]; NaN with fewer than two pairs or where one side is constant.
    """
    a, b = np.asarray(x, np.float64).reshape(-1), np.asarray(y, np.float64).reshape(-1)
    if a.shape != b.shape:
        raise ValueError(f"x has {len(a)} values but y has {len(b)}")
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 2:
        return float("nan")
    ra, rb = _average_ranks(a[both]), _average_ranks(b[both])
    ra, rb = ra - ra.mean(), rb - rb.mean()
    norm = float(np.sqrt((ra @ ra) * (rb @ rb)))
    return float(np.clip(ra @ rb / norm, -1.0, 1.0)) if norm > 0 else float("nan")


def iqm(x: ArrayLike) -> float:
    """Interquartile mean: ⌊n/4⌋ values are cut from each end, the rest averaged (Agarwal et al. 2021)."""
    values = _flat(x)
    cut = len(values) // 4
    if np.isnan(values).any():
        return float("nan")
    return float(np.sort(values)[cut : len(values) - cut].mean())


def _scores(x: ArrayLike) -> Floats:
    """Scores as (R, K): one row a run, one column a task; a vector is R runs of one task."""
    scores = np.asarray(x, np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"scores must have shape (runs, tasks), got {scores.shape}")
    return scores


def _resample(scores: Floats, rng: np.random.Generator) -> Floats:
    """Runs drawn with replacement inside each task: the strata of Agarwal et al. 2021."""
    runs, tasks = scores.shape
    return scores[rng.integers(runs, size=(runs, tasks)), np.arange(tasks)]


def _interval(point: float, draws: Floats, confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(point, float(low), float(high))


def bootstrap_interval(
    x: ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[[Floats], float] = mean,
    *,
    repetitions: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """A statistic of the scores of several runs, with the percentile interval of the stratified bootstrap.

    Agarwal et al. 2021 (arXiv 2108.13264): runs are resampled with replacement independently inside each task.
    With a single run the interval is a point: no spread can be seen.

    Args:
        x: scores, shape (R, K), or (R,) for one task.
        rng: for the resampling.
        statistic: (R, K) → number; :func:`mean`, :func:`iqm` or one's own.
        repetitions: bootstrap samples.
        confidence: of the interval.
    """
    scores = _scores(x)
    draws = np.array([statistic(_resample(scores, rng)) for _ in range(repetitions)])
    return _interval(float(statistic(scores)), draws, confidence)


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


def improvement_interval(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, repetitions: int = 2000, confidence: float = 0.95
) -> Interval:
    """:func:`probability_of_improvement` with its stratified-bootstrap interval; x and y resampled independently."""
    a, b = _scores(x), _scores(y)
    point = probability_of_improvement(a, b)
    draws = np.array([probability_of_improvement(_resample(a, rng), _resample(b, rng)) for _ in range(repetitions)])
    return _interval(point, draws, confidence)
