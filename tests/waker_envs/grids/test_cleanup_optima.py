"""Optima kept between processes: the same as solved anew, and never those of another room, length or solver."""

from __future__ import annotations

import ast
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from waker_envs.grids import cleanup_optima
from waker_envs.grids.cleanup import GridCleanUp
from waker_envs.grids.cleanup_exact import Room, Solution, solve
from waker_envs.grids.cleanup_optima import SOURCES, VARIABLE, optimum

THREE = Room(4, 5, (6, 9), (10,))
"""Three blocks, solved at once."""


class Calls:
    """The solver, and what it was asked."""

    def __init__(self) -> None:
        self.of: list[tuple[Room, int, int]] = []

    def __call__(self, room: Room, steps: int, per_cell: int) -> Solution:
        self.of.append((room, steps, per_cell))
        return solve(room, steps, per_cell)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """The solver's calls; nothing is in this process's memory before or after."""
    calls = Calls()
    monkeypatch.setattr(cleanup_optima, "solve", calls)
    optimum.cache_clear()
    yield calls
    optimum.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "optima"))
    return tmp_path / "optima"


def anew(room: Room = THREE, steps: int = 30, per_cell: int = 24) -> Solution:
    """As a process that has just begun asks."""
    optimum.cache_clear()
    return optimum(room, steps, per_cell)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_tests_keep_nothing_on_disk(calls: Calls) -> None:
    assert cleanup_optima._cache() is None
    assert anew() == anew()
    assert len(calls.of) == 2


def test_what_is_kept_is_not_solved_and_is_the_same(calls: Calls, folder: Path) -> None:
    first, second = anew(), anew()
    assert first == second == solve(THREE, 30, 24)
    assert type(second) is Solution and [type(a) for a in second.actions] == [int] * 30
    assert len(calls.of) == len(files(folder)) == 1


def test_every_part_of_the_question_matters(calls: Calls, folder: Path) -> None:
    asked = [(THREE, 30, 24), (THREE._replace(agent=0), 30, 24), (THREE, 31, 24), (THREE, 30, 0)]
    asked += [(THREE._replace(left=(6, 8)), 30, 24), (THREE._replace(right=(11,)), 30, 24)]
    for _ in range(2):
        assert [anew(*one) for one in asked] == [solve(*one) for one in asked]
    assert calls.of == asked


def test_what_is_damaged_is_solved_again_and_replaced(calls: Calls, folder: Path) -> None:
    found = anew()
    (file,) = files(folder)
    whole = file.read_bytes()
    for damaged in (b"", whole[:-9], whole.replace(b'"cost": ', b'"cost": 1'), b"\xff\x00" * 40):
        file.write_bytes(damaged)
        assert anew() == found
        assert file.read_bytes() == whole
    assert len(calls.of) == 5


def test_what_another_version_found_is_not_looked_at(
    calls: Calls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew()
    monkeypatch.setattr(cleanup_optima, "version", lambda: "another")
    anew()
    assert len(calls.of) == len(files(folder)) == 2
    # Nor where it lies in the place of ours.
    mine, other = sorted(files(folder), key=lambda file: "another" in file.parts)
    other.write_bytes(mine.read_bytes())
    anew()
    assert len(calls.of) == 3


def test_the_version_is_the_text_of_everything_that_the_solver_imports() -> None:
    here, reached, waiting = Path(cleanup_optima.__file__).parent, set[str](), ["cleanup_optima"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        for node in ast.walk(ast.parse((here / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("waker_envs.grids."):
                waiting += {str(node.module).split(".")[2]} - reached
    assert reached == set(SOURCES)
    assert len(cleanup_optima.version()) == 16


def test_without_the_solvers_text_nothing_is_kept(
    calls: Calls, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cleanup_optima, "__file__", str(tmp_path / "cleanup_optima.pyc"))
    cleanup_optima.version.cache_clear()
    try:
        assert anew() == anew()
    finally:
        cleanup_optima.version.cache_clear()
    assert len(calls.of) == 2
    assert not folder.exists()


def test_only_what_is_slow_or_has_many_blocks_is_kept(
    calls: Calls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup_optima, "SLOW", 60.0)
    for trivial in (Room(4, 5, (), ()), Room(4, 5, (6,), (9,))):
        anew(trivial)
    assert not folder.exists()
    monkeypatch.setattr(cleanup_optima, "SLOW", 0.0)
    anew(Room(4, 5, (6,), (9,)))
    assert len(files(folder)) == 1


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "optima"))
    assert anew() == anew() == solve(THREE, 30, 24)
    assert len(calls.of) == 2


def _solves(_: int) -> list[Solution]:
    return [optimum(THREE._replace(agent=agent), 30, 24) for agent in (0, 1, 2, 3, 4, 5, 7, 8)]


def test_two_processes_at_once_find_and_keep_the_same(calls: Calls, folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        one, two = pool.map(_solves, range(2), chunksize=1)
    assert one == two == _solves(0)
    assert not calls.of
    assert len(files(folder)) == 8


def test_episodes_have_the_same_optimum_from_the_disk(calls: Calls, folder: Path) -> None:
    env, theta = GridCleanUp(length=40), np.array([2.0, 1.0, 1.0])
    crowded = np.array([3.0, 2.0, 1.0])
    found = []
    for _ in range(2):
        optimum.cache_clear()
        for case in (theta, crowded):
            for task in env.tasks:
                plan = env.optimal_actions(case, task, 4).tolist()
                found.append((env.return_bounds(case, task, 4), plan))
    assert found[:6] == found[6:]
    assert [len(room.left) + len(room.right) for room, *_ in calls.of].count(3) == 3
