"""The sentence says what the tests say: what is shown, that nothing is, or that nothing can be told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.helpers.rows import numbers
from waker.analysis.conclusion import conclusion, seeds_needed, spread_of
from waker.analysis.paired import detectable, paired_differences, paired_test, pairs
from waker.analysis.same_data import ALL_UNCHOSEN


def paired_of(values: dict[str, list[float]], quantity: str = "worst_regret") -> pd.DataFrame:
    return paired_differences(pairs(numbers({n: {"all": v} for n, v in values.items()}, quantity), "dr").rows)


DR = [5.0, 9.0, 7.0, 6.0, 8.0, 7.5]


def test_what_is_shown_is_told_with_its_side_seeds_and_interval() -> None:
    lower = [d - x for d, x in zip(DR, (2.0, 2.2, 1.9, 2.1, 2.0, 1.8), strict=True)]
    told = conclusion(paired_of({"dr": DR, "waker-m": lower}), "dr")
    assert told.startswith(
        "Shown at 95 % on 6 paired seeds (t tests, Holm over 1 test): waker-m has lower worst-θ regret"
    )
    assert told.endswith("has lower worst-θ regret than dr (-2.00 [-2.15, -1.85], better).")
    assert ", worse)" in conclusion(paired_of({"dr": DR, "waker-m": lower}, "mean_return"), "dr")


def test_samplers_that_know_no_more_than_they_may_are_named_first_and_of_them_the_largest_difference() -> None:
    size = {"hardest-oracle": 4.0, "task-plr": 3.5, "waker-r": 1.0, "plr [c2]": 2.0, "sfl-int": 3.0}
    noise = (0.0, 0.2, -0.1, 0.1, 0.0, -0.2)
    values = {name: [d - s - x for d, x in zip(DR, noise, strict=True)] for name, s in size.items()}
    told = conclusion(paired_of({"dr": DR, **values}), "dr")
    assert "): sfl-int has lower" in told and "; plr [c2] has lower" in told and "3 more differences" in told
    fewer = {name: values[name] for name in ("hardest-oracle", "task-plr", "waker-r")}
    told = conclusion(paired_of({"dr": DR, **fewer}), "dr")
    assert "): waker-r has lower" in told and "; hardest-oracle has lower" in told and "1 more difference;" not in told


def test_what_is_not_shown_is_told_with_the_seeds_that_it_would_need() -> None:
    near = [d + x for d, x in zip(DR, (1.0, -0.4, 0.9, -0.2, 0.6, -0.1), strict=True)]
    tests = paired_of({"dr": DR, "waker-m": near})
    row = tests.iloc[0]
    needed = seeds_needed(row["difference"], spread_of(row["low"], row["high"], 6))
    told = conclusion(tests, "dr")
    assert told.startswith("On 6 paired seeds no difference from dr is shown at 95 %")
    assert f"(waker-m's in worst-θ regret, +0.300) would need {needed} seeds for one test of power 0.8" in told


def test_the_seeds_needed_are_the_fewest_that_can_detect_it() -> None:
    for effect in (0.5, 1.0, 4.0):
        needed = seeds_needed(-effect, 1.0)
        assert needed is not None
        assert detectable(1.0, needed) <= effect
        assert needed == 2 or detectable(1.0, needed - 1) > effect
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-3, 1.0) is None


def test_the_spread_is_that_of_the_differences() -> None:
    d = [1.0, 2.0, 4.0, 3.5]
    found = paired_test(d)
    assert spread_of(found.low, found.high, 4) == pytest.approx(np.std(d, ddof=1))


def test_one_seed_tells_nothing() -> None:
    told = conclusion(paired_of({"dr": [1.0], "waker-m": [9.0]}), "dr")
    assert told == "Nothing can be told of the samplers from one seed: differences between them may be chance."


def test_the_same_data_tells_nothing_however_small_p_is() -> None:
    tests = paired_of({"dr": DR, "waker-m": [d + x / 10 for x, d in enumerate(DR, 10)]})
    assert conclusion(tests, "dr").startswith("Shown at 95 %")
    told = conclusion(tests, "dr", notes=["another", ALL_UNCHOSEN])
    assert told.startswith("Nothing can be told") and "no episode was chosen by a curriculum yet" in told


def test_without_a_baseline_there_is_no_sentence() -> None:
    assert conclusion(paired_of({"waker-m": DR, "waker-r": DR}), "dr") == ""
