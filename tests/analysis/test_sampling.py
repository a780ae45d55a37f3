"""Sampling shares by hand: which episodes fall into which bin, and which groups of θ there are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from waker.analysis.sampling import MOST, mean_shares, sampling_shares


def episodes(drawn: list[tuple[int, int]], seed: int = 0, sampler: str = "dr", **more: Any) -> pd.DataFrame:
    """(step, θ) each; θ is 0 … 3 with size 3 + θ // 2 and slip θ % 2."""
    return pd.DataFrame(
        {
            "domain": "d",
            "sampler": sampler,
            "explorer": "e",
            "seed": seed,
            "step": step,
            "theta_id": theta,
            "theta_size": 3.0 + theta // 2,
            "theta_slip": 0.1 * (theta % 2),
            **more,
        }
        for step, theta in drawn
    )


def share(rows: pd.DataFrame, parameter: str, group: str, end: int, seed: int = 0) -> float:
    found = rows[(rows["parameter"] == parameter) & (rows["group"] == group) & (rows["end"] == end)]
    return float(found[found["seed"] == seed]["share"].iloc[0])


def test_shares_by_hand() -> None:
    rows = sampling_shares(
        episodes([(1, 0), (40, 1), (50, 3), (51, 3), (99, 3), (100, 0)]), {"hard": [2, 3], "none": []}, bins=2
    )
    # Up to step 50: θ 0, 1, 3. Beyond: θ 3, 3, 0.
    assert share(rows, "hard θ", "", 50) == pytest.approx(1 / 3)
    assert share(rows, "hard θ", "", 100) == pytest.approx(2 / 3)
    assert share(rows, MOST, "", 50) == pytest.approx(1 / 3)
    assert share(rows, MOST, "", 100) == pytest.approx(2 / 3)
    assert share(rows, "theta_size", "3", 50) == pytest.approx(2 / 3)
    assert share(rows, "theta_size", "4", 100) == pytest.approx(2 / 3)
    assert share(rows, "theta_slip", "0.1", 50) == pytest.approx(2 / 3)
    assert set(rows["episodes"]) == {3}
    assert "none θ" not in set(rows["parameter"])


def test_bins_end_with_the_shortest_run() -> None:
    rows = sampling_shares(pd.concat([episodes([(50, 0), (100, 1)]), episodes([(90, 1), (103, 2)], seed=1)]), bins=2)
    assert set(rows["end"]) == {50, 100}
    assert share(rows, "theta_size", "3", 100, seed=1) == 1.0  # θ 2 ended after step 100
    assert set(rows[rows["seed"] == 1]["begin"]) == {50}  # nothing of it ended in the first half


def test_a_group_that_a_run_never_chose_has_share_zero() -> None:
    rows = sampling_shares(pd.concat([episodes([(10, 0)]), episodes([(10, 3)], sampler="waker-m")]), bins=1)
    ours = rows[(rows["sampler"] == "waker-m") & (rows["parameter"] == "theta_size")]
    assert ours.set_index("group")["share"].to_dict() == {"3": 0.0, "4": 1.0}


def test_parameters_of_many_values_are_cut_into_ranges() -> None:
    rng = np.random.default_rng(0)
    found = pd.concat([episodes([(step, -1)], theta_length=rng.random()) for step in range(1, 201)])
    rows = sampling_shares(found, bins=1)
    assert MOST not in set(rows["parameter"])  # no two θ of a continuous space are alike
    assert rows[rows["parameter"] == "theta_length"]["share"].tolist() == pytest.approx([0.25] * 4)


def test_no_episodes_no_shares() -> None:
    assert sampling_shares(pd.DataFrame()).empty
    assert mean_shares(sampling_shares(pd.DataFrame())).empty


def test_mean_over_seeds_with_students_interval() -> None:
    shares = pd.concat(
        [episodes([(10, 0), (10, 3), (10, 3), (10, theta)], seed=s) for s, theta in enumerate((0, 3, 3))]
    )
    found = mean_shares(sampling_shares(shares, {"hard": [3]}, bins=1))
    hard = found[found["parameter"] == "hard θ"].iloc[0]
    values = [0.5, 0.75, 0.75]
    reach = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert (hard["mean"], hard["seeds"]) == (pytest.approx(2 / 3), 3)
    assert (hard["low"], hard["high"]) == pytest.approx((2 / 3 - reach, min(1.0, 2 / 3 + reach)))
