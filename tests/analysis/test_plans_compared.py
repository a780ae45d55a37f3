"""Regret apart by who made it, against sums by hand; and compared as all else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.analysis.test_numbers import EMPTY, errors, run, value
from waker.analysis.numbers import compare_runs
from waker.analysis.plans_compared import actor_parts
from waker.analysis.quantities import quantity_of
from waker.analysis.summary import quantities, shown_value, summarise
from waker.names import EXPECTED

OPTIMUM = 10.0


def rows(
    identity: dict[str, Any], policy: str, worth: dict[float, list[float]], task: str = "a", first: int = 0, **more: Any
) -> list[dict[str, Any]]:
    """Episodes of each θ, whose returns are given."""
    exact = {"exact_value": np.nan} if policy == "learned" else {}
    return [
        {
            **identity,
            "task": task,
            "policy": policy,
            "suite": "dr",
            "theta_id": int(theta),
            "theta_x": theta,
            "episode_seed": first + n,
            "return": earned,
            "exact_value": earned,
            "completion": np.nan,
            "optimal_return": OPTIMUM,
            **exact,
            **more,
        }
        for theta, of_theta in worth.items()
        for n, earned in enumerate(of_theta)
    ]


PLANS = {0.0: [10.0, 10.0], 1.0: [6.0, 8.0]}
POLICY = {0.0: [9.0, 7.0], 1.0: [5.0, 9.0]}
PLAYED = rows(run(), "planned", PLANS) + rows(run(), "learned", POLICY)


def test_the_parts_add_up_to_the_regret() -> None:
    found = compare_runs(pd.DataFrame(PLAYED), EMPTY, EMPTY)
    assert value(found, "planned_mean_regret") == pytest.approx((0 + 0 + 4 + 2) / 4)
    assert value(found, "planned_fraction_of_optimum") == pytest.approx(34 / 40)
    assert value(found, "actor_share") == pytest.approx((34 - 30) / 40)
    assert value(found, "actor_regret") == pytest.approx((34 - 30) / 40 * OPTIMUM)
    assert value(found, "mean_regret") == pytest.approx(
        value(found, "planned_mean_regret") + OPTIMUM * value(found, "actor_share")
    )
    assert value(found, "planned_worst_regret_plug_in") == pytest.approx(3.0)
    assert value(found, "planned_worst_regret_split") == pytest.approx(3.0)  # either half chooses the same θ


def test_the_worst_of_several_tasks_is_that_of_all_pairs() -> None:
    other = rows(run(), "planned", {0.0: [1.0, 1.0], 1.0: [10.0, 10.0]}, "b")
    found = compare_runs(pd.DataFrame(PLAYED + other + rows(run(), "learned", POLICY, "b")), EMPTY, EMPTY)
    assert value(found, "planned_worst_regret", task="a") == pytest.approx(3.0)
    assert value(found, "planned_worst_regret") == pytest.approx(9.0)
    assert value(found, "planned_mean_regret") == pytest.approx((1.5 + 4.5) / 2)


def test_plans_leave_the_other_numbers_alone() -> None:
    learned = pd.DataFrame(rows(run(), "learned", POLICY))
    without, beside = compare_runs(learned, EMPTY, EMPTY), compare_runs(pd.DataFrame(PLAYED), EMPTY, EMPTY)
    both = beside.numbers[~beside.numbers["quantity"].str.startswith(("planned", "actor"))]
    pd.testing.assert_frame_equal(without.numbers, both.reset_index(drop=True))
    assert without.notes == beside.notes == ()


def test_the_actor_is_compared_on_the_episodes_that_both_have() -> None:
    plans = pd.DataFrame(PLAYED[:4]).assign(worth=[10.0, 10.0, 6.0, 8.0])
    first = pd.DataFrame(PLAYED[4:]).assign(worth=[9.0, 7.0, 5.0, 9.0])
    half = first[first["episode_seed"] == 0]
    assert [share for _, share in actor_parts(plans, half)] == pytest.approx([(16 - 14) / 20])


def test_without_common_episodes_it_is_compared_by_theta() -> None:
    """Θ 0 was planned more often than it was played: of each θ the mean counts, once."""
    plans = pd.DataFrame(rows(run(), "planned", {0.0: [10.0, 8.0, 9.0], 1.0: [6.0]})).assign(
        worth=lambda r: r["return"]
    )
    played = pd.DataFrame(rows(run(), "learned", {0.0: [5.0], 1.0: [5.0, 3.0], 2.0: [0.0]}, first=100))
    (_, share), *others = actor_parts(plans, played.assign(worth=played["return"]))
    assert share == pytest.approx((9 - 5 + 6 - 4) / 20) and not others
    nowhere = played[played["theta_id"] == 2]
    assert actor_parts(plans, nowhere.assign(worth=nowhere["return"])) == []


def test_plans_on_other_suites_have_their_own_regret() -> None:
    """Their names may look like shares of data."""
    elsewhere = rows(run(), "planned", {0.0: [8.0], 5.0: [3.0]}, suite="far_share")
    found = compare_runs(pd.DataFrame(PLAYED + elsewhere), EMPTY, EMPTY)
    assert value(found, "planned_regret_far_share") == pytest.approx((2 + 7) / 2)
    assert value(found, "planned_mean_regret") == pytest.approx(6 / 4)
    order = quantities(summary := summarise(found.numbers))
    assert order.index("planned_regret_far_share") == order.index("planned_worst_regret") + 1
    told = shown_value(summary[summary["task"] == "a"], "planned_regret_far_share")
    assert told is not None and told.value == "4.50"
    assert quantity_of("planned_regret_far_share").better == "less"


def test_policies_on_other_suites_have_a_regret_beside_their_return() -> None:
    """Of the episodes with an optimum; where none has one there is no such number."""
    elsewhere = pd.DataFrame(rows(run(), "learned", {0.0: [8.0], 5.0: [3.0]}, suite="far_share"))
    found = compare_runs(pd.DataFrame(PLAYED + elsewhere.to_dict("records")), EMPTY, EMPTY)
    assert value(found, "return_far_share") == pytest.approx((8 + 3) / 2)
    assert value(found, "regret_far_share") == pytest.approx((2 + 7) / 2)
    order = quantities(summarise(found.numbers))
    assert order.index("regret_far_share") == order.index("return_far_share") + 1
    about = quantity_of("regret_far_share")
    assert (about.title, about.better) == ("mean regret on far_share", "less")
    blind = elsewhere.assign(optimal_return=np.nan)
    found = compare_runs(pd.DataFrame(PLAYED + blind.to_dict("records")), EMPTY, EMPTY)
    assert "regret_far_share" not in set(found.numbers["quantity"])


def test_a_run_without_policies_is_compared_by_its_plans() -> None:
    measured = [r for step in (20, 40) for r in rows(run(step=step), "planned", {0.0: [step / 10, step / 10]})]
    found = compare_runs(pd.DataFrame(measured), EMPTY, EMPTY)
    assert value(found, "planned_mean_regret") == OPTIMUM - 4
    assert "actor_share" not in set(found.numbers["quantity"])


def test_plans_are_taken_at_the_step_of_the_comparison() -> None:
    """One run has no policies yet; its plans are those of the step at which all models were measured."""
    measured = [r for step in (20, 40) for r in rows(run(step=step), "planned", {0.0: [step / 10, step / 10]})]
    measured += [r for step in (20,) for r in rows(run("x", step=step), "planned", {0.0: [step / 10, step / 10]})]
    measured += rows(run(step=20), "learned", {0.0: [1.0, 1.0]})
    of_model = [
        r for s, steps in (("dr", (20, 40)), ("x", (20,))) for n in steps for r in errors(run(s, step=n), [0.1])
    ]
    found = compare_runs(pd.DataFrame(measured), pd.DataFrame(of_model), EMPTY)
    assert value(found, "planned_mean_regret") == value(found, "planned_mean_regret", "x") == OPTIMUM - 2


def test_the_parts_are_shown_beside_the_regret() -> None:
    summary = summarise(compare_runs(pd.DataFrame(PLAYED), EMPTY, EMPTY).numbers)
    order = quantities(summary)
    wanted = ["worst_regret", "planned_fraction_of_optimum", "planned_mean_regret", "planned_worst_regret"]
    wanted.append("actor_share")
    assert [q for q in order if q in wanted] == wanted
    assert {quantity_of(q).better for q in ("planned_mean_regret", "planned_worst_regret", "actor_share")} == {"less"}
    told = shown_value(summary[summary["task"] == "a"], "actor_share")
    assert told is not None
    assert (quantity_of("actor_share").title, told.value) == ("the actor's part, of the optimum", "10.0 %")
    worst = shown_value(summary[summary["task"] == "a"], "planned_worst_regret")
    assert worst is not None
    assert worst.value == "3.00"
    assert "…" in worst.bracket


def test_what_is_known_of_all_episodes_stands_for_a_sample_of_them() -> None:
    """Regret of θ 0: 0 in both episodes and 0.5 over all; of θ 1: 4 and 2, and 2.5 over all. The actor's part stays."""
    whole = rows(run(), EXPECTED, {0.0: [9.5], 1.0: [7.5]}, first=-1)
    found = compare_runs(pd.DataFrame(PLAYED + whole), EMPTY, EMPTY)
    assert value(found, "planned_mean_regret") == pytest.approx((0.5 + 2.5) / 2)
    assert value(found, "planned_fraction_of_optimum") == pytest.approx(34 / 40)
    for part in ("", "_plug_in", "_split", "_low", "_high"):
        assert value(found, f"planned_worst_regret{part}") == pytest.approx(2.5)
    assert value(found, "actor_share") == pytest.approx((34 - 30) / 40)


