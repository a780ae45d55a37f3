"""Runs over very many θ: memory, rows, resume, and what a report makes of thinned snapshots."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers.many_thetas import HARD, session
from tests.helpers.synthetic import write_run
from waker.analysis.data import load_runs
from waker.analysis.ranking import rank_correlation
from waker.curriculum.thinning import WHOLE, Thinning
from waker.report import sections
from waker.report.page import write_report
from waker.report.theta_maps import means
from waker.storage.tables import read_rows, write_rows
from waker_envs.api import FiniteThetaSpace, Parameter


def test_memory_stays_flat_between_saves(tmp_path: Path) -> None:
    run = session(tmp_path, 100_000)
    for _ in range(220):
        run.collect()
    for _ in range(5):
        run.learn()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(60):
            run.learn()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        run.close()
    assert grown < 20e6  # 60 snapshots as mappings of all θ took 6 GB


@pytest.mark.usefixtures("undrawn")
def test_a_large_space_s_run_is_resumed_and_reported(tmp_path: Path) -> None:
    run = session(tmp_path, 3_000)
    for _ in range(220):
        run.collect()
    for _ in range(4):
        run.learn()
    run.evaluate()  # saves, then takes a snapshot where the log has just taken one
    kept = run.save()
    expected = run.curriculum.sample(3).ids.tolist()
    run.close()
    again = session(tmp_path, 3_000)
    again.resume()
    assert kept.exists()
    assert again.curriculum.sample(3).ids.tolist() == expected
    again.close()
    rows = read_rows(run.run.path / "curriculum.parquet")
    for _, snapshot in rows.groupby((rows["theta_id"].diff() <= 0).cumsum()):
        assert len(snapshot) <= WHOLE
        assert snapshot["thetas"].sum() == 3_000
        assert (snapshot["thetas"] * snapshot["probability"]).sum() == pytest.approx(1)
        assert set(range(3_000 - HARD, 3_000)) <= set(snapshot.loc[snapshot["thetas"] == 1, "theta_id"])
    html = write_report([run.run.path], tmp_path / "report.html").read_text()
    assert "Sampling probability" in html


VALUES = {"amplitude": tuple(np.linspace(0, 1, 60)), "length": tuple(np.linspace(0.2, 2, 40))}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run whose snapshots hold all 2,400 θ, and the same run with thinned ones."""
    folders = []
    for name in ("whole", "thin"):
        folders.append(write_run(tmp_path_factory.mktemp(name), values=VALUES, exact=False, steps=4_000))
    path = folders[1] / "curriculum.parquet"
    rows, measured = read_rows(path), np.linspace(0, 2_399, 200).round().astype(int)
    names = [f"theta_{name}" for name in VALUES]
    hard = load_runs([folders[1]])[0].space["hard_ids"]
    points = rows[rows["step"] == rows["step"].max()][names].to_numpy()
    space = FiniteThetaSpace([Parameter(name, "") for name in VALUES], points, hard=points[hard])
    thinning, thinned = Thinning(space, measured), []
    for _, snapshot in rows.groupby("step"):
        shared = {c: snapshot[c].iloc[0] for c in ("run", "domain", "sampler", "explorer", "seed", "step", "updates")}
        columns = {c: snapshot[c].to_numpy() for c in snapshot if c not in shared}
        # Twice at one step, the earlier one of other probabilities: only the later one counts.
        for table in ({**columns, "probability": columns["probability"][::-1]}, columns):
            thinned += pd.DataFrame({**shared, **thinning(table)}).to_dict("records")
    write_rows(path, thinned)
    for folder in folders:
        errors = read_rows(folder / "model_error.parquet")
        write_rows(folder / "model_error.parquet", errors[errors["theta_id"].isin(measured)].to_dict("records"))
    return folders[0], folders[1]


def shares(folder: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The rows of the figure of hard θ through training."""
    seen: list[pd.DataFrame] = []

    def keep(rows: pd.DataFrame) -> Any:
        seen.append(rows)
        return sections_share_curves(rows)

    sections_share_curves = sections.share_curves
    monkeypatch.setattr(sections, "share_curves", keep)
    sections._curriculum(load_runs([folder]))
    monkeypatch.undo()
    return seen[0]


def test_the_share_on_hard_theta_is_the_whole_snapshot_s(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, thin = (shares(folder, monkeypatch) for folder in pair)
    assert len(whole) == 4
    pd.testing.assert_frame_equal(thin, whole, rtol=1e-12)


def test_ranks_are_those_of_the_measured_theta(pair: tuple[Path, Path]) -> None:
    whole, thin = (
        rank_correlation(read_rows(f / "curriculum.parquet"), read_rows(f / "model_error.parquet")) for f in pair
    )
    pd.testing.assert_frame_equal(thin, whole)
    assert (thin["theta"] == 200).all()


def test_a_map_of_thinned_rows_is_near_that_of_all(pair: tuple[Path, Path]) -> None:
    """Means over a tenth of the first parameter's range; a cell's θ are counted where its middle lies."""
    found = []
    for folder in pair:
        rows = sections.latest(sections._snapshots(load_runs([folder])))
        rows = rows.assign(value=rows["estimate"], weight=sections.stands_for(rows))
        found.append(means(rows.assign(part=(10 * rows["theta_amplitude"]).clip(0, 9).astype(int)), ["part"]))
    whole, thin = found
    assert abs(thin - whole).max() < 0.1 * np.ptp(whole)
