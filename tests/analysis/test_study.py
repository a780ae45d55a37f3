"""Runs of a study are told apart by their folders."""

from __future__ import annotations

from pathlib import Path

from waker.analysis.study import paths_of


def folder(above: str, seed: int = 1) -> Path:
    return Path(f"/where/{above}/gridhazards/ucb/plan2explore/seed-{seed}")


def test_four_parts_are_told_where_they_suffice() -> None:
    assert list(paths_of([folder("a", 1), folder("a", 2)]).values()) == [
        "gridhazards/ucb/plan2explore/seed-1",
        "gridhazards/ucb/plan2explore/seed-2",
    ]


def test_variants_are_told_by_the_folder_above() -> None:
    found = paths_of([folder("c0.1"), folder("c3"), folder("c3", 2)])
    assert found[folder("c0.1")] == "c0.1/gridhazards/ucb/plan2explore/seed-1"
    assert found[folder("c3")] == "c3/gridhazards/ucb/plan2explore/seed-1"
    assert paths_of([folder("c3/runs"), folder("c1/runs")])[folder("c1/runs")].startswith("c1/runs/gridhazards/")


def test_short_paths_are_told_whole() -> None:
    assert paths_of([Path("a"), Path("b")]) == {Path("a"): "a", Path("b"): "b"}
