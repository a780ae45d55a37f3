"""The quickstart page's table is made from the demo's rows: every worst case once, with its bracket."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.demo import readme_table, shares
from tests.helpers.synthetic import write_run
from waker.cli import main


def test_the_table_has_one_row_a_quantity_and_a_bracket_at_each_worst_case(tmp_path: Path) -> None:
    runs = {sampler: write_run(tmp_path, sampler, 0) for sampler in ("dr", "waker-m")}
    assert main(["compare", str(tmp_path)]) == 0
    table = readme_table(pd.read_csv(tmp_path / "comparison.csv"), shares(runs)).splitlines()
    assert table[0] == "| all tasks, 18 θ | DR | WAKER-M |"
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in table[2:]}
    assert len(cells) == len(table) - 2 == 11
    assert list(cells)[-3:] == ["worst-θ regret", "worst-θ model error", "data on hard θ"]
    for quantity in ("CVaR 0.1 over θ", "worst-θ regret"):
        for cell in cells[quantity]:
            low, high = sorted(map(float, cell.partition("(")[2].strip(") ").split(" … ")))
            assert low <= float(cell.split()[0]) <= high
    assert all("plug-in" in cell for cell in cells["worst-θ model error"])  # episodes were not kept
    assert "… easiest room, green" in cells


def test_a_variant_keeps_its_name_in_the_table() -> None:
    named = "waker-m (replayed credit)"
    rows = [{"task": "all", "sampler": named, "quantity": "mean_return", "mean": 1.0, "low": None, "high": None}]
    parts = pd.DataFrame([{"sampler": named, "group": "all", "share": 0.5}])
    table = readme_table(pd.DataFrame(rows).astype({"low": float, "high": float}), parts).splitlines()
    assert table[0] == "| all tasks, 18 θ | WAKER-M (replayed credit) |"
    assert table[2] == "| mean return | 1.00 |"
