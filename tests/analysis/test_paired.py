"""Paired tests against published examples, counts by hand and integrals; families and pairs by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.helpers.rows import numbers
from waker.analysis import paired
from waker.analysis.paired import detectable, holm, paired_differences, paired_test, pairs, power, sign_flip_p

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Student 1908: hours of sleep that the second drug gives more than the first, ten patients."""
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Darwin's maize, crossed minus self-fertilised in eighths of an inch: Fisher 1935, The Design of Experiments, §21."""


def test_students_sleep_data() -> None:
    found = paired_test(SLEEP)
    assert (found.pairs, found.difference) == (10, pytest.approx(1.58))
    assert found.p_t == pytest.approx(0.002833, abs=5e-7)  # t = 4.0621 with 9 degrees of freedom
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)


def test_fishers_permutation_test_of_darwins_maize() -> None:
    """863 of 32,768 sums are at least as large as the observed 314; as many are as far below."""
    assert sign_flip_p(np.array(DARWIN, float)) == 2 * 863 / 32768
    assert paired_test(DARWIN).p_t == pytest.approx(0.0497, abs=5e-5)  # Fisher: t = 2.148


def test_sign_flips_by_hand() -> None:
    # ±1 ±2 ±4: |sum| is 7, 5, 3, 1 with two sign patterns each.
    for differences, expected in (((1, 2, 4), 2 / 8), ((-1, 2, 4), 4 / 8), ((1, -2, 4), 6 / 8), ((-1, -2, 4), 1.0)):
        assert sign_flip_p(np.array(differences, float)) == expected
    assert sign_flip_p(np.array([3.0])) == 1.0
    assert sign_flip_p(np.zeros(4)) == 1.0
    assert sign_flip_p(np.full(5, 0.1)) == 2 / 32  # equal sums count as equal, however they were rounded


def test_drawn_sign_flips_are_near_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.array(DARWIN, float)
    monkeypatch.setattr(paired, "EXACT_UP_TO", 3)
    p = sign_flip_p(d)
    exact, spread = 2 * 863 / 32768, math.sqrt(0.0527 * 0.9473 / paired.DRAWS)
    assert abs(p - exact) < 5 * spread
    assert p == sign_flip_p(d)
    monkeypatch.setattr(paired, "DRAWS", 400)
    assert sign_flip_p(np.full(30, 1.0)) == 1 / 401  # never 0


def test_power_as_published() -> None:
    """G*Power's manual, paired t test, d = 0.5: 34 pairs have power 0.8078, 33 have less than 0.8."""
    assert power(0.5, 1.0, 34) == pytest.approx(0.8078, abs=5e-5)
    assert power(0.5, 1.0, 33) < 0.8
    assert power(-1.0, 2.0, 34) == power(0.5, 1.0, 34)
    assert power(0.0, 1.0, 7) == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize(("effect", "n"), [(2.0, 3), (1.0, 5), (0.7, 10), (0.1, 20)])
def test_power_is_that_of_the_non_central_t(effect: float, n: int) -> None:
    reach, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
    expected = stats.nct.sf(reach, n - 1, shift) + stats.nct.sf(reach, n - 1, -shift)
    assert power(effect, 1.0, n) == pytest.approx(expected, abs=2e-5)


def test_detectable_difference() -> None:
    assert detectable(1.0, 10) == pytest.approx(0.9960, abs=5e-5)  # G*Power: dz for 10 pairs, power 0.8
    assert power(detectable(3.0, 5), 3.0, 5) == pytest.approx(0.8, abs=1e-9)
    assert power(detectable(1.0, 2), 1.0, 2) == pytest.approx(0.8, abs=1e-9)


def test_what_one_pair_or_no_spread_cannot_tell() -> None:
    one = paired_test([2.0])
    assert (one.pairs, one.difference) == (1, 2.0) and np.isnan(one.p_permutation)
    assert all(math.isnan(x) for x in (one.low, one.high, one.p_t, one.detectable, one.power))
    alike = paired_test([0.3, 0.1 + 0.2, 0.3])
    assert all(math.isnan(x) for x in (alike.p_t, alike.detectable, alike.power))
    assert alike.p_permutation == 2 / 8


def test_holm() -> None:
    """Smallest first: 4·0.01, 3·0.02, 2·0.04 (both of the last at the larger), at most 1; NaN is no test."""
    assert holm([0.04, 0.01, math.nan, 0.03, 0.02]).tolist() == pytest.approx(
        [0.06, 0.04, math.nan, 0.06, 0.06], nan_ok=True
    )
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([math.nan]).tolist() == pytest.approx([math.nan], nan_ok=True)


def brute_force_familywise(p: list[float]) -> list[float]:
    """The closed test behind Holm's: the largest Bonferroni p of all sets that hold the hypothesis."""
    sets = [s for n in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), n)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(len(p))]


def test_holm_is_the_closure_of_bonferroni() -> None:
    p = np.random.default_rng(0).random(6) ** 3
    assert holm(p).tolist() == pytest.approx(brute_force_familywise(p.tolist()))


