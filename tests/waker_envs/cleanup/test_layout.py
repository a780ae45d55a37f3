"""Where an episode begins: the distances hold for every θ, seed by seed, and places do not tell colours."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from waker_envs.cleanup.arena import half_size
from waker_envs.cleanup.car import CarCleanUp
from waker_envs.cleanup.layout import attempt, draw_layout
from waker_envs.cleanup.point import CleanUp

# A layout depends on the arena and the number of blocks, not on their colours: these are all θ, the suite included.
CASES = [(a, n) for a in range(5) for n in range(a + 1)] + [(5, 5)]


def gap(a: np.ndarray, b: np.ndarray, reach: float) -> float:
    """Free space between two points grown to squares whose half-sizes sum to ``reach``."""
    return math.hypot(*np.maximum(abs(a - b) - reach, 0).tolist())


@pytest.mark.parametrize("family", [CleanUp, CarCleanUp])
@pytest.mark.parametrize(("arena", "n"), CASES)
def test_all_distances_hold_over_2000_seeds(family: type[CleanUp], arena: int, n: int) -> None:
    half, block, radius = half_size(arena), family.robot.block_half, family.robot.radius
    for seed in range(2000):
        blocks, robot, heading = draw_layout(np.random.default_rng(seed), n, half, block, radius)
        assert blocks.shape == (n, 2)
        assert (abs(blocks) <= [max(half - 0.5 - block, 0), half - block]).all()
        assert abs(robot[0]) <= half - 0.5
        assert abs(robot[1]) <= half - 0.2 - radius
        assert all(gap(a, b, 2 * block) >= 0.35 for a, b in itertools.combinations(blocks, 2))
        assert all(gap(robot, b, block) >= 0.2 + radius for b in blocks)
        assert -math.pi <= heading < math.pi


@pytest.mark.parametrize("family", [CleanUp, CarCleanUp])
def test_a_dead_end_is_no_more_likely_than_not(family: type[CleanUp]) -> None:
    # So that a hundred in a row, the bound, do not happen.
    rng = np.random.default_rng(0)
    for arena, n in CASES:
        args = (n, half_size(arena), family.robot.block_half, family.robot.radius)
        assert np.mean([attempt(rng, *args) is not None for _ in range(300)]) > 0.5


def test_what_does_not_fit_is_an_error_and_not_an_endless_search() -> None:
    with pytest.raises(RuntimeError, match="5 blocks"):
        draw_layout(np.random.default_rng(0), 5, 0.8, 0.2, 0.15)


def test_a_block_s_number_says_nothing_about_its_place() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_layout(rng, 5, 1.4, 0.2, 0.15)[0] for _ in range(2000)])  # (2000, 5, 2)
    # The spread and the middle of each number's places agree, within four standard errors.
    assert abs(drawn.mean(0)).max() < 4 * drawn.std() / math.sqrt(2000)
    spread = drawn.std(0)  # (5, 2)
    assert (abs(spread - spread.mean(0)) < 4 * spread / math.sqrt(2 * 2000)).all()


def test_the_whole_space_and_all_headings_are_used() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_layout(rng, 1, 1.4, 0.2, 0.15) for _ in range(2000)]
    blocks, robots = np.array([d[0][0] for d in drawn]), np.array([d[1] for d in drawn])
    assert (abs(blocks).max(0) > [0.69, 1.18]).all()
    assert (abs(robots).max(0) > [0.89, 1.04]).all()
    assert (np.histogram([d[2] for d in drawn], 8, (-math.pi, math.pi))[0] > 190).all()  # 250 each
