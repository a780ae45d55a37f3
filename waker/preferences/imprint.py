"""Feature imprint: what a reward pays for having a feature, others equal, by regression on named features.

SEAL's first measure (Revel et al. 2024, arXiv 2408.10270): r = α + Σ β_τ τ + ε. Entries are steps of a replay, and
where SEAL has pairs here are *rooms*, groups of entries that have something in common which no feature tells. Two
estimates answer two questions: ``pooled`` compares all entries, ``within`` those of one room alone (fixed effects).
Errors are robust to whatever entries of a room share (clusters; Liang and Zeger 1986, with Cameron and Miller's 2015
correction for few, of whom G = V + 1 are too few: the scores' sums over rooms have rank G − 1 at most). Called by
:mod:`waker.training.audit`.

Shapes: n entries, V features, G rooms.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from waker.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.95
_EXACT = 1e-9
"""Share of y that a fit leaves at most where it is exact."""
_DEPENDENT = 1e-7
"""Share of a column's length that others must leave of it; below it the column is their sum."""


class Fit(NamedTuple):
    """A regression.

    Attributes:
        estimate, se: β and their standard errors, (V,). With G ≤ V + 1 nothing tells errors: they, intervals and p are
            NaN, unless the fit is exact.
        low, high: Student's 95 % intervals with G − 1 degrees of freedom, (V,).
        p: two-sided, of β = 0, (V,).
        constant, constant_se: α, and its standard error; NaN with fixed effects, which take its place.
        n, groups: n and G.
    """

    estimate: Floats
    se: Floats
    low: Floats
    high: Floats
    p: Floats
    constant: float
    constant_se: float
    n: int
    groups: int


def standardised(values: ArrayLike) -> Floats:
    """Values less their mean, by their standard deviation: the imprints of two rewards can be compared so.

    Raises:
        ValueError: all are the same.
    """
    y = np.asarray(values, np.float64)
    spread = float(y.std())
    if not spread > 1e-12 * max(1.0, float(np.abs(y).max(initial=0.0))):
        raise ValueError("all values are the same")
    return np.asarray((y - y.mean()) / spread)


def demeaned(values: ArrayLike, group: Ints) -> Floats:
    """Values (n,) or (n, V) less the mean of their group (n,)."""
    x = np.asarray(values, np.float64)
    _, number = np.unique(group, return_inverse=True)
    count = np.bincount(number)
    columns = x.reshape(len(x), -1)
    mean = np.stack([np.bincount(number, column) / count for column in columns.T], 1)
    return np.asarray((columns - mean[number]).reshape(x.shape))


def regress(y: ArrayLike, x: ArrayLike, group: ArrayLike, within: bool = False) -> Fit:
    """Least squares of y (n,) on x (n, V) and a constant, or on x and a constant for each group.

    The covariance is c (X'X)⁻¹ [Σ_g X_g' u_g u_g' X_g] (X'X)⁻¹ with c = G/(G − 1) · (n − 1)/(n − V − 1).

    Args:
        group: the room of each entry, (n,).
        within: fixed effects of groups.

    Raises:
        ValueError: fewer than two groups, or no more entries than coefficients.
    """
    target, features = np.asarray(y, np.float64), np.asarray(x, np.float64)
    names, number = np.unique(np.asarray(group), return_inverse=True)
    n, width, groups = len(target), features.shape[1], len(names)
    if groups < 2 or n <= width + 1:
        raise ValueError(f"{n} entries in {groups} groups are too few for {width} features")
    if within:
        target, design = demeaned(target, number), demeaned(features, number)
    else:
        design = np.concatenate([features, np.ones((n, 1))], 1)
    bread = np.linalg.inv(design.T @ design)
    coefficients = bread @ (design.T @ target)
    score = design * (target - design @ coefficients)[:, None]
    summed = np.stack([np.bincount(number, column, groups) for column in score.T], 1)  # (G, V')
    correction = groups / (groups - 1) * (n - 1) / (n - width - 1)
    covariance = correction * bread @ (summed.T @ summed) @ bread
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if groups <= width + 1:
        error = np.full_like(error, np.nan)
    size = float(np.sqrt(target @ target))
    if np.sqrt(((target - design @ coefficients) ** 2).sum()) <= _EXACT * size:  # what is left is rounding
        error = np.zeros_like(error)
        told = np.abs(coefficients) * np.sqrt((design * design).sum(0)) > _EXACT * size
        coefficients = np.where(told, coefficients, 0.0)
    estimate, se = coefficients[:width], error[:width]
    half = float(stdtrit(groups - 1, 0.5 + LEVEL / 2)) * se
    constant, constant_se = (np.nan, np.nan) if within else (float(coefficients[width]), float(error[width]))
    low, high = np.asarray(estimate - half), np.asarray(estimate + half)
    return Fit(estimate, se, low, high, p_values(estimate, se, groups - 1), constant, constant_se, n, groups)


