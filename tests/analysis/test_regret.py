"""Regret from rows, by hand, from both kinds of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from waker.analysis import regret
from waker.errors import UserError


def row(theta_id: int, earned: float, optimal: float | None = 10.0, seed: int = 0, **more: Any) -> dict[str, Any]:
    return {"theta_id": theta_id, "return": earned, "optimal_return": optimal, "episode_seed": seed, **more}


ROWS = [
    row(0, 10.0, theta_size=3.0),
    row(0, 8.0, seed=1, theta_size=3.0),
    row(1, 2.0, seed=0, theta_size=4.0),
    row(1, 6.0, seed=1, theta_size=4.0),
    row(1, 3.0, 5.0, seed=2, theta_size=4.0),
    row(2, 7.0, theta_size=5.0),
]
# Regrets: θ 0: 0, 2 (mean 1); θ 1: 8, 4, 2 (mean 14/3); θ 2: 3.


@pytest.fixture(params=["dicts", "frame"])
def rows(request: pytest.FixtureRequest) -> Any:
    return ROWS if request.param == "dicts" else pd.DataFrame(ROWS)


def test_by_hand(rows: Any) -> None:
    assert regret.mean_regret(rows) == pytest.approx(19 / 6)
    assert regret.worst_regret(rows).plug_in == pytest.approx(14 / 3)
    assert regret.fraction_of_optimum(rows) == pytest.approx(36 / 55)


def test_cross_fit_by_hand(rows: Any) -> None:
    # θ 2 has one seed only. Halves: seeds 0 and 2 | seed 1. First: θ 0 → 0, θ 1 → (8 + 2)/2 = 5; second: 2 and 4.
    # θ 1 is the worst on both: scored 4 on the second, 5 on the first.
    assert regret.worst_regret(rows).split == pytest.approx(4.5)


def test_cross_fit_scores_what_the_other_half_chose() -> None:
    rows = [row(0, 1.0, seed=5), row(0, 10.0, seed=6), row(1, 10.0, seed=5), row(1, 3.0, seed=6)]
    # On the first half θ 0 is worst (9 against 0), on the second θ 1 (7 against 0): both score 0 on fresh episodes.
    assert regret.worst_regret(rows).split == 0.0
    assert regret.worst_regret(rows).plug_in == 4.5


def test_cross_fit_keeps_a_seed_together() -> None:
    # Two tasks a seed; apart they would let the lucky seed 1 choose and be measured.
    rows = [row(0, earned, seed=seed, task=task) for seed, earned in ((1, 0.0), (2, 10.0)) for task in "ab"]
    rows += [row(1, 5.0, seed=seed, task=task) for seed in (1, 2) for task in "ab"]
    # Seed 1 chooses θ 0 (10 against 5), scored 0 on seed 2; seed 2 chooses θ 1 (5 against 0), scored 5 on seed 1.
    assert regret.worst_regret(rows).split == 2.5


def test_cross_fit_has_no_selection_bias() -> None:
    rng = np.random.default_rng(0)
    naive, crossed = [], []
    for _ in range(100):
        rows = [row(theta, rng.normal(10.0), seed=seed) for theta in range(10) for seed in range(4)]
        naive.append(regret.worst_regret(rows).plug_in)
        crossed.append(regret.worst_regret(rows).split)
    assert np.mean(naive) > 0.5
    assert abs(np.mean(crossed)) < 4 * np.std(crossed) / 10


def test_over_tasks_the_worst_pair_is_chosen_on_one_half_and_scored_on_the_other() -> None:
    """All pairs alike with regret 5: what is chosen on other episodes than it is scored on must not exceed it."""
    rng = np.random.default_rng(0)
    per_task, pairs, plug_in = [], [], []
    for _ in range(60):
        x = rng.normal(5.0, 2.0, size=(5, 9, 6))  # task, θ, episode seed
        rows = [row(j, 10.0 - x[i, j, k], seed=k, task=str(i)) for i, j, k in np.ndindex(x.shape)]
        pairs.append(regret.worst_regret(rows).split)
        plug_in.append(regret.worst_regret(rows).plug_in)
        per_task.append(max(regret.worst_regret([r for r in rows if r["task"] == t]).split for t in "01234"))
    assert np.mean(pairs) == pytest.approx(5.0, abs=4 * np.std(pairs) / math.sqrt(60))
    assert np.mean(per_task) > 5.5  # the largest of cross-fitted numbers is chosen and scored at once
    assert np.mean(plug_in) > 6.5


def test_the_worst_is_of_pairs_of_task_and_theta() -> None:
    rows = [row(theta, earned, task=task) for task, theta, earned in (("a", 0, 5.0), ("a", 1, 9.0), ("b", 0, 7.0))]
    rows += [row(1, 1.0, task="b")]
    assert regret.worst_regret(rows).plug_in == 9.0


def test_an_exact_value_stands_for_the_return() -> None:
    rows = [row(0, earned, seed=n, exact_value=value) for n, (earned, value) in enumerate([(0.0, 8.0), (10.0, 6.0)])]
    rows += [row(1, 9.0, seed=n, exact_value=math.nan) for n in range(2)]
    assert regret.mean_regret(rows) == pytest.approx((2 + 4 + 1 + 1) / 4)
    assert regret.worst_regret(rows).plug_in == pytest.approx(3.0)
    assert regret.fraction_of_optimum(rows) == pytest.approx(32 / 40)


def test_exact_values_without_spread_need_no_interval() -> None:
    rows = [row(theta, 10.0 * seed, seed=seed, exact_value=7.0 - theta) for theta in (0, 1) for seed in (0, 1, 2)]
    assert regret.worst_regret(rows)[:5] == (4.0, 4.0, 4.0, 4.0, 4.0)


def test_cross_fit_needs_two_seeds() -> None:
    assert math.isnan(regret.worst_regret([row(0, 1.0), row(1, 2.0)]).split)
    unseeded = [{k: v for k, v in r.items() if k != "episode_seed"} for r in (row(0, 1.0), row(0, 3.0))]
    assert regret.worst_regret(unseeded).split == pytest.approx(8.0)  # without seeds each row is its own


def test_lucky_episodes_are_not_clipped() -> None:
    assert regret.mean_regret([row(0, 12.0), row(0, 8.0)]) == 0.0


def test_theta_outside_the_space_are_told_apart() -> None:
    rows = [row(-1, 0.0, theta_size=8.0), row(-1, 9.0, theta_size=9.0)]
    assert regret.worst_regret(rows).plug_in == 10.0


def test_coordinates_of_other_families_are_left_out() -> None:
    rows = [row(0, 9.0, theta_size=3.0, theta_wind=math.nan), row(0, 0.0, theta_size=3.0, theta_wind=math.nan)]
    assert regret.worst_regret(rows).plug_in == 5.5


@pytest.mark.parametrize("missing", [None, math.nan])
def test_rows_without_an_optimum_are_left_out(missing: float | None) -> None:
    assert regret.mean_regret([row(0, 9.0), row(1, 0.0, missing)]) == 1.0
    assert regret.mean_regret(pd.DataFrame([row(0, 9.0), row(1, 0.0, missing)])) == 1.0
    with pytest.raises(UserError, match="no exact optimum"):
        regret.mean_regret([row(0, 9.0, missing)])


def test_a_missing_return_is_not_hidden() -> None:
    rows = [row(theta, 1.0, seed=seed) for theta in (0, 1) for seed in (0, 1)]
    rows[0]["return"] = math.nan
    assert math.isnan(regret.mean_regret(rows))
    assert math.isnan(regret.worst_regret(rows).plug_in)
    assert math.isnan(regret.worst_regret(rows).split)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UserError, match="column 'optimal_return'; these have theta_id, return"):
        regret.mean_regret([{"theta_id": 0, "return": 1.0}])
    with pytest.raises(UserError, match="these have none"):
        regret.mean_regret([])


def test_no_optimum_to_be_a_fraction_of() -> None:
    assert math.isnan(regret.fraction_of_optimum([row(0, 0.0, 0.0)]))
