"""Samplers against a baseline, seed by seed: differences, tests, and what could have been seen.

Called by ``waker compare`` and the study's page. The unit is a training seed. Runs of one domain, explorer and seed
share first weights, episodes and evaluation, so the difference of two such runs is free of what they share. A *family*
of tests is what Holm's correction is over: all comparisons of one domain and one task, which is one printed table.
Whoever has one primary quantity names it, and the family is of that quantity's comparisons.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv, ndtr, stdtr

from waker.analysis.metrics import Floats, student_interval, student_quantile
from waker.analysis.quantities import tested
from waker.analysis.steps import RUN
from waker.analysis.summary import quantities

Over: TypeAlias = Literal["sampler", "explorer"]
"""In which column the compared differ; in all the others they are alike."""
ALPHA = 0.05
WANTED_POWER = 0.8
EXACT_UP_TO = 15
"""Pairs up to which all sign flips are counted; of more, :data:`DRAWS` are drawn."""
DRAWS = 100_000
_SEED = 0  # of drawn sign flips: the same numbers make the same p
_NEARLY = 1e-12  # of a sum: what rounding may do to equal ones
_QUANTILES = (np.arange(10_000) + 0.5) / 10_000
"""Quantiles at which the sample's own spread is taken when a power is averaged over it."""


class PairedTest(NamedTuple):
    """What n paired differences say.

    Attributes:
        pairs: n.
        difference: their mean; ``low``, ``high``: Student's 95 % interval (NaN of one pair).
        p_t: of the two-sided paired t test; NaN of one pair, or where the differences do not vary.
        p_permutation: of the two-sided sign-flip test on the mean; NaN of one pair, of which it is always 1.
        detectable: the true mean difference that the t test finds with probability :data:`WANTED_POWER` at this n and
            this spread.
        power: the probability that it finds a true difference as large as the one observed. It is a function of p_t and
            adds no evidence; it says how far the study was from being able to tell.
    """

    pairs: int
    difference: float
    low: float
    high: float
    p_t: float
    p_permutation: float
    detectable: float
    power: float


class Pairs(NamedTuple):
    """Columns domain, explorer, sampler, task, quantity, seed, value, baseline_value, difference; and, by domain, lines
    on the seeds that have no pair."""

    rows: pd.DataFrame
    notes: Mapping[str, tuple[str, ...]]


def paired_test(differences: ArrayLike) -> PairedTest:
    """Test whether paired differences have mean 0.

    Args:
        differences: one a pair, (n,), n ≥ 1.
    """
    d = np.asarray(differences, np.float64)
    mean, low, high = student_interval(d)
    n, spread = len(d), float(d.std(ddof=1)) if len(d) > 1 else float("nan")
    if not spread > _NEARLY * float(np.abs(d).max()):  # one pair, or no spread: Student's t has no value
        spread = float("nan")
    t = mean / (spread / np.sqrt(n))
    p_t, p_permutation = two_sided_p(t, n - 1), sign_flip_p(d) if n > 1 else float("nan")
    return PairedTest(
        n, mean, float(low), float(high), p_t, p_permutation, detectable(spread, n), power(mean, spread, n)
    )


def two_sided_p(t: float, degrees: int) -> float:
    """P(|T| ≥ |t|) of Student's T."""
    return float("nan") if np.isnan(t) else float(2.0 * stdtr(degrees, -abs(t)))


def sign_flip_p(differences: Floats) -> float:
    """Two-sided p of the permutation test that flips signs: how often is the mean as far from 0 as the observed one?

    Without an effect the two runs of a pair could be exchanged, so every sign of every difference is as likely (Fisher
    1935). Exact over all 2ⁿ signs up to n = :data:`EXACT_UP_TO`, so p is at least 2 / 2ⁿ; of more pairs,
    :data:`DRAWS` are drawn, and the observed signs count as one more (Phipson & Smyth 2010).

    Args:
        differences: (n,), n ≥ 1.
    """
    n, size = len(differences), np.abs(differences)
    reached = abs(differences.sum()) - _NEARLY * size.sum()
    if n <= EXACT_UP_TO:
        # All signs turned around have the same |sum|: the first keeps its own.
        sums = _signs(n) @ size
        return float((np.abs(sums) >= reached).mean())
    rng, far = np.random.default_rng(_SEED), 0
    for part in np.array_split(np.arange(DRAWS), 20):
        signs = rng.integers(0, 2, (len(part), n)) * 2.0 - 1.0
        far += int((np.abs(signs @ size) >= reached).sum())
    return (far + 1) / (DRAWS + 1)


@lru_cache(maxsize=EXACT_UP_TO)
def _signs(n: int) -> Floats:
    """All combinations of n signs of which the first is +, (2ⁿ⁻¹, n)."""
    return np.array(list(itertools.product((1.0,), *[(1.0, -1.0)] * (n - 1))))


@lru_cache(maxsize=32)
def _own_spreads(degrees: int) -> Floats:
    """Quantiles of a sample's own standard deviation over the true one."""
    return np.asarray(np.sqrt(2.0 * gammaincinv(degrees / 2.0, _QUANTILES) / degrees))


def power(effect: float, spread: float, pairs: int, alpha: float = ALPHA) -> float:
    """Probability that the two-sided paired t test finds a true mean difference.

    That Student's T, shifted, leaves ±t: given the sample's own spread a matter of one normal variable, and averaged
    over that spread's distribution (not by the library's non-central t, which fails at one degree of freedom).

    Args:
        effect: the true mean difference.
        spread: standard deviation of the differences.
        pairs: how many.
        alpha: of the test.

    Returns:
        NaN with fewer than two pairs, or without a known spread.
    """
    if pairs < 2 or not spread > 0 or np.isnan(effect):
        return float("nan")
    shift = abs(effect) / spread * np.sqrt(pairs)
    reach = _own_spreads(pairs - 1) * float(student_quantile(1.0 - alpha / 2.0, pairs - 1))
    return float((ndtr(shift - reach) + ndtr(-shift - reach)).mean())


