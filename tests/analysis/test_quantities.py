"""Names of quantities: a former form of one is shown beside it, and tested where it is asked for."""

from __future__ import annotations

import pandas as pd

from tests.helpers.rows import numbers
from waker.analysis.paired import paired_differences, pairs
from waker.analysis.quantities import quantity_of, shown_order

FORMER = "planned_worst_regret, sampled"


def test_a_former_form_stands_behind_the_quantity_and_its_bracket_is_not_shown() -> None:
    names = ["hard_share", f"{FORMER}", "planned_worst_regret_low, sampled", "planned_worst_regret"]
    assert shown_order(names) == ["planned_worst_regret", FORMER, "hard_share"]
    about = quantity_of(FORMER)
    assert (about.title, about.better) == ("worst-θ regret, plan in the model, sampled", "less")
    assert quantity_of("planned_regret_fresh, sampled").title == "mean regret on fresh, plan in the model, sampled"


def test_a_former_form_is_tested_only_where_it_is_asked_for() -> None:
    values = {name: {"all": [1.0, 2.0, 4.0]} for name in ("dr", "waker-m")}
    rows = pairs(pd.concat([numbers(values, FORMER), numbers(values, "planned_worst_regret")]), "dr").rows
    assert paired_differences(rows)["quantity"].tolist() == ["planned_worst_regret"]
    assert paired_differences(rows, [FORMER])["quantity"].tolist() == [FORMER]
