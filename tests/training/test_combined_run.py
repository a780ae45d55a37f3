"""A run over two domains, from training to the page: rows, tables and figures keep the domains apart."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tests.helpers.two_domains  # noqa: F401 — registers the family
from waker.analysis.data import RunData, by_domain, load_runs, theta_names, theta_sets
from waker.cli import main
from waker.report.page import write_report
from waker.storage.tables import read_rows

WHERE = "pair/waker-m/plan2explore/seed-0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny preset with policies trained alongside, 18 episodes."""
    folder = tmp_path_factory.mktemp("pair")
    argv = ["--preset", "tiny", "--env", "tests/Pair-v0", "--steps", "320", "--runs", str(folder)]
    assert main(["train", *argv]) == 0
    return folder


@pytest.fixture(scope="module")
def parts(runs: Path) -> dict[str, RunData]:
    found = by_domain(load_runs([runs]))
    assert [part.domain for part in found] == ["pair-line", "pair-plane", "pair"]
    return {part.domain: part for part in found}


def test_training_episodes_name_the_returns_of_their_own_tasks(runs: Path) -> None:
    rows = read_rows(runs / WHERE / "episodes.parquet")
    line, plane = (rows[rows["theta_domain"] == d] for d in (0, 1))
    assert len(line)
    assert len(plane)
    assert line["return_right"].notna().all()
    assert line[["return_still", "return_far"]].isna().all(axis=None)
    assert plane["return_right"].isna().all()
    assert plane[["return_still", "return_far", "completion_far"]].notna().all(axis=None)


def test_the_curriculum_gives_each_domain_its_half(runs: Path) -> None:
    rows = read_rows(runs / WHERE / "curriculum.parquet")
    last = rows[rows["step"] == rows["step"].max()].drop_duplicates("theta_id", keep="last")
    assert last["estimate"].notna().any()
    np.testing.assert_allclose(last.groupby("theta_domain")["probability"].sum(), 0.5, atol=1e-9)


def test_parts_hold_the_rows_of_their_domain(runs: Path, parts: dict[str, RunData]) -> None:
    for table in ("curriculum", "evaluation", "model_error", "episodes"):
        whole = read_rows(runs / WHERE / f"{table}.parquet")
        for number, name in enumerate(("pair-line", "pair-plane")):
            assert len(getattr(parts[name], table)) == (whole["theta_domain"] == number).sum() > 0
        assert getattr(parts["pair"], table).empty
    assert theta_names(parts["pair-line"].evaluation) == ["complexity"]
    assert theta_names(parts["pair-plane"].evaluation) == ["drag", "wind"]
    assert set(parts["pair-plane"].evaluation["suite"]) == {"dr", "plane:stormy"}
    assert parts["pair-plane"].space["hard_ids"] == [7]
    assert parts["pair-plane"].space["sets"] == {"windy": [5, 7]}
    assert theta_sets([parts["pair-line"]]) == {"hard": [3, 4], "windy": []}
    assert not parts["pair"].metrics.empty
    assert parts["pair"].film


def test_a_run_of_one_domain_is_left_whole(finished: Path) -> None:
    whole = load_runs([finished])
    assert by_domain(whole) == whole


@pytest.mark.usefixtures("undrawn")
def test_the_page_has_a_section_for_each_domain(runs: Path) -> None:
    html = write_report([runs], runs / "report.html").read_text()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    each = ("summary", "curriculum", "returns", "model")
    assert anchors == [
        *(f"{domain}-{section}" for domain in ("pair-line", "pair-plane") for section in each),
        "pair-futures",
        "pair-learning",
        "runs",
    ]


def test_the_comparison_s_numbers_never_mix_domains(runs: Path) -> None:
    assert main(["compare", str(runs)]) == 0
    numbers = pd.read_csv(runs / "comparison.csv")
    assert set(numbers["domain"]) == {"pair-line", "pair-plane"}
    tasks = {domain: set(rows["task"]) for domain, rows in numbers.groupby("domain")}
    assert tasks == {"pair-line": {"right", "all"}, "pair-plane": {"still", "far", "all"}}
    still = numbers[(numbers["task"] == "still") & (numbers["quantity"] == "mean_return")]
    np.testing.assert_allclose(still["mean"], 3.0)
