"""A dash says why it is there."""

from __future__ import annotations

import io
import re

import jinja2
import pandas as pd
import pytest
from rich.console import Console

from tests.helpers.rows import numbers
from waker.analysis import reasons
from waker.analysis.paired import paired_differences, pairs
from waker.analysis.reasons import raised, why_none
from waker.analysis.summary import summarise
from waker.cli.tables import comparison, differences
from waker.report.blocks import summary_table
from waker.report.page import render

NUMBERS = pd.concat(
    [
        numbers({"dr": {"all": [1.0], "a": [1.0], "b": [1.0]}, "m": {"all": [1.0], "a": [1.0]}}),
        numbers({"dr": {"all": [0.5]}, "m": {"all": [0.5]}}, "worst_regret"),
        numbers({"dr": {"all": [0.5]}}, "mean_regret"),
        numbers({"dr": {"all": [0.5]}}, "planned_mean_regret"),
        numbers({"dr": {"all": [0.5]}}, "mean_model_error"),
        numbers({"bare": {"all": [0.5]}}, "mean_model_error"),
        numbers({"dr (adapted)": {"a": [1.0]}}),
        numbers({"dr": {"all": [float("nan")]}}, "cvar_0.1_theta"),
    ]
)


@pytest.mark.parametrize(
    ("sampler", "task", "quantity", "why"),
    [
        ("bare", "all", "mean_return", reasons.UNTRAINED),
        ("m", "b", "mean_return", reasons.OTHER_TASKS),
        ("dr (adapted)", "all", "mean_return", reasons.NOT_ALL_TASKS),
        ("m", "all", "mean_regret", reasons.NO_OPTIMUM),
        ("m", "all", "planned_mean_regret", reasons.NOT_PLANNED),
        ("m", "all", "mean_model_error", reasons.NOT_MEASURED),
        ("dr (adapted)", "all", "mean_model_error", "as of dr, whose model and data it has"),
        ("bare", "all", "estimate_rank", reasons.NOTHING_RANKED),
        ("m", "all", "estimate_rank", reasons.NO_ERRORS),
        ("dr", "all", "cvar_0.1_theta", "θ is continuous: each was met once"),
    ],
)
def test_the_reason_is_what_the_rows_lack(sampler: str, task: str, quantity: str, why: str) -> None:
    assert why_none(summarise(NUMBERS), ("d", sampler, "e"), task, quantity) == why


def test_every_dash_of_a_page_s_table_has_its_footnote() -> None:
    table = summary_table(summarise(NUMBERS), "all", "")
    dashes = [cell for row in table.rows for cell in row if cell.text == "–"]
    assert len(dashes) > 4 and all(cell.why for cell in dashes)
    assert set(table.reasons) == {cell.why for cell in dashes}
    environment = jinja2.Environment(loader=jinja2.PackageLoader("waker", "report"), autoescape=True)
    html = str(environment.get_template("blocks.html").module.table(table))
    assert not re.search(r"–(?!<sup)", html)
    for number, why in enumerate(table.reasons, 1):
        assert f'–<sup title="{why}">{number}</sup>' in html  # pointed at
        assert f"–<sup>{number}</sup> {why}" in html  # and below, where nothing can be pointed with


def test_every_dash_of_a_terminal_s_table_has_its_footnote() -> None:
    console = Console(width=400, record=True, file=io.StringIO())
    for table in comparison(summarise(NUMBERS), 400):
        console.print(table)
    shown = " ".join(console.export_text().split())
    assert not re.search(r"–(?![⁰¹²³⁴⁵⁶⁷⁸⁹])", shown)
    for number in set(re.findall(r"–([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", shown)):
        assert re.search(rf"–{number} [a-zθ]", shown), number


def test_pairs_that_cannot_be_tested_say_why() -> None:
    for values, why in (([1.0], f"no test: {reasons.ONE_PAIR}"), ([1.0, 1.0], f"– {reasons.NO_SPREAD}")):
        rows = pairs(numbers({"dr": {"all": values}, "m": {"all": values}}), "dr").rows
        assert why in str(differences(paired_differences(rows), "dr", "sampler", 200).caption)


def test_numbers_of_footnotes_are_raised() -> None:
    assert raised(12) == "¹²"


def test_a_page_without_runs_is_a_page() -> None:
    assert "<h2>Runs</h2>" in render([])
