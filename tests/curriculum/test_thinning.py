"""Thinned snapshots: few rows, the same sums, and by themselves the θ that matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.spaces import joint_space, plane_space
from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.api import Columns
from waker.curriculum.thinning import WHOLE, Thinning, highest, split
from waker_envs.api import FiniteThetaSpace

MEASURED = np.linspace(0, 19_999, 200).round().astype(int)
SPACES = {
    "few hard": lambda: plane_space(20_000, hard=150),
    "many hard": lambda: plane_space(20_000, hard=4_000),
    "none hard": lambda: plane_space(20_000),
    "two domains": lambda: joint_space((19_000, 1_000)),
}


def snapshot(space: FiniteThetaSpace) -> Columns:
    curriculum = make_curriculum("waker-m", space, CurriculumConfig(), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for _ in range(20):
        curriculum.observe(rng.integers(15_000, size=800), rng.exponential(size=800), 0)
        curriculum.sample(40)
    return curriculum.table()


@pytest.fixture(params=SPACES.values(), ids=SPACES.keys())
def case(request: pytest.FixtureRequest) -> tuple[FiniteThetaSpace, Columns, Columns]:
    space = request.param()
    whole = snapshot(space)
    return space, whole, Thinning(space, MEASURED)(whole)


def test_rows_are_few_and_stand_for_every_theta_once(case: Any) -> None:
    space, whole, thin = case
    assert list(thin) == [*whole, "thetas"]
    assert {len(column) for column in thin.values()} <= set(range(100, WHOLE + 1))
    assert thin["thetas"].sum() == space.size
    assert (np.diff(thin["theta_id"]) > 0).all()
    for d, name in enumerate(space.names):
        np.testing.assert_array_equal(thin[f"theta_{name}"], space.points[thin["theta_id"], d])


def test_sums_are_those_of_all_theta_of_each_domain_and_of_the_hard_ones(case: Any) -> None:
    space, whole, thin = case
    hard = np.array([space.index(theta) for theta in space.hard], int)
    groups = np.zeros(space.size, int) if space.groups is None else space.groups
    parts = [np.isin(np.arange(space.size), hard), *(groups == g for g in np.unique(groups))]
    for name in ("probability", "episodes", "credits"):
        for part in parts:
            here = part[thin["theta_id"]]
            assert (thin["thetas"] * thin[name])[here].sum() == pytest.approx(whole[name][part].sum(), rel=1e-12)
    for part in parts:  # the mean estimate of the known ones
        known = part & ~np.isnan(whole["estimate"])
        here = part[thin["theta_id"]] & ~np.isnan(thin["estimate"])
        assert thin["thetas"][here].sum() == known.sum()
        total = (thin["thetas"] * thin["estimate"])[here].sum()
        assert total == pytest.approx(whole["estimate"][known].sum(), rel=1e-12)


def test_what_matters_has_a_row_of_its_own(case: Any) -> None:
    space, whole, thin = case
    single = thin["theta_id"][thin["thetas"] == 1]
    assert np.isin(MEASURED, single).all()
    if len(space.hard) <= 200:
        assert np.isin([space.index(theta) for theta in space.hard], single).all()
    for name in ("probability", "estimate", "episodes"):
        assert np.isin(highest(whole[name].astype(float), 50), single).all()
    at = np.searchsorted(thin["theta_id"], MEASURED)
    for name, column in whole.items():
        np.testing.assert_array_equal(thin[name][at], column[MEASURED])


def test_thinning_has_no_memory_and_no_chance() -> None:
    space = SPACES["few hard"]()
    thinning, table = Thinning(space, MEASURED), snapshot(space)
    first = thinning(table)
    thinning({**table, "estimate": table["estimate"][::-1]})
    for other in (thinning(table), Thinning(space, MEASURED)(table)):
        for name in first:
            np.testing.assert_array_equal(other[name], first[name])


def test_the_highest_by_hand() -> None:
    values = np.array([1.0, np.nan, 3.0, 2.0, 3.0, 0.0])
    assert highest(values, 3).tolist() == [2, 4, 3]
    assert highest(values, 1).tolist() == [2]
    assert highest(values, 9).tolist() == [2, 4, 3, 0, 5]


def test_cells_are_compact_parts_of_equal_size() -> None:
    unit = np.stack(divmod(np.arange(10_000.0), 100), 1) / 99
    cells = split(unit, np.arange(10_000), 100)
    assert sorted(np.concatenate(cells).tolist()) == list(range(10_000))
    assert {len(cell) for cell in cells} == {100}
    assert max(np.ptp(unit[cell], axis=0).max() for cell in cells) < 0.2  # of 100 squares, none is a long strip
    assert [cell.tolist() for cell in split(unit, np.array([5]), 3)] == [[5]]