def test_a_run_of_which_all_is_known_is_compared_with_others_by_what_both_have() -> None:
    whole = rows(run(), EXPECTED, {0.0: [9.5], 1.0: [7.5]}, first=-1)
    other = rows(run(seed=1), "planned", PLANS)
    found = compare_runs(pd.DataFrame(PLAYED + whole + other), EMPTY, EMPTY)
    numbers = found.numbers[(found.numbers["quantity"] == "planned_mean_regret") & (found.numbers["task"] == "all")]
    assert numbers["value"].tolist() == pytest.approx([1.5, 1.5])


def test_on_a_suite_too() -> None:
    suite = [row | {"suite": "far"} for row in rows(run(), "planned", PLANS)]
    whole = [row | {"suite": "far"} for row in rows(run(), EXPECTED, {0.0: [9.0], 1.0: [7.0]}, first=-1)]
    found = compare_runs(pd.DataFrame(suite + PLAYED + whole), EMPTY, EMPTY)
    assert value(found, "planned_regret_far") == pytest.approx((1.0 + 3.0) / 2)
    assert value(found, "planned_mean_regret") == pytest.approx(6 / 4)


def test_a_worst_case_that_is_known_has_no_bracket_in_tables() -> None:
    whole = rows(run(), EXPECTED, {0.0: [9.5], 1.0: [7.5]}, first=-1)
    told = {}
    for name, played in (("sampled", PLAYED), ("whole", PLAYED + whole)):
        summary = summarise(compare_runs(pd.DataFrame(played), EMPTY, EMPTY).numbers)
        told[name] = shown_value(summary[summary["task"] == "all"], "planned_worst_regret")
    assert told["sampled"] is not None
    assert told["sampled"].bracket
    assert told["whole"] is not None
    assert (told["whole"].value, told["whole"].interval, told["whole"].bracket) == ("2.50", "", "")
