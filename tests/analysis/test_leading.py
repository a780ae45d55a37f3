"""Who leads a row: only a sampler that is told apart from every other, and none of one seed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.helpers.rows import numbers
from waker.analysis.summary import FEW_TOLD, best, shown_value, summarise
from waker.cli.tables import comparison
from waker.report.blocks import summary_table

APART = {"dr": [1.0, 1.1, 1.2, 1.1, 1.0], "waker-m": [5.0, 5.1, 5.2, 5.1, 5.3]}
OVERLAPPING = {"dr": [1.0, 9.0, 3.0, 6.0, 4.0], "waker-m": [2.0, 8.0, 5.0, 6.0, 4.0]}
SHIFTED = {"dr": [1.0, 9.0, 3.0, 6.0, 4.0], "waker-m": [2.0, 10.1, 4.2, 6.9, 5.0]}
"""They overlap; their paired differences are all near 1."""


def leader(values: dict[str, list[float]], quantity: str = "mean_return") -> str | None:
    summary = summarise(numbers({name: {"a": v} for name, v in values.items()}, quantity))
    found = best(summary, quantity, "a")
    return found[1] if found else None


def test_the_best_mean_alone_leads_nothing() -> None:
    assert leader(OVERLAPPING) is None


@pytest.mark.parametrize("values", [APART, SHIFTED])
def test_who_is_told_apart_leads_on_the_better_side(values: dict[str, list[float]]) -> None:
    assert leader(values) == "waker-m"
    assert leader(values, "mean_regret") == "dr"
    assert leader(values, "hard_share") is None  # neither more nor less is better


def test_pairs_are_by_seed_and_not_by_place() -> None:
    turned = {"dr": SHIFTED["dr"], "waker-m": SHIFTED["waker-m"][::-1]}
    assert leader(turned) is None


def test_every_other_sampler_must_be_told_apart() -> None:
    assert leader({**APART, "waker-r": [4.0, 6.0, 5.5, 4.6, 5.0]}) is None
    assert leader({**APART, "waker-r": [3.0, 3.1, 3.0, 3.2, 3.1]}) == "waker-m"


def test_one_seed_leads_nothing_and_neither_do_numbers_that_do_not_vary() -> None:
    assert leader({"dr": [1.0], "waker-m": [99.0]}) is None
    assert leader({"dr": [1.0, 1.1, 1.0], "waker-m": [99.0]}) is None
    assert leader({"dr": [1.0, 1.0], "waker-m": [2.0, 2.0]}) is None


def test_other_steps_are_not_compared() -> None:
    assert leader({"dr @ 40": APART["dr"], "dr @ 80": APART["waker-m"]}) is None
    assert leader({"dr": APART["dr"], "dr @ 80": APART["waker-m"]}) is None


def printed(values: dict[str, list[float]]) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    for table in comparison(summarise(numbers({name: {"a": v} for name, v in values.items()})), 300):
        console.print(table)
    return " ".join(console.export_text().split())


def test_a_terminal_marks_the_leader_with_a_star_and_says_what_it_is() -> None:
    assert "5.14* [" in printed(APART) and "*: better than every other at 95 %" in printed(APART)
    assert "*" not in printed(OVERLAPPING) and "better than every" not in printed(OVERLAPPING)


def test_a_page_has_the_leader_in_bold() -> None:
    for values, bold in ((APART, ["waker-m"]), (OVERLAPPING, [])):
        table = summary_table(summarise(numbers({name: {"a": v} for name, v in values.items()})), "a", "")
        assert [head for head, cell in zip(table.heads, table.rows[0], strict=True) if cell.best] == bold


@pytest.mark.parametrize(("seeds", "mark"), [(2, "†"), (4, "†"), (5, "")])
def test_intervals_of_fewer_than_five_seeds_are_marked(seeds: int, mark: str) -> None:
    values = {name: v[:seeds] for name, v in APART.items()}
    told = shown_value(summarise(numbers({"dr": {"a": values["dr"]}})), "mean_return")
    assert told is not None and told.interval.endswith(f"]{mark}")
    assert (FEW_TOLD in printed(values)) == bool(mark)