def test_pairs_share_domain_explorer_and_seed() -> None:
    rows = pd.concat(
        [
            numbers({"dr": {"a": [1, 2, 4]}, "waker-m": {"a": [2, 5, 9]}}, seeds=[7, 8, 9]),
            numbers({"dr": {"a": [50]}, "waker-m": {"a": [60]}}, explorer="random", seeds=[7]),
            numbers({"dr": {"a": [500]}}, domain="other", seeds=[8]),
        ]
    )
    found = pairs(rows, "dr").rows.set_index(["explorer", "seed"])["difference"].to_dict()
    assert found == {("e", 7): 1, ("e", 8): 3, ("e", 9): 5, ("random", 7): 10}


def test_seeds_without_a_pair_are_left_out_and_told() -> None:
    rows = pd.concat(
        [
            numbers({"dr": {"a": [1, 2, 4]}}, seeds=[1, 2, 3]),
            numbers({"waker-m": {"a": [2, 5]}, "waker-r": {"a": [2, 5]}}, seeds=[2, 9]),
            numbers({"alike": {"a": [2, 5, 5]}}, seeds=[1, 2, 3]),
        ]
    )
    found = pairs(rows, "dr")
    assert found.rows.groupby("sampler")["seed"].apply(list).to_dict() == {
        "waker-m": [2],
        "waker-r": [2],
        "alike": [1, 2, 3],
    }
    assert found.notes["d"] == (
        "no pairs of waker-m and dr, left out of differences: waker-m seed 9 and dr seeds 1, 3",
        "no pairs of waker-r and dr, left out of differences: waker-r seed 9 and dr seeds 1, 3",
    )


def test_numbers_that_are_not_known_make_no_pair() -> None:
    rows = numbers({"dr": {"a": [1, math.nan, 4]}, "waker-m": {"a": [2, 5, math.nan]}})
    assert pairs(rows, "dr").rows["seed"].tolist() == [0]


def test_explorers_are_compared_within_a_sampler() -> None:
    rows = pd.concat(
        [
            numbers({"dr": {"a": [1, 2]}, "waker-m": {"a": [5, 5]}}, explorer="random"),
            numbers({"dr": {"a": [2, 4]}, "waker-m": {"a": [4, 3]}}, explorer="plan2explore"),
        ]
    )
    found = paired_differences(pairs(rows, "random", "explorer").rows)
    assert found.set_index("sampler")["difference"].to_dict() == {"dr": 1.5, "waker-m": -1.5}
    assert set(found["explorer"]) == {"plan2explore"}


def test_holm_is_over_the_tests_of_one_domain_and_task() -> None:
    values = {"dr": {"a": [0, 0, 0], "all": [0, 0, 0]}, "x": {"a": [1, 2, 4], "all": [1, 2, 5]}}
    values["y"] = {"a": [1, 1, 1.5], "all": [2, 2, 1]}
    rows = pd.concat([numbers(values), numbers(values, "worst_regret"), numbers(values, "hard_share")])
    rows = pd.concat([rows, rows.assign(domain="other")])
    found = paired_differences(pairs(rows, "dr").rows)
    assert set(found["quantity"]) == {
        "mean_return",
        "worst_regret",
    }  # of data on hard θ neither more nor less is better
    assert set(found["tests"]) == {4}
    family = found[(found["domain"] == "d") & (found["task"] == "a")]
    p = {"x": stats.ttest_1samp([1, 2, 4], 0).pvalue, "y": stats.ttest_1samp([1, 1, 1.5], 0).pvalue}
    assert p["y"] < p["x"]
    assert family[family["sampler"] == "y"]["p_t_holm"].tolist() == pytest.approx([4 * p["y"]] * 2)
    assert family[family["sampler"] == "x"]["p_t_holm"].tolist() == pytest.approx([2 * p["x"]] * 2)
    assert set(family["p_permutation_holm"]) == {1.0}  # 4 · 2/8
    assert set(family["seeds"]) == {"0 1 2"}
    named = paired_differences(pairs(rows, "dr").rows, ["hard_share"])
    assert set(named["quantity"]) == {"hard_share"} and set(named["tests"]) == {2}


def test_nothing_has_a_pair() -> None:
    found = pairs(numbers({"waker-m": {"a": [1, 2]}}), "dr")
    assert found.rows.empty
    assert paired_differences(found.rows).empty


def test_comparisons_of_one_pair_are_no_tests() -> None:
    values = {"dr": {"all": [0, 0, 0]}, "x": {"all": [1, 2, 5]}, "y": {"all": [2]}}
    found = paired_differences(pairs(numbers(values), "dr").rows).set_index("sampler")
    assert found["tests"].tolist() == [1, 1] and found["pairs"].to_dict() == {"x": 3, "y": 1}
    assert found.loc["x", "p_permutation_holm"] == found.loc["x", "p_permutation"] == 2 / 8
    assert found.loc["y", ["p_t", "p_t_holm", "p_permutation", "p_permutation_holm"]].isna().all()
    one = {name: {"all": of["all"][:1]} for name, of in values.items()}
    assert set(paired_differences(pairs(numbers(one), "dr").rows)["tests"]) == {0}
