"""The experiment's own arithmetic: verdicts, lines, and rows of parts that were not run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.bench.measure import build
from experiments.learner_speed import AXES, Row, bounded, line, merged, processor_seconds, varied


@pytest.mark.parametrize(
    ("value", "relation", "holds"), [(1.9, "<=", True), (2.1, "<=", False), (2.1, ">=", True), (1.9, ">=", False)]
)
def test_a_bound_holds_or_does_not(value: float, relation: str, holds: bool) -> None:
    row = bounded("part", "figure", value, "s", relation, 2.0)
    assert (row.holds, row.bound) == (holds, f"{relation} 2")


def test_a_line_is_found_exactly_and_a_curve_is_not_one() -> None:
    x = np.array([4.0, 8.0, 16.0, 32.0])
    a, b, worst = line(pd.DataFrame({"value": x, "cpu_seconds": 0.3 + 0.1 * x}))
    assert (a, b, worst) == pytest.approx((0.3, 0.1, 0.0), abs=1e-9)
    assert line(pd.DataFrame({"value": x, "cpu_seconds": 0.01 * x**2}))[2] > 0.1


def test_parts_that_were_not_run_keep_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    merged([Row("a", "x", 1.0, "s"), bounded("b", "y", 1.0, "s", "<=", 2.0)], path).to_csv(path, index=False)
    merged([Row("a", "x", 5.0, "s")], path).to_csv(path, index=False)
    rows = pd.read_csv(path, keep_default_na=False)
    assert dict(zip(rows["part"], rows["value"], strict=True)) == {"a": 5.0, "b": 1.0}
    assert rows.set_index("part").loc["b", "holds"] == "True"


def test_what_is_varied_takes_effect() -> None:
    chosen = varied(thetas=AXES["thetas"][0], batch=2, horizon=3, tasks=1)
    config = chosen.config
    assert (chosen.thetas, config.train.batch, config.behaviour.horizon) == (10, 2, 3)
    bench = build(chosen, "cpu")
    assert bench.agent.policy_learner.policies.names == ("task0", "explorer")
    assert bench.feed.next()["vector"].shape == (2, 16, 24)
    assert processor_seconds(bench) > 0
