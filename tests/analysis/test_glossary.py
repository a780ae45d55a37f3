"""The glossary explains everything that is written: metrics, columns, quantities; and its own text is sound."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.helpers.tiny import RUN
from waker.analysis import glossary
from waker.analysis.numbers_file import NOTES, NUMBERS
from waker.analysis.paired import PairedTest
from waker.analysis.quantities import BRACKETED, PARTS
from waker.analysis.quantities import TABLE as QUANTITIES
from waker.analysis.sampling import COLUMNS as SHARES
from waker.analysis.steps import RUN as IDENTITY
from waker.analysis.summary import summarise
from waker.behaviour import lookahead, policy_learner
from waker.errors import UserError
from waker.storage.metrics_file import read_metrics

TABLES = ("episodes", "curriculum", "evaluation", "model_error")


def undocumented(names: list[str], *sections: str) -> list[str]:
    return [name for name in names if not any(glossary.find(name, section) for section in sections)]


def test_every_metric_of_a_run_is_explained(finished: Path) -> None:
    names = {name for row in read_metrics(finished / RUN / "metrics.jsonl") for name in row}
    assert {"credit", "actor_loss/explorer", "time/seconds"} <= names
    names_of_keys = {f"{key}_loss" for key in ("agent", "cells")}  # any other loss is one of ours
    assert undocumented(sorted({name.removeprefix("adapt/") for name in names}), "metrics") == []
    assert {name for name in names if glossary.find(name)[0].name == "<key>_loss"} == names_of_keys
    assert any(name.startswith("adapt/") for name in names)
    assert glossary.find("adapt/reward_loss/green", "metrics")


def test_metrics_of_adaptation_are_explained() -> None:
    """Those of the lookahead are named like those of rollouts."""
    found = set()
    for module in (lookahead, policy_learner):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        block = text.partition("metrics = {")[2].partition("}")[0]
        found |= {line.split('"')[1] for line in block.splitlines() if '": ' in line}
    assert {"actor_loss", "critic_target", "return_scale"} <= found
    assert undocumented([f"{name}/green" for name in sorted(found)], "metrics") == []


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_the_rows_is_explained(table: str, finished: Path) -> None:
    columns = list(pq.read_schema(next((finished / RUN / f"{table}.parquet").glob("*.parquet"))).names)
    assert len(columns) > len(IDENTITY)
    assert undocumented(columns, "run", table) == []


def test_every_metric_of_the_models_error_is_explained(finished: Path) -> None:
    rows = pd.read_parquet(finished / RUN / "model_error.parquet")
    names = sorted(rows["metric"].unique())
    assert names and undocumented(names, "model_error") == []


def test_every_quantity_is_explained() -> None:
    brackets = [f"{quantity}_{part}" for quantity in BRACKETED for part in PARTS]
    names = [quantity.name.format("fresh") for quantity in QUANTITIES]
    assert {"mean_return", "return_fresh"} <= set(names)
    assert undocumented([*names, *brackets], "quantities") == []


def test_every_column_of_the_tables_is_explained() -> None:
    numbers = pd.DataFrame(columns=[*IDENTITY, "task", "quantity", "value"])
    columns = [*summarise(numbers), *NUMBERS, *NOTES, *SHARES, *PairedTest._fields]
    assert undocumented(columns, "run", "evaluation", "tables") == []


def test_what_does_not_exist_is_not_explained() -> None:
    assert glossary.find("actor_los/green") == ()
    assert glossary.find("return_") == ()
    with pytest.raises(UserError, match="quantities"):
        glossary.section("quantitys")


def test_an_exact_name_goes_before_a_pattern() -> None:
    assert [entry.name for entry in glossary.find("kl_loss", "metrics")] == ["kl_loss"]
    assert [entry.name for entry in glossary.find("cells_loss", "metrics")] == ["<key>_loss"]


def test_entries_are_sentences_of_known_sections() -> None:
    entries = glossary.entries()
    assert {entry.section for entry in entries} == set(glossary.SECTIONS)
    for entry in entries:
        assert entry.meaning.endswith("."), entry


def test_a_quantity_is_found_by_what_tables_call_it() -> None:
    by_title = {
        "CVaR 0.1 over θ": "cvar_0.1_theta",
        "share of optimum": "fraction_of_optimum",
        "worst-θ regret, plan in the model": "planned_worst_regret",
        "return on fresh": "return_<suite>",
        "mean regret on fresh": "regret_<suite>",
        "mean regret on fresh, plan in the model": "planned_regret_<suite>",
    }
    for title, name in by_title.items():
        assert name in [entry.name for entry in glossary.find(title)]
    assert [entry.name for entry in glossary.find("CVaR 0.1 over θ")] == ["cvar_0.1_theta"]