def detectable(spread: float, pairs: int, wanted: float = WANTED_POWER, alpha: float = ALPHA) -> float:
    """The true mean difference that the paired t test finds with probability ``wanted``.

    Args:
        spread, pairs, alpha: as for :func:`power`.
        wanted: above ``alpha``.

    Returns:
        In the units of ``spread``; NaN with fewer than two pairs, or without a known spread.
    """
    if pairs < 2 or not spread > 0:
        return float("nan")
    return spread * _detectable(pairs, wanted, alpha)


@lru_cache(maxsize=64)
def _detectable(pairs: int, wanted: float, alpha: float) -> float:
    """:func:`detectable` in standard deviations."""
    low, high = 0.0, 1.0
    while power(high, 1.0, pairs, alpha) < wanted:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (low, middle) if power(middle, 1.0, pairs, alpha) >= wanted else (middle, high)
    return high


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p values (1979): the family-wise error stays below α where those below α are called findings.

    Args:
        p: (m,); NaN is no test and does not count.
    """
    given = np.asarray(p, np.float64)
    order = np.argsort(given)[: int((~np.isnan(given)).sum())]  # NaN last
    adjusted = np.full(given.shape, np.nan)
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else []
    return adjusted


def pairs(numbers: pd.DataFrame, baseline: str, over: Over = "sampler") -> Pairs:
    """Every number beside the baseline's of the same domain, seed, task and quantity.

    Args:
        numbers: from :func:`waker.analysis.numbers.compare_runs`.
        baseline: a sampler or an explorer.
        over: which of the two it is; in the other, pairs are alike.

    Returns:
        No rows where nothing has a pair.
    """
    keys = [c for c in (*RUN, "task", "quantity") if c != over]
    known = numbers.dropna(subset=["value"])
    theirs = known[known[over] == baseline][[*keys, "value"]].rename(columns={"value": "baseline_value"})
    rows = known[known[over] != baseline].merge(theirs, how="inner", on=keys)
    rows["difference"] = rows["value"] - rows["baseline_value"]
    columns = ["domain", "explorer", "sampler", "task", "quantity", "seed", "value", "baseline_value", "difference"]
    return Pairs(rows[columns], _unpaired(numbers, baseline, over))


def _unpaired(numbers: pd.DataFrame, baseline: str, over: Over) -> dict[str, tuple[str, ...]]:
    """By domain, a line for each sampler (or explorer) of which some seeds, or the baseline's, have no pair."""
    other = "explorer" if over == "sampler" else "sampler"
    told: dict[str, tuple[str, ...]] = {}
    runs = numbers[RUN].drop_duplicates()
    for (domain, alike), group in runs.groupby(["domain", other], sort=False):
        seeds = {str(name): set(part["seed"]) for name, part in group.groupby(over, sort=False)}
        base = seeds.pop(baseline, set())
        behind = f" ({alike})" if runs[runs["domain"] == domain][other].nunique() > 1 else ""
        lines = []
        for name, own in seeds.items():
            parts = [f"{name}{behind} seed{_listed(own - base)}"] if own - base else []
            parts += [f"{baseline}{behind} seed{_listed(base - own)}"] if base - own else []
            if parts:
                lines.append(f"no pairs of {name} and {baseline}, left out of differences: {' and '.join(parts)}")
        told[str(domain)] = (*told.get(str(domain), ()), *lines)
    return told


def _listed(seeds: set[int]) -> str:
    return f"{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def paired_differences(rows: pd.DataFrame, wanted: Sequence[str] = ()) -> pd.DataFrame:
    """The tests of each quantity, task and sampler, with Holm's correction within each domain and task.

    Args:
        rows: of :class:`Pairs`.
        wanted: quantities; none = all but those of which neither more nor less is better, and former forms of others.

    Returns:
        Columns domain, explorer, sampler, task, quantity, those of :class:`PairedTest`, seeds (those of the pairs),
        p_t_holm, p_permutation_holm and tests (how many the family has, comparisons of one pair not counted),
        quantities in the order of the tables.
    """
    found: list[dict[str, Any]] = []
    tests = [c for c in quantities(rows) if (c in wanted if wanted else tested(c))]
    for (domain, task), family in rows.groupby(["domain", "task"], sort=False):
        compared: list[dict[str, Any]] = []
        for quantity in tests:
            for (explorer, sampler), part in family[family["quantity"] == quantity].groupby(
                ["explorer", "sampler"], sort=False
            ):
                about = {"domain": domain, "explorer": explorer, "sampler": sampler, "task": task, "quantity": quantity}
                seeds = " ".join(map(str, sorted(part["seed"])))
                compared.append({**about, **paired_test(part["difference"])._asdict(), "seeds": seeds})
        for p in ("p_t", "p_permutation"):
            for row, adjusted in zip(compared, holm([row[p] for row in compared]), strict=True):
                row |= {f"{p}_holm": adjusted, "tests": sum(one["pairs"] > 1 for one in compared)}
        found += compared
    columns = ["domain", "explorer", "sampler", "task", "quantity", *PairedTest._fields]
    return pd.DataFrame(found, columns=[*columns, "seeds", "p_t_holm", "p_permutation_holm", "tests"])