def p_values(estimate: Floats, se: Floats, freedom: int) -> Floats:
    """Two-sided p of estimate = 0 by Student's distribution; 1 of an exact zero without error, NaN of no error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, np.abs(estimate) / se, np.where(estimate == 0, 0.0, np.inf))
    return np.asarray(np.where(np.isnan(se), np.nan, 2.0 * stdtr(freedom, -t)))


def bonferroni(p: ArrayLike) -> Floats:
    """p (V,) as the smallest level at which one of all V would be found by chance."""
    given = np.asarray(p, np.float64)
    return np.asarray(np.minimum(1.0, given * len(given)))


def inflation(x: ArrayLike) -> Floats:
    """Variance inflation of each feature, (n, V) → (V,): 1/(1 − R²) of it on all others; 1 = they tell nothing."""
    return np.asarray(np.diag(np.linalg.inv(np.atleast_2d(np.corrcoef(np.asarray(x, np.float64), rowvar=False)))))


def constant_features(x: Floats) -> Ints:
    """Which of the features (n, V) are the same in all entries."""
    return np.flatnonzero(np.ptp(x, axis=0) <= 1e-12 * np.maximum(1.0, np.abs(x).max(0)))


def combinations(x: Floats, names: Sequence[str]) -> dict[str, list[str]]:
    """Features that are sums of multiples of those before them: name → of which.

    Args:
        x: (n, V), less a mean each (their own, or their room's).
    """
    kept: list[int] = []
    found: dict[str, list[str]] = {}
    length = np.sqrt((x * x).sum(0))
    for column, name in enumerate(names):
        if length[column] == 0.0:
            found[name] = []
            continue
        if kept:
            weight, *_ = np.linalg.lstsq(x[:, kept] / length[kept], x[:, column] / length[column], rcond=None)
            rest = x[:, column] / length[column] - x[:, kept] / length[kept] @ weight
            if np.sqrt(rest @ rest) < _DEPENDENT:
                found[name] = [names[k] for k, w in zip(kept, weight, strict=True) if abs(w) > 1e-6]
                continue
        kept.append(column)
    return found


def checked_design(columns: Mapping[str, ArrayLike], what: str, entries: str = "steps") -> Floats:
    """Features (V of (n,)) as a design (n, V), each of which a regression can tell from the others.

    Args:
        what: whose features they are, in messages.
        entries: what the n are.

    Raises:
        UserError: there are none, too few entries for them, or one is constant or a sum of others.
    """
    names = list(columns)
    if not names:
        raise UserError(f"{what} has no features left to look at; leave fewer out (--without)")
    x = np.stack([np.asarray(column, np.float64) for column in columns.values()], 1)
    if len(x) <= len(names) + 1:
        raise UserError(
            f"{len(x)} {entries} are too few for the {len(names)} features of {what}: leave some out (--without NAME), "
            "or let the run go on"
        )
    same = [names[k] for k in constant_features(x)]
    varying = [k for k, name in enumerate(names) if name not in same]
    tied = combinations((x - x.mean(0))[:, varying], [names[k] for k in varying])
    if same or tied:
        why = [_same_told(same, f"{len(x)} {entries}")] if same else []
        why += [
            f"feature {name!r} is a sum of multiples of {', '.join(map(repr, others))} (and a constant), so nobody can "
            "tell what each is paid; left out, it becomes what the others are compared with"
            for name, others in tied.items()
        ]
        left_out = " ".join(map(shlex.quote, [*same, *tied]))
        raise UserError(f"{what}: {'; '.join(why)}: --without {left_out}")
    return x


def _same_told(names: Sequence[str], where: str) -> str:
    noun, verb = ("feature", "is") if len(names) == 1 else ("features", "are")
    listed = ", ".join(map(repr, names))
    return f"{noun} {listed} {verb} the same in all {where}, and what never changes has no imprint"


class Imprint(NamedTuple):
    """One line of a table of imprints.

    Attributes:
        reward: whose it is.
        effects: ``pooled`` or ``within``.
        feature: its name.
        estimate … p: see :class:`Fit`; NaN where nobody can tell: all of them, or the errors alone.
        p_adjusted: of all features of the reward together (Bonferroni).
        spread: the feature's standard deviation.
        inflation: see :func:`inflation`.
        n, groups: entries and rooms.
        why: the reason where there is no estimate, or no error of it.
    """

    reward: str
    effects: str
    feature: str
    estimate: float
    se: float
    low: float
    high: float
    p: float
    p_adjusted: float
    spread: float
    inflation: float
    n: int
    groups: int
    why: str = ""


POOLED, WITHIN = "pooled", "within"


def imprints(
    columns: Mapping[str, ArrayLike], rewards: Mapping[str, ArrayLike], group: ArrayLike, what: str
) -> list[Imprint]:
    """The imprint of all features on all rewards, pooled and within rooms.

    Args:
        columns: features, each (n,).
        rewards: left-hand sides, each (n,), as they are: standardise what shall be compared.
        group: rooms (n,), two at least.
        what: whose features they are, in messages.

    Raises:
        UserError: see :func:`checked_design`.
    """
    names = list(columns)
    x = checked_design(columns, what)
    spread, inflated = x.std(0), inflation(x)
    _, number = np.unique(np.asarray(group), return_inverse=True)
    inside = demeaned(x, number)
    inside[:, np.sqrt((inside * inside).mean(0)) < 1e-9 * spread] = 0.0  # rounding, where a room has one value
    tied = combinations(inside, names)
    free = [k for k, name in enumerate(names) if name not in tied]
    found: list[Imprint] = []
    for reward, y in rewards.items():
        for effects, chosen in ((POOLED, list(range(len(names)))), (WITHIN, free)):
            fit = regress(y, x[:, chosen], number, effects == WITHIN) if chosen else None
            adjusted = bonferroni(fit.p) if fit else np.zeros(0)
            for k, name in enumerate(names):
                about = float(spread[k]), float(inflated[k]), len(x), int(number.max()) + 1
                if fit is None or k not in chosen:
                    others = ", ".join(tied[name])
                    why = f"within rooms it is a sum of {others}" if others else "the same all over each room"
                    found.append(Imprint(reward, effects, name, *(np.nan,) * 6, *about, why))
                    continue
                at = chosen.index(k)
                estimate, se, low, high, p = (float(column[at]) for column in fit[:5])
                told = (estimate, se, low, high, p, float(adjusted[at]))
                few = f"{fit.groups} clusters are too few for errors of {len(chosen)} features"
                found.append(Imprint(reward, effects, name, *told, *about, few if np.isnan(se) else ""))
    return found


def reward_shift(before: ArrayLike, after: ArrayLike) -> Floats:
    """Signed angle from (r_chosen, r_rejected) before to the same after, (n, 2) each → (n,) in (−π, π].

    Below 0 it turns towards the chosen one (SEAL's reward shift).
    """
    a, b = np.asarray(before, np.float64), np.asarray(after, np.float64)
    return np.asarray(np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(1)))
