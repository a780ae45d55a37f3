"""The family's θ, sizes and reward arithmetic, against the paper's words and hand-made cases."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from waker_envs.cleanup.arena import cleanup_theta_space, goal_x, half_size, standing
from waker_envs.cleanup.car import CarCleanUp
from waker_envs.cleanup.point import CleanUp
from waker_envs.grids.cleanup import GridCleanUp


def test_the_dr_distribution_is_the_generative_process() -> None:
    space = cleanup_theta_space("size")
    expected: dict[tuple[int, int, int], Fraction] = {}
    for arena in range(5):
        for total in range(arena + 1):
            for green in range(total + 1):
                expected[arena, green, total - green] = Fraction(1, 5) / (arena + 1) / (total + 1)
    assert sum(expected.values()) == 1
    assert space.size == len(expected) == 35
    for theta, weight in expected.items():
        assert space.weights[space.index(theta)] == pytest.approx(float(weight), abs=1e-15)


@pytest.mark.parametrize("family", [CleanUp, CarCleanUp, GridCleanUp])
def test_the_three_families_share_points_hard_sets_and_suite(family: type[CleanUp]) -> None:
    space = family.theta_space
    assert space.points.tolist() == cleanup_theta_space("").points.tolist()  # type: ignore[attr-defined]
    assert space.hardest is not None
    assert space.hardest.tolist() == [4, 2, 2]
    assert space.hard.tolist() == [[4, g, 4 - g] for g in range(5)]
    assert space.suites["5-blocks"].thetas.tolist() == [[5, g, 5 - g] for g in range(6)]
    assert family.tasks == ("sort", "sort-reversed", "push")


def test_half_sizes_go_evenly_from_0_7_to_1_4_and_arena_5_is_as_large_as_arena_4() -> None:
    assert [half_size(a) for a in range(6)] == pytest.approx([0.7, 0.875, 1.05, 1.225, 1.4, 1.4], abs=1e-15)


def test_a_goal_is_half_a_metre_along_the_wall() -> None:
    assert goal_x(1.4) == pytest.approx(1.15)


@pytest.mark.parametrize(
    ("green", "blue", "distances", "fractions"),
    [
        ([], [], [0, 0, 0], [1, 1, 1]),
        ([-0.75], [], [0, 1.5, 1.5], [1, 0, 0]),
        ([-0.75], [0.75], [0, 3, 1.5], [1, 0, 0.5]),
        ([0.75], [-0.75], [3, 0, 1.5], [0, 1, 0.5]),
        ([0.75, 0.0], [0.75], [1.5 + 0.75, 0.75 + 1.5, 0.75], [1 / 3, 1 / 3, 2 / 3]),
        ([-0.5], [0.5], [0.5, 2.5, 1.5], [1, 0, 0.5]),  # on the strip's edge: inside
        ([-0.4999], [0.4999], [0.5002, 2.4998, 1.5], [0, 0, 0]),
        ([-1.0], [1.0], [0.5, 3.5, 2.0], [1, 0, 0.5]),  # against the wall
    ],
)
def test_distances_and_fractions_of_blocks_placed_by_hand(
    green: list[float], blue: list[float], distances: list[float], fractions: list[float]
) -> None:
    got = standing(1.0, green, blue)
    assert got[0] == pytest.approx(distances, abs=1e-12)
    assert got[1] == pytest.approx(fractions, abs=0)


def test_neither_the_package_nor_the_grid_version_needs_a_simulator() -> None:
    code = "import sys, waker_envs, waker_envs.grids.cleanup; assert 'mujoco' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
